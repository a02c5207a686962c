// Seeded damage of valid pictures. GME_TEST_LONG=1 tries 50,000 of them.
import t from "tap";
import { randomNumbers } from "../lifetime/native-model";
import { damaged, seedlings } from "./picture-mutations";
import { outcomeOf } from "./picture-outcome";

const isLong = process.env.GME_TEST_LONG === "1";
const tries = isLong ? 50_000 : 2_000;

t.test(
  `I36 ${tries} damaged pictures end in a typed error or a picture of the header's size`,
  { timeout: 3_600_000 },
  async (t) => {
    const seeds = await seedlings();
    for (const { name, bytes } of seeds) t.match((await outcomeOf(bytes)).what, /^(48×40|40×48)$/, `${name} is whole`);
    const random = randomNumbers(7);
    const counts = new Map<string, number>();
    const wrong: string[] = [];
    const start = process.memoryUsage().rss;
    let [slowest, slowestName, peak] = [0, "", 0];
    for (let i = 0; i < tries; i++) {
      const seed = seeds[i % seeds.length];
      const outcome = await outcomeOf(damaged(seed, random));
      const kind = outcome.data === undefined ? outcome.what : "accepted";
      if (outcome.data === undefined && !/^GME_IMAGE_[A-Z_]+$/.test(outcome.what))
        wrong.push(`${i} ${seed.name}: ${outcome.what}`);
      // Decoding has checked the size against the header; the bytes have to be as many.
      if (outcome.data !== undefined && !/^\d+×\d+$/.test(outcome.what))
        wrong.push(`${i} ${seed.name}: ${outcome.what}`);
      if (outcome.milliseconds > slowest) [slowest, slowestName] = [outcome.milliseconds, `${i} ${seed.name}`];
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
      if (i % 100 === 0) peak = Math.max(peak, process.memoryUsage().rss);
    }
    t.strictSame(wrong, []);
    t.ok(slowest < 10_500, `the slowest, ${slowestName}, took ${slowest.toFixed(0)} ms`);
    const growth = (peak - start) / 2 ** 20;
    t.ok(growth < 1_024, `${growth.toFixed(0)} MiB more at the most`);
    const list = [...counts].sort().map(([kind, count]) => `${count} ${kind}`);
    t.comment(`count malformed-files: ${tries}`);
    t.comment(
      `I36: ${tries} malformed files tried: ${list.join(", ")}; 0 crashes; slowest ${slowest.toFixed(0)} ms, +${growth.toFixed(0)} MiB`,
    );
  },
);
