// What C++ code throws on an engine thread comes back as an error of the call; nothing ends the process.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { temporaryFolder } from "../helpers/fixtures";
import { runChild } from "./child";
import { childSetup } from "./native-model";
import { preloaded } from "./preloaded";
import { isLong, isSanitized } from "./rounds";

interface Part {
  allocations: number;
  thrown: number;
  outcomes: Record<string, number>;
  wrongAfter: number;
}

// By the layer that catches it, the addon's or the engine's; what stands in for nothrow new catches all and means memory.
const kinds = [
  { title: "std::bad_alloc once", codes: ["GME_OUT_OF_MEMORY"] },
  { title: "std::bad_alloc from then on", codes: ["GME_OUT_OF_MEMORY"] },
  { title: "std::length_error", codes: ["GME_OUT_OF_MEMORY", "GME_INTERNAL"] },
  { title: "std::runtime_error", codes: ["GME_ENGINE_CRASHED", "GME_INTERNAL", "GME_OUT_OF_MEMORY"] },
  { title: "an int", codes: ["GME_ENGINE_CRASHED", "GME_INTERNAL", "GME_OUT_OF_MEMORY"] },
];

async function throwEverywhere(t: Test, kind: number): Promise<void> {
  const control = join(temporaryFolder(), `failing-new-${kind}`);
  writeFileSync(control, Buffer.alloc(32));
  // A prime: over several kinds different allocations are met.
  const stride = isLong ? 1 : [11, 13, 17, 19, 23][kind];
  const end = await runChild("failing-new.cjs", [kind, stride], {
    setup: childSetup(0),
    env: { LD_PRELOAD: preloaded("failing-new"), GME_FAILING_NEW: control },
    patience: 1_200_000,
  });
  t.match(end, { code: 0, signal: null }, end.output);
  const report = JSON.parse(end.output) as Record<string, Part>;
  const codes = kinds[kind]?.codes ?? [];
  const seen = new Set<string>();
  let [thrown, failed] = [0, 0];
  for (const [work, part] of Object.entries(report)) {
    t.same(
      Object.keys(part.outcomes).filter((code) => code !== "fulfilled" && !codes.includes(code)),
      [],
      `${work}: ${JSON.stringify(part.outcomes)}`,
    );
    t.equal(part.wrongAfter, 0, `${work}: the model is as good as before`);
    thrown += part.thrown;
    for (const code of codes) {
      failed += part.outcomes[code] ?? 0;
      if (part.outcomes[code]) seen.add(code);
    }
  }
  t.ok(thrown > 20 && failed > 10, `${thrown} thrown, ${failed} calls failed`);
  const counts = Object.entries(report).map(([work, { allocations }]) => `${work} ${allocations}`);
  t.comment(
    `L28: ${kinds[kind]?.title} at every ${stride === 1 ? "" : `${stride}th `}allocation of the engine thread: ${thrown} thrown, ${failed} calls failed with ${[...seen].join(" or ")}, process alive, next embed right (allocations: ${counts.join(", ")})`,
  );
}

for (const [kind, { title }] of kinds.entries()) {
  const skip =
    (process.platform !== "linux" && "needs LD_PRELOAD") ||
    (isSanitized && "a sanitizer has an operator new of its own");
  t.test(`L28 ${title} thrown at an allocation on the engine thread is an error of the call`, { skip }, (t) =>
    throwEverywhere(t, kind),
  );
}
