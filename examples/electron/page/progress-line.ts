import type { Progress, Summary } from "../src/protocol";

/** `12 of 340 files, 1 failed, 2 min left: cat.jpg` */
export function progressLine({ done, total, counted, failed, secondsLeft, current }: Progress): string {
  const parts = [`${done} of ${total}${counted ? "" : "+"} ${total === 1 ? "file" : "files"}`];
  if (failed > 0) parts.push(`${failed} failed`);
  if (counted && secondsLeft !== undefined && done < total) parts.push(`${duration(secondsLeft)} left`);
  return parts.join(", ") + (current === undefined ? "" : `: ${current}`);
}

export function summaryLine({ files, embedded, failed, seconds }: Summary): string {
  const failures = failed === 0 ? "" : `, ${failed} failed`;
  return `${files} ${files === 1 ? "file" : "files"} looked at, ${embedded} new${failures}, in ${duration(seconds)}`;
}

/** Rounded up, so that it never says 0 while something is left. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(1, Math.ceil(seconds))} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
