/** What a lane must know of an item. */
export interface LaneItem {
  readonly client: string;
  readonly cost: number;
  /** Undefined: nobody waits for it any more. */
  readonly item: unknown;
}

/** The items of one client, in their order. Those that nobody waits for stay until they are met, or are half of all. */
class ClientLine<Item extends LaneItem> {
  private items: Item[] = [];
  private at = 0;
  private gone = 0;

  /** `due`: the work that this client has been given, and its share of what others were given while it asked for nothing. */
  constructor(public due: number) {}

  add(item: Item): void {
    this.items.push(item);
  }

  get head(): Item | undefined {
    while (this.at < this.items.length && this.items[this.at].item === undefined) {
      this.at++;
      this.gone = Math.max(0, this.gone - 1);
    }
    if (this.at > 1_024 && this.at * 2 > this.items.length) this.compact();
    return this.items[this.at];
  }

  shift(): Item {
    const item = this.head as Item;
    this.at++;
    return item;
  }

  countGone(): void {
    if (++this.gone * 2 > this.items.length - this.at) this.compact();
  }

  private compact(): void {
    this.items = this.items.slice(this.at).filter(({ item }) => item !== undefined);
    this.at = 0;
    this.gone = 0;
  }
}

/** A batch is full enough when the next items of so many clients do not fit. */
const maxPassed = 64;

/**
 * Items of several clients: whoever has been given the least work is next, for some items in a row, and within a client the first that
 * came. A client that asked for nothing meanwhile has saved nothing up by that.
 */
export class FairLane<Item extends LaneItem> {
  private readonly clients = new Map<string, ClientLine<Item>>();
  /** Where the client whose turn it is stood at its beginning. */
  private clock = 0;
  private count = 0;
  /** Whose turn it is, and the work that is left of the turn. */
  private turn: { line: ClientLine<Item>; left: number } | undefined;

  get length(): number {
    return this.count;
  }

  isWaiting(client: string): boolean {
    return this.clients.get(client)?.head !== undefined;
  }

  add(item: Item): void {
    let line = this.clients.get(item.client);
    if (line === undefined) {
      line = new ClientLine(this.clock);
      this.clients.set(item.client, line);
    } else if (line.head === undefined) line.due = Math.max(line.due, this.clock);
    line.add(item);
    this.count++;
  }

  /** Its `item` has just been made undefined. */
  dropped({ client }: Item): void {
    this.count--;
    this.clients.get(client)?.countGone();
    if (this.count === 0) this.clients.clear();
  }

  /**
   * At most `most` items for a batch: those whose turn it is, but for the clients whose next item does not fit. `turnCost`: the work of one
   * turn; item by item, all requests would be done late.
   */
  take(most: number, turnCost: number, fits: (item: Item) => boolean): Item[] {
    const taken: Item[] = [];
    const passed = new Set<ClientLine<Item>>();
    while (taken.length < most && passed.size < maxPassed) {
      const line = this.next(passed, turnCost);
      if (line === undefined) break;
      if (!fits(line.head as Item)) {
        passed.add(line);
        continue;
      }
      const item = line.shift();
      line.due += item.cost;
      if (this.turn !== undefined) this.turn.left -= item.cost;
      taken.push(item);
    }
    this.count -= taken.length;
    this.forget();
    return taken;
  }

  private next(passed: Set<ClientLine<Item>>, turnCost: number): ClientLine<Item> | undefined {
    const { turn } = this;
    if (turn !== undefined && turn.left > 0 && turn.line.head !== undefined && !passed.has(turn.line)) return turn.line;
    let best: ClientLine<Item> | undefined;
    for (const line of this.clients.values()) {
      if (passed.has(line) || line.head === undefined) continue;
      if (best === undefined || line.due < best.due) best = line;
    }
    if (best === undefined) return undefined;
    this.turn = { line: best, left: turnCost };
    this.clock = Math.max(this.clock, best.due);
    return best;
  }

  /** A client without items is kept while it is ahead of the others. */
  private forget(): void {
    if (this.count === 0) this.clients.clear();
    else
      for (const [client, line] of this.clients)
        if (line.head === undefined && line.due <= this.clock) this.clients.delete(client);
  }
}
