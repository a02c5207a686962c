// How often a test repeats itself, and what it makes of the figures.
//
// GME_TEST_LONG=1: the counts of the robustness table. GME_SANITIZED=1 (scripts/sanitize.mjs): a tenth, and no gate on time or memory,
// which a sanitizer multiplies.

export const isLong = process.env.GME_TEST_LONG === "1";
export const isSanitized = process.env.GME_SANITIZED === "1";

export const rounds = (short: number, long: number): number =>
  isLong ? long : isSanitized ? Math.max(3, Math.ceil(short / 10)) : short;

/** The slope of the straight line through the points, by least squares. */
export function slope(points: readonly (readonly [number, number])[]): number {
  const mean = (at: 0 | 1) => points.reduce((sum, point) => sum + point[at], 0) / points.length;
  const [meanX, meanY] = [mean(0), mean(1)];
  let [products, squares] = [0, 0];
  for (const [x, y] of points) {
    products += (x - meanX) * (y - meanY);
    squares += (x - meanX) ** 2;
  }
  return products / squares;
}

export const quantile = (values: readonly number[], part: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ?? 0;

/** How often each outcome came, as text: "fulfilled 12, GME_ABORTED 88". */
export function tally(outcomes: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const outcome of outcomes) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  return [...counts].map(([outcome, count]) => `${outcome} ${count}`).join(", ");
}
