import { fileName, placeOf, shownPath } from "./entry-words";
import { byId, element } from "./page-elements";
import type { Result } from "./search-client";
import type { ThumbnailStore } from "./thumbnail-store";

/** The results as a list of buttons, of which one has a place in the tab order; arrows move among them. */
export class ResultGrid {
  private readonly list = byId("results");
  private shown: readonly Result[] = [];

  constructor(
    private readonly thumbnails: ThumbnailStore,
    private readonly onOpen: (index: number) => void,
    private readonly onLeave: () => void,
  ) {
    this.list.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("click", (event) => {
      const index = this.tiles.indexOf((event.target as Element).closest("button") as HTMLButtonElement);
      if (index >= 0) this.onOpen(index);
    });
  }

  get results(): readonly Result[] {
    return this.shown;
  }

  show(results: readonly Result[]): void {
    this.shown = results;
    this.list.replaceChildren(...results.map((result, index) => tile(result, index === 0)));
    const pictures = [...this.list.querySelectorAll("img")];
    void this.thumbnails.fill(pictures.map((picture) => ({ picture, address: picture.dataset.address as string })));
  }

  /** The older results, while newer ones are under way. */
  set isStale(stale: boolean) {
    this.list.classList.toggle("stale", stale);
  }

  focus(index = 0): void {
    const { tiles } = this;
    const to = tiles[Math.max(0, Math.min(tiles.length - 1, index))];
    for (const one of tiles) one.tabIndex = one === to ? 0 : -1;
    to?.focus();
  }

  private get tiles(): HTMLButtonElement[] {
    return [...this.list.querySelectorAll<HTMLButtonElement>("button")];
  }

  private get columns(): number {
    const [first, ...others] = [...this.list.children] as HTMLElement[];
    const below = others.findIndex((one) => one.offsetTop > first.offsetTop);
    return below < 0 ? others.length + 1 : below + 1;
  }

  private key(event: KeyboardEvent): void {
    const at = this.tiles.indexOf(event.target as HTMLButtonElement);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const steps: { readonly [key: string]: () => number } = {
      ArrowRight: () => at + 1,
      ArrowLeft: () => at - 1,
      ArrowDown: () => (at + this.columns < this.tiles.length ? at + this.columns : at),
      ArrowUp: () => at - this.columns,
      Home: () => 0,
      End: () => this.tiles.length - 1,
    };
    if (!Object.hasOwn(steps, event.key)) return;
    event.preventDefault();
    const to = steps[event.key]();
    if (event.key === "ArrowUp" && to < 0) this.onLeave();
    else this.focus(to);
  }
}

function tile(result: Result, isFirst: boolean): HTMLLIElement {
  const item = element("li");
  const button = element("button", { className: `tile ${result.kind}` });
  button.type = "button";
  button.tabIndex = isFirst ? 0 : -1;
  button.title = shownPath(result.path);
  const facts = element("span", { className: "facts" });
  const score = element("span", { className: "score", text: result.score.toFixed(3) });
  score.title = "Cosine of question and result";
  facts.append(
    element("span", { className: "name", text: fileName(result.path) }),
    element("span", { className: "place", text: placeOf(result) }),
    score,
  );
  button.append(preview(result), facts);
  item.append(button);
  return item;
}

/** The thumbnail, or the text where there is none. */
function preview({ thumbnail, snippet }: Result): HTMLElement {
  const box = element("span", { className: "preview" });
  if (thumbnail === null) {
    const words = element("span", { className: "words", text: snippet || "no preview" });
    words.dir = "auto";
    box.append(words);
    return box;
  }
  const picture = element("img");
  picture.alt = ""; // its name stands below it
  picture.dataset.address = thumbnail;
  box.append(picture);
  return box;
}
