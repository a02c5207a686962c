/** Moments between which a killed run must leave a whole index; test/index-store/crash-points.test.ts goes through them. */
export type CrashPoint = "batch.embedded" | "merge.before" | "merge.after" | "optimize.before" | "optimize.after";

/** Ends the process like `kill -9` where GME_CRASH_AT says so: `merge.before:3` at the third time. */
export class CrashPoints {
  private readonly point: string | undefined;
  private left: number;

  constructor(setting: string | undefined = process.env.GME_CRASH_AT) {
    const [point, count] = (setting ?? "").split(":");
    this.point = point === "" ? undefined : point;
    this.left = Number(count ?? 1);
  }

  reach(point: CrashPoint): void {
    if (point === this.point && --this.left === 0) process.kill(process.pid, "SIGKILL");
  }
}
