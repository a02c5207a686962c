import { randomBytes } from "node:crypto";
import t from "tap";
import { keyCheck } from "../../../lib/server/request-guard";

const keyLength = 64;
/** One in a hundred measurements of nothing is under 0.01. */
const attempts = 3;

type Kinds = readonly [() => string, () => string];

/**
 * Times of both kinds in ns, without the slowest of all. In random order: taken in turn, even the same key twice differs by tens of ns,
 * since memory is cleaned up in a rhythm of its own.
 */
function measure(check: (given: string) => boolean, kinds: Kinds, count: number): [number[], number[]] {
  const all: [kind: number, ns: number][] = [];
  for (let i = 0; i < count; i++) {
    const kind = Math.random() < 0.5 ? 0 : 1;
    const given = kinds[kind]();
    const start = process.hrtime.bigint();
    if (check(given)) throw new Error("a wrong key was taken");
    all.push([kind, Number(process.hrtime.bigint() - start)]);
  }
  const most = all.map(([, ns]) => ns).sort((a, b) => a - b)[Math.floor(count * 0.9)];
  const of = (kind: number) => all.filter(([k, ns]) => k === kind && ns <= most).map(([, ns]) => ns);
  return [of(0), of(1)];
}

/** Two-sided p of Welch's test; with so many samples t is as good as normal. */
function pValue([a, b]: [number[], number[]]): number {
  const mean = (all: number[]) => all.reduce((sum, x) => sum + x, 0) / all.length;
  const error = (all: number[], m: number) =>
    all.reduce((sum, x) => sum + (x - m) ** 2, 0) / (all.length - 1) / all.length;
  const [ma, mb] = [mean(a), mean(b)];
  const z = Math.abs(ma - mb) / Math.sqrt(error(a, ma) + error(b, mb));
  // Abramowitz and Stegun 7.1.26
  const u = 1 / (1 + (0.3275911 * z) / Math.SQRT2);
  const polynomial = u * (0.254829592 + u * (-0.284496736 + u * (1.421413741 + u * (-1.453152027 + u * 1.061405429))));
  return polynomial * Math.exp((-z * z) / 2);
}

/** Wrong from the first character on, and right but for the last. Strings are made anew, so that none is found again by identity. */
function wrongKeys(key: string): Kinds {
  const other = (i: number) => String.fromCharCode(key.charCodeAt(i) ^ 1);
  const far = Buffer.from(other(0) + randomBytes(keyLength).toString("hex").slice(1, keyLength));
  const near = Buffer.from(key.slice(0, -1) + other(keyLength - 1));
  return [() => far.toString("latin1"), () => near.toString("latin1")];
}

t.test("S15 a wrong key takes as long when most of it is right", async (t) => {
  const found: number[] = [];
  while (found.length < attempts && !found.some((p) => p > 0.01)) {
    const key = randomBytes(keyLength / 2).toString("hex");
    const check = keyCheck([key]);
    measure(check, wrongKeys(key), 5_000);
    found.push(pValue(measure(check, wrongKeys(key), 100_000)));
  }
  t.comment(
    `S15: p of 100,000 wrong keys, half of them right but for the last character: ${found.map((p) => p.toFixed(3)).join(", ")}`,
  );
  t.ok(
    found.some((p) => p > 0.01),
    "no signal; one would be there each time",
  );
});

t.test("S15 the measurement sees a comparison that stops at the first difference", async (t) => {
  const key = randomBytes(keyLength / 2).toString("hex");
  const naive = (given: string) => {
    for (let i = 0; i < key.length; i++) if (given.charCodeAt(i) !== key.charCodeAt(i)) return false;
    return true;
  };
  measure(naive, wrongKeys(key), 5_000);
  const p = pValue(measure(naive, wrongKeys(key), 100_000));
  t.comment(`p ${p}`);
  t.ok(p < 0.01, `p ${p}`);
});
