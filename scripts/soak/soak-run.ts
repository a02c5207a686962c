// A run's random numbers, counts, differences and the process's figures over time.
import { countOpenFiles, countThreads, residentBytes } from "../../test/lifetime/process-state";

interface Sample {
  readonly minutes: number;
  readonly megabytes: number;
  readonly openFiles: number;
  readonly threads: number;
  readonly children: number;
}

/** Differences beyond these are counted and not shown. */
const differencesShown = 50;

export class SoakRun {
  readonly counts = new Map<string, number>();
  differences = 0;
  private readonly samples: Sample[] = [];
  private readonly start = performance.now();
  private farthest = 0;
  private state: number;

  constructor(
    seed: number,
    private readonly countChildren: () => number,
  ) {
    this.state = seed;
  }

  /** In [0, 1), the same in every run with the same seed (splitmix32). */
  random(): number {
    this.state = (this.state + 0x9e3779b9) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.random() * list.length)] as T;
  }

  /** One to `most` of them, with repetitions. */
  some<T>(list: readonly T[], most: number): T[] {
    return Array.from({ length: 1 + Math.floor(this.random() * most) }, () => this.pick(list));
  }

  begin(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  note(text: string): void {
    console.log(`  ${text}`);
  }

  differs(name: string, text: string): void {
    this.differences++;
    if (this.differences <= differencesShown)
      console.log(`  DIFFERENCE in ${name} after ${this.operations} operations: ${text}`);
  }

  worst(far: number): void {
    this.farthest = Math.max(this.farthest, far);
  }

  get operations(): number {
    return [...this.counts.values()].reduce((sum, n) => sum + n, 0);
  }

  get minutes(): number {
    return (performance.now() - this.start) / 60_000;
  }

  /** After a collection of garbage, where Node was started with --expose-gc. */
  sample(): void {
    globalThis.gc?.();
    this.samples.push({
      minutes: this.minutes,
      megabytes: residentBytes() / 2 ** 20,
      openFiles: countOpenFiles(),
      threads: countThreads(),
      children: this.countChildren(),
    });
  }

  /** Growth per hour by linear regression over the last two thirds: the first third warms pools and caches. */
  report(): { text: string; megabytesPerHour: number } {
    const warm = this.samples.slice(Math.floor(this.samples.length / 3));
    const of = (read: (sample: Sample) => number) => warm.map(read);
    const megabytes = of(({ megabytes }) => megabytes);
    const slope = slopeOf(of(({ minutes }) => minutes / 60), megabytes); // biome-ignore format: one line says it
    const range = (numbers: number[]) => `${Math.min(...numbers).toFixed(0)} to ${Math.max(...numbers).toFixed(0)}`;
    const counts = [...this.counts].map(([name, n]) => `${name} ${n}`).join(", ");
    const text = [
      `${this.operations} operations in ${this.minutes.toFixed(1)} minutes: ${counts}`,
      `${this.differences} differences; farthest vector ${this.farthest.toExponential(1)}`,
      `memory after the first third: ${range(megabytes)} MB, ${slope.toFixed(1)} MB per hour; open files ${range(of(({ openFiles }) => openFiles))}, threads ${range(of(({ threads }) => threads))}, engine processes ${range(of(({ children }) => children))}`,
    ].join("\n");
    return { text, megabytesPerHour: slope };
  }
}

function slopeOf(x: readonly number[], y: readonly number[]): number {
  const mean = (numbers: readonly number[]) => numbers.reduce((sum, n) => sum + n, 0) / numbers.length;
  const [meanX, meanY] = [mean(x), mean(y)];
  const covariance = x.reduce((sum, value, i) => sum + (value - meanX) * (y[i] - meanY), 0);
  return covariance / x.reduce((sum, value) => sum + (value - meanX) ** 2, 0);
}
