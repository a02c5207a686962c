import { counted, fileName, kindNames, placeOf, shownPath } from "./entry-words";
import { byId, element } from "./page-elements";
import { type Entry, type EntryPlace, type Result, type SearchClient, ServerProblem } from "./search-client";
import type { ThumbnailStore } from "./thumbnail-store";

export interface EntryViewListener {
  /** The results, so that one can go from one to the next. */
  results(): readonly Result[];
  /** Called with the place among the results of what was shown last. */
  closed(index: number): void;
  /** Search by the picture that is shown. */
  similar(picture: Blob, name: string): void;
}

/** One entry by itself: its picture or page, larger, or its text; and from there to the pages beside it. */
export class EntryView {
  private readonly dialog = byId<HTMLDialogElement>("entry");
  private readonly picture = byId<HTMLImageElement>("entry-picture");
  private readonly words = byId("entry-text");
  private readonly note = byId("entry-note");
  private abort = new AbortController();
  private url: string | undefined;
  private blob: Blob | undefined;
  private index = 0;
  private entry: Entry | undefined;

  constructor(
    private readonly client: SearchClient,
    private readonly thumbnails: ThumbnailStore,
    private readonly listener: EntryViewListener,
  ) {
    byId("entry-close").addEventListener("click", () => this.dialog.close());
    byId("entry-before").addEventListener("click", () => this.step(-1));
    byId("entry-after").addEventListener("click", () => this.step(1));
    byId("entry-previous").addEventListener("click", () => this.turn("previous"));
    byId("entry-next").addEventListener("click", () => this.turn("next"));
    byId("entry-similar").addEventListener("click", () => this.searchBy());
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("close", () => {
      this.abort.abort();
      this.listener.closed(this.index);
    });
  }

  open(index: number): void {
    this.index = index;
    const result = this.listener.results()[index];
    if (result === undefined) return;
    if (!this.dialog.open) this.dialog.showModal();
    byId<HTMLButtonElement>("entry-before").disabled = index === 0;
    byId<HTMLButtonElement>("entry-after").disabled = index === this.listener.results().length - 1;
    void this.show(result.key, result, result.score);
  }

  private step(by: number): void {
    const to = this.index + by;
    if (to < 0 || to >= this.listener.results().length) return;
    this.open(to);
    if ((document.activeElement as HTMLButtonElement | null)?.disabled) byId("entry-name").focus();
  }

  private turn(where: "previous" | "next"): void {
    const key = this.entry?.[where];
    if (key === undefined) return;
    const index = this.listener.results().findIndex((result) => result.key === key);
    if (index >= 0) this.open(index);
    else void this.show(key, undefined, undefined);
  }

  private key(event: KeyboardEvent): void {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const steps: { readonly [key: string]: () => void } = {
      ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1),
      PageUp: () => this.turn("previous"),
      PageDown: () => this.turn("next"),
    };
    if (!Object.hasOwn(steps, event.key)) return;
    event.preventDefault();
    steps[event.key]();
  }

  /** What is known at once, then the entry itself and its picture. */
  private async show(key: string, known: Result | undefined, score: number | undefined): Promise<void> {
    this.abort.abort();
    this.abort = new AbortController();
    const { signal } = this.abort;
    this.entry = undefined;
    if (known !== undefined) this.showHead(known, score);
    this.showPages(undefined);
    this.note.textContent = "Loading…";
    try {
      const entry = await this.client.entry(key, signal);
      this.entry = entry;
      this.showHead(entry, score);
      this.showPages(entry);
      this.showFacts(entry, score);
      if (entry.kind === "text") this.note.textContent = "";
      else await this.showPicture(entry, signal);
    } catch (error) {
      if (signal.aborted) return;
      this.note.textContent = error instanceof Error ? error.message : String(error);
    }
  }

  private showHead(entry: EntryPlace, score: number | undefined): void {
    byId("entry-name").textContent = fileName(entry.path);
    byId("entry-part").textContent = [placeOf(entry), score?.toFixed(3)].filter(Boolean).join(" · ");
    const isText = entry.kind === "text";
    this.words.hidden = !isText;
    this.words.textContent = isText ? (entry.snippet ?? "") : "";
    const thumbnail = entry.thumbnail === null ? undefined : this.thumbnails.get(entry.thumbnail);
    this.setPicture(isText ? undefined : thumbnail, undefined);
    this.picture.classList.toggle("page", entry.kind === "page");
    this.picture.alt = `${kindNames[entry.kind]}: ${fileName(entry.path)}${entry.page === undefined ? "" : `, page ${entry.page}`}`; // biome-ignore format: one line says it
  }

  /** The thumbnail stays where there is no view, which says why. */
  private async showPicture(entry: Entry, signal: AbortSignal): Promise<void> {
    const side = Math.max(innerWidth, innerHeight) * devicePixelRatio > 1_000 ? 1_600 : 1_024;
    try {
      const blob = await this.client.picture(`/views/${entry.key}?side=${side}`, signal);
      this.note.textContent = "";
      this.setPicture(URL.createObjectURL(blob), blob);
    } catch (error) {
      if (signal.aborted) throw error;
      if (entry.thumbnail === null || !(error instanceof ServerProblem)) throw error;
      const blob = await this.client.picture(entry.thumbnail, signal);
      this.note.textContent = `Only its thumbnail is there. ${error.message}`;
      this.setPicture(URL.createObjectURL(blob), blob);
    }
  }

  /** `blob`: the URL is this view's own. */
  private setPicture(url: string | undefined, blob: Blob | undefined): void {
    if (this.url !== undefined) URL.revokeObjectURL(this.url);
    this.url = blob === undefined ? undefined : url;
    this.blob = blob;
    this.picture.hidden = url === undefined;
    this.picture.classList.toggle("small", blob === undefined);
    if (url === undefined) this.picture.removeAttribute("src");
    else this.picture.src = url;
    byId("entry-similar").hidden = blob === undefined;
  }

  private showPages(entry: Entry | undefined): void {
    const number = entry?.page ?? entry?.passage;
    const name = entry?.page === undefined ? "passage" : "page";
    const parts = entry?.parts ?? 1;
    byId("entry-pages").hidden = number === undefined || parts < 2;
    byId("entry-place").textContent = `${name} ${number} of ${parts}`;
    for (const where of ["previous", "next"] as const) {
      const button = byId<HTMLButtonElement>(`entry-${where}`);
      const isFocused = document.activeElement === button;
      button.textContent = `${where === "previous" ? "Previous" : "Next"} ${name}`;
      button.disabled = entry?.[where] === undefined;
      if (isFocused && button.disabled && entry !== undefined) byId("entry-name").focus();
    }
  }

  private showFacts(entry: Entry, score: number | undefined): void {
    const caption = byId("entry-caption");
    caption.hidden = entry.caption === undefined;
    caption.textContent = entry.caption ?? "";
    const facts: [string, string][] = [["File", entry.paths.map(shownPath).join("\n")]];
    if (score !== undefined) facts.push(["Score", score.toFixed(4)]);
    if (entry.size !== undefined) facts.push(["Size", bytesWords(entry.size)]);
    byId("entry-facts").replaceChildren(
      ...facts.flatMap(([name, value]) => [element("dt", { text: name }), element("dd", { text: value })]),
    );
  }

  private searchBy(): void {
    const { blob, entry } = this;
    if (blob === undefined || entry === undefined) return;
    this.dialog.close();
    this.listener.similar(blob, fileName(entry.path));
  }
}

function bytesWords(bytes: number): string {
  if (bytes < 1_000) return counted(bytes, "byte");
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
