import type { Hit } from "../src/protocol";

/** The grid: a list of which one entry has the focus, moved by the arrow keys. */
export class Results {
  constructor(
    private readonly list: HTMLElement,
    private readonly open: (key: string) => void,
  ) {
    list.addEventListener("keydown", (event) => this.key(event));
    list.addEventListener("dblclick", (event) => this.openAt(event.target));
  }

  /** Texts of files are only ever set as text. */
  show(hits: readonly Hit[]): void {
    this.list.replaceChildren(...hits.map((hit, index) => card(hit, index === 0)));
  }

  focus(): void {
    this.move(0);
  }

  private get cards(): HTMLElement[] {
    return [...this.list.children] as HTMLElement[];
  }

  private move(index: number): void {
    const cards = this.cards;
    const to = cards[Math.max(0, Math.min(cards.length - 1, index))];
    for (const one of cards) {
      one.tabIndex = one === to ? 0 : -1;
      one.setAttribute("aria-selected", String(one === to));
    }
    to?.focus();
  }

  private columns(): number {
    const [first, ...rest] = this.cards;
    const below = rest.findIndex((one) => one.offsetTop > first.offsetTop);
    return below < 0 ? rest.length + 1 : below + 1;
  }

  private key(event: KeyboardEvent): void {
    const at = this.cards.indexOf(event.target as HTMLElement);
    if (at < 0) return;
    const steps: { readonly [key: string]: () => number } = {
      ArrowRight: () => at + 1,
      ArrowLeft: () => at - 1,
      ArrowDown: () => at + this.columns(),
      ArrowUp: () => at - this.columns(),
      Home: () => 0,
      End: () => this.cards.length - 1,
    };
    if (event.key === "Enter") this.openAt(event.target);
    else if (Object.hasOwn(steps, event.key)) this.move(steps[event.key]());
    else return;
    event.preventDefault();
  }

  private openAt(target: EventTarget | null): void {
    const key = (target as HTMLElement | null)?.closest<HTMLElement>(".hit")?.dataset.key;
    if (key !== undefined) this.open(key);
  }
}

function card(hit: Hit, isFirst: boolean): HTMLElement {
  const item = element("div", "hit");
  item.dataset.key = hit.key;
  item.tabIndex = isFirst ? 0 : -1;
  item.setAttribute("role", "option");
  const name = hit.page === undefined ? hit.name : `${hit.name}, page ${hit.page}`;
  item.title = name;
  const caption = element("p", "");
  caption.append(element("span", "name", name), element("span", "score", hit.score.toFixed(3)));
  item.append(hit.hasThumbnail ? thumbnail(hit) : element("blockquote", "", hit.snippet ?? ""), caption);
  return item;
}

function thumbnail({ key, name }: Hit): HTMLElement {
  const picture = document.createElement("img");
  picture.src = `/thumbnail/${key}`;
  picture.alt = name;
  picture.loading = "lazy";
  return picture;
}

function element(tag: string, className: string, text = ""): HTMLElement {
  const made = document.createElement(tag);
  if (className !== "") made.className = className;
  made.textContent = text;
  return made;
}
