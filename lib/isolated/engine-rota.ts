import { abortError, type GmeError } from "../errors";

interface Seat<Engine> {
  readonly engine: Engine;
  open: number;
  /** When it was given work last, as a count. */
  lastTurn: number;
  isLost: boolean;
}

interface Turn<Engine> {
  readonly work: (engine: Engine) => Promise<unknown>;
  readonly settle: (outcome: Promise<unknown>) => void;
  readonly tried: Set<Seat<Engine>>;
}

/**
 * Several engines, and one queue of work for them: whoever is free takes the next. Work that an engine cannot take any more, because it is
 * lost as a whole, goes to another; a lost engine is tried again when no other is left.
 */
export class EngineRota<Engine> {
  private readonly seats: readonly Seat<Engine>[];
  private readonly waiting: Turn<Engine>[] = [];
  private turns = 0;
  private onDrained: (() => void) | undefined;

  constructor(
    engines: readonly Engine[],
    /** Pieces of work that an engine has at once: the one that it computes, and what it prepares meanwhile. */
    private readonly atOnce: number,
    /** Whether an error means that the engine is of no use, not that its work was bad. */
    private readonly isLost: (engine: Engine, error: unknown) => boolean,
    private readonly onLost: (engine: Engine, error: GmeError) => void = () => undefined,
  ) {
    this.seats = engines.map((engine) => ({ engine, open: 0, lastTurn: 0, isLost: false }));
  }

  /** In the order of the calls. What waits rejects at once when it is aborted; what runs is told by its own signal. */
  run<T>(work: (engine: Engine) => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (signal?.aborted) return Promise.reject(abortError(signal));
    return new Promise<T>((resolve, reject) => {
      const onAbort = () => {
        const at = this.waiting.indexOf(turn);
        if (at < 0) return;
        this.waiting.splice(at, 1);
        reject(abortError(signal));
        this.advance();
      };
      const settle = (outcome: Promise<unknown>) => {
        signal?.removeEventListener("abort", onAbort);
        (outcome as Promise<T>).then(resolve, reject);
      };
      const turn: Turn<Engine> = { work, settle, tried: new Set() };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.waiting.push(turn);
      this.advance();
    });
  }

  /** Past the queue: for what an engine does beside its work. */
  runNow<T>(work: (engine: Engine) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const settle = (outcome: Promise<unknown>) => void (outcome as Promise<T>).then(resolve, reject);
      const turn: Turn<Engine> = { work, settle, tried: new Set() };
      this.start(turn, this.pick(turn, Number.POSITIVE_INFINITY) as Seat<Engine>);
    });
  }

  /** Until nothing waits and nothing runs. */
  async drained(): Promise<void> {
    if (this.isDrained) return;
    await new Promise<void>((resolve) => {
      this.onDrained = resolve;
    });
  }

  private get isDrained(): boolean {
    return this.waiting.length === 0 && this.seats.every(({ open }) => open === 0);
  }

  private advance(): void {
    for (let at = 0; at < this.waiting.length; ) {
      const seat = this.pick(this.waiting[at], this.atOnce);
      if (seat !== undefined) this.start(this.waiting.splice(at, 1)[0], seat);
      else if (this.waiting[at].tried.size > 0)
        at++; // the others may be free for the next
      else break;
    }
    if (this.isDrained) this.onDrained?.();
  }

  /** The one with least to do; of several the one that has waited longest. */
  private pick(turn: Turn<Engine>, atOnce: number): Seat<Engine> | undefined {
    const untried = this.seats.filter((seat) => !turn.tried.has(seat));
    const sound = untried.filter(({ isLost }) => !isLost);
    const free = (sound.length > 0 ? sound : untried).filter(({ open }) => open < atOnce);
    return free.sort((a, b) => a.open - b.open || a.lastTurn - b.lastTurn)[0];
  }

  private start(turn: Turn<Engine>, seat: Seat<Engine>): void {
    seat.open++;
    seat.lastTurn = ++this.turns;
    const outcome = (async () => turn.work(seat.engine))();
    const end = (isPassedOn: boolean) => {
      seat.open--;
      if (!isPassedOn) turn.settle(outcome);
      this.advance();
    };
    outcome.then(
      () => {
        seat.isLost = false;
        end(false);
      },
      (error) => end(this.isLost(seat.engine, error) && this.passOn(turn, seat, error)),
    );
  }

  /** Whether another engine takes it over. */
  private passOn(turn: Turn<Engine>, seat: Seat<Engine>, error: GmeError): boolean {
    if (!seat.isLost) this.onLost(seat.engine, error);
    seat.isLost = true;
    turn.tried.add(seat);
    const isOneLeft = turn.tried.size < this.seats.length;
    if (isOneLeft) this.waiting.unshift(turn);
    return isOneLeft;
  }
}
