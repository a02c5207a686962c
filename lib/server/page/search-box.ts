import { byId } from "./page-elements";
import type { SentPicture } from "./picture-scale";
import type { Kind } from "./search-client";

const pauseMs = 200;

/** What is asked: words, a picture, a kind. `onAsk` is called when the typing pauses, and at once for everything else. */
export class SearchBox {
  private readonly query = byId<HTMLInputElement>("query");
  private readonly chip = byId("chip");
  private timer: ReturnType<typeof setTimeout> | undefined;
  private sent: SentPicture | undefined;
  private url: string | undefined;
  private isComposing = false;

  constructor(private readonly onAsk: () => void) {
    this.query.addEventListener("compositionstart", () => {
      this.isComposing = true;
    });
    this.query.addEventListener("compositionend", () => {
      this.isComposing = false;
      this.askSoon();
    });
    this.query.addEventListener("input", () => this.isComposing || this.askSoon());
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    byId("kinds").addEventListener("change", () => this.ask());
    byId("chip-remove").addEventListener("click", () => {
      this.setPicture(undefined);
      this.query.focus();
    });
  }

  get text(): string {
    return this.query.value.trim();
  }

  get picture(): SentPicture | undefined {
    return this.sent;
  }

  get kind(): Kind | undefined {
    const chosen = document.querySelector<HTMLInputElement>("#kinds input:checked");
    return (chosen?.value || undefined) as Kind | undefined;
  }

  get isEmpty(): boolean {
    return this.text === "" && this.sent === undefined;
  }

  setPicture(picture: SentPicture | undefined): void {
    if (this.url !== undefined) URL.revokeObjectURL(this.url);
    this.sent = picture;
    this.url = picture && URL.createObjectURL(picture.blob);
    this.chip.hidden = picture === undefined;
    byId("chip-name").textContent = picture?.name ?? "";
    const shown = byId<HTMLImageElement>("chip-picture");
    if (this.url === undefined) shown.removeAttribute("src");
    else shown.src = this.url;
    this.query.placeholder = picture === undefined ? "Search, or drop a picture" : "Add words";
    this.ask();
  }

  focus(): void {
    this.query.focus();
    this.query.select();
  }

  private askSoon(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.onAsk(), pauseMs);
  }

  private ask(): void {
    clearTimeout(this.timer);
    this.onAsk();
  }
}
