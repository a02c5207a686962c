const maxBytes = 32 << 20;

/** Thumbnails of entries found lately: a page asks for them right after its search, and each by itself would be another scan of the keys. */
export class ThumbnailCache {
  private readonly held = new Map<string, Uint8Array>();
  private bytes = 0;

  get(key: string): Uint8Array | undefined {
    const found = this.held.get(key);
    if (found !== undefined) this.add(key, found);
    return found;
  }

  /** Those used longest ago go. */
  add(key: string, thumbnail: Uint8Array): void {
    this.bytes += thumbnail.length - (this.held.get(key)?.length ?? 0);
    this.held.delete(key);
    this.held.set(key, thumbnail);
    for (const [oldest, { length }] of this.held) {
      if (this.bytes <= maxBytes) return;
      this.held.delete(oldest);
      this.bytes -= length;
    }
  }
}
