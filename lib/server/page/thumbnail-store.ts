import type { SearchClient } from "./search-client";

const atOnce = 6;
const maxHeld = 400;

/** Thumbnails as blob: URLs, some at once, those of the newest results alone; what was shown lately is held. */
export class ThumbnailStore {
  private readonly held = new Map<string, string>();
  private abort = new AbortController();

  constructor(private readonly client: SearchClient) {}

  /** Fills the pictures in their order; an earlier call's are given up. */
  async fill(pictures: readonly { readonly address: string; readonly picture: HTMLImageElement }[]): Promise<void> {
    this.abort.abort();
    const abort = new AbortController();
    this.abort = abort;
    const wanted = pictures.filter(({ address, picture }) => !this.show(address, picture));
    const next = async (): Promise<void> => {
      for (let one = wanted.shift(); one !== undefined && !abort.signal.aborted; one = wanted.shift()) {
        try {
          const blob = await this.client.picture(one.address, abort.signal);
          this.hold(one.address, URL.createObjectURL(blob), new Set(pictures.map(({ address }) => address)));
          this.show(one.address, one.picture);
        } catch {
          one.picture.closest(".preview")?.classList.add("missing");
        }
      }
    };
    await Promise.all(Array.from({ length: atOnce }, next));
  }

  /** What is shown already. */
  get(address: string): string | undefined {
    return this.held.get(address);
  }

  private show(address: string, picture: HTMLImageElement): boolean {
    const url = this.held.get(address);
    if (url !== undefined) picture.src = url;
    return url !== undefined;
  }

  private hold(address: string, url: string, shown: ReadonlySet<string>): void {
    this.held.set(address, url);
    for (const [oldest, held] of this.held) {
      if (this.held.size <= maxHeld) return;
      if (shown.has(oldest)) continue;
      this.held.delete(oldest);
      URL.revokeObjectURL(held);
    }
  }
}
