/** Searches once the typing pauses, and shows an answer only while it belongs to the newest query. */
export class SearchAsYouType<T> {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private newest = 0;

  constructor(
    private readonly search: (query: string) => Promise<T>,
    private readonly show: (answer: T, query: string) => void,
    private readonly pauseMs = 150,
  ) {}

  type(query: string): void {
    clearTimeout(this.timer);
    this.newest++; // whatever is under way belongs to an older query
    this.timer = setTimeout(() => void this.run(query), this.pauseMs);
  }

  /** Without waiting for a pause: after Enter, and when the index has grown. */
  async run(query: string): Promise<void> {
    clearTimeout(this.timer);
    const turn = ++this.newest;
    const answer = await this.search(query);
    if (turn === this.newest) this.show(answer, query);
  }
}
