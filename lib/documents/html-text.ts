import type { Tokenizer } from "htmlparser2";

type TokenEvents = ConstructorParameters<typeof Tokenizer>[1];

/** Elements of which nothing is shown. */
const unshown = new Set(["script", "style", "template", "noscript", "noframes", "noembed", "iframe"]);

/** Elements that begin and end with a line end. */
const lines = new Set(
  "address article aside body center dd details dialog div dt fieldset figcaption figure footer form header hgroup html legend li main nav option search section summary tr".split(
    " ",
  ),
);

/** Elements that begin and end with an empty line. */
const paragraphs = new Set("blockquote caption dl h1 h2 h3 h4 h5 h6 hr menu ol p pre table ul".split(" "));

/** The text of an HTML page as a reader sees it: its title first, then the lines of its body, with the alt texts of pictures. */
export async function htmlToText(html: string): Promise<string> {
  const { Tokenizer } = await import("htmlparser2");
  const page = new PageText(html);
  // The package's Parser keeps a stack whose cost grows with the square of the nesting; the tokens need none.
  const tokenizer = new Tokenizer({ xmlMode: false, decodeEntities: true }, page);
  tokenizer.write(html);
  tokenizer.end();
  return page.text();
}

/** The encoding that an HTML page names in its first 4,096 bytes, as it is written there. */
export function declaredCharset(bytes: Uint8Array): string | undefined {
  const start = bytes.subarray(0, 4096);
  const head = Buffer.from(start.buffer, start.byteOffset, start.length).toString("latin1");
  const found =
    /<meta\b[^>]*?\bcharset\s*=\s*["']?\s*([\w.:-]+)/i.exec(head) ??
    /^\s*<\?xml\b[^>]*?\bencoding\s*=\s*["']([\w.:-]+)/i.exec(head);
  return found?.[1];
}

/** Collects the text from the tokens, which come in order; offsets are of the whole page. */
class PageText implements TokenEvents {
  private readonly parts: string[] = [];
  private title: string | undefined;
  private titleParts: string[] | undefined;
  private element = "";
  private attribute = "";
  private alt = "";
  /** The outermost element that is not shown, and how often it is open. */
  private hidden = "";
  private hiddenDepth = 0;
  private preDepth = 0;
  private breaks = 0;
  private hasSpace = false;

  constructor(private readonly html: string) {}

  text(): string {
    const body = this.parts.join("");
    const title = this.title?.replace(/\s+/g, " ").trim();
    return title ? `${title}\n\n${body}` : body;
  }

  ontext(start: number, end: number): void {
    this.add(this.html.slice(start, end));
  }

  ontextentity(codepoint: number): void {
    this.add(String.fromCodePoint(codepoint));
  }

  oncdata(start: number, end: number, endOffset: number): void {
    this.add(this.html.slice(start, end - endOffset));
  }

  onopentagname(start: number, end: number): void {
    this.element = this.html.slice(start, end).toLowerCase();
    this.alt = "";
  }

  onattribname(start: number, end: number): void {
    this.attribute = this.element === "img" || this.element === "area" ? this.html.slice(start, end).toLowerCase() : "";
  }

  onattribdata(start: number, end: number): void {
    if (this.attribute === "alt") this.alt += this.html.slice(start, end);
  }

  onattribentity(codepoint: number): void {
    if (this.attribute === "alt") this.alt += String.fromCodePoint(codepoint);
  }

  onopentagend(): void {
    const name = this.element;
    if (this.hiddenDepth > 0) {
      if (name === this.hidden) this.hiddenDepth++;
      return;
    }
    if (unshown.has(name)) {
      this.hidden = name;
      this.hiddenDepth = 1;
    } else if (name === "title" && this.title === undefined) {
      this.titleParts = [];
    } else if (name === "br") {
      this.breaks = Math.min(2, this.breaks + 1);
    } else if (this.alt !== "") {
      this.add(` ${this.alt} `);
    } else {
      this.breakAt(name);
      if (name === "pre") this.preDepth++;
    }
  }

  onselfclosingtag(): void {
    this.onopentagend();
    if (this.element !== "br") this.close(this.element);
  }

  onclosetag(start: number, end: number): void {
    this.close(this.html.slice(start, end).toLowerCase());
  }

  private close(name: string): void {
    if (this.hiddenDepth > 0) {
      if (name === this.hidden) this.hiddenDepth--;
    } else if (name === "title" && this.titleParts !== undefined) {
      this.endTitle();
    } else {
      this.breakAt(name);
      if (name === "pre" && this.preDepth > 0) this.preDepth--;
    }
  }

  onend(): void {
    if (this.titleParts !== undefined) this.endTitle();
  }

  private endTitle(): void {
    this.title = this.titleParts?.join("");
    this.titleParts = undefined;
  }

  onattribend(): void {}
  oncomment(): void {}
  ondeclaration(): void {}
  onprocessinginstruction(): void {}

  private breakAt(name: string): void {
    if (paragraphs.has(name)) this.breaks = 2;
    else if (lines.has(name)) this.breaks = Math.max(1, this.breaks);
    else if (name === "td" || name === "th") this.hasSpace = true;
  }

  private add(text: string): void {
    if (this.hiddenDepth > 0) return;
    if (this.titleParts !== undefined) {
      this.titleParts.push(text);
    } else if (this.preDepth > 0) {
      this.push(text);
    } else {
      const words = text.replace(/[ \t\n\f\r\u00a0]+/g, " ");
      if (words.startsWith(" ")) this.hasSpace = true;
      const shown = words.trim();
      if (shown === "") return;
      this.push(shown);
      this.hasSpace = words.endsWith(" ");
    }
  }

  private push(text: string): void {
    if (this.parts.length > 0) {
      if (this.breaks > 0) this.parts.push("\n".repeat(this.breaks));
      else if (this.hasSpace) this.parts.push(" ");
    }
    this.breaks = 0;
    this.hasSpace = false;
    this.parts.push(text);
  }
}
