// Starts an engine, gives it work for a long time, prints the engine's pid, and waits to be killed.
//   parent.ts MODEL [PICTURE]
import { IsolatedEngine } from "../../../lib/isolated/engine-client";
import { hashed } from "../engine-setup";

async function main(): Promise<void> {
  const [, , model, picture] = process.argv;
  const engine = await IsolatedEngine.start(model, { threads: 1 });
  const texts = Array.from({ length: 50 }, (_, i) => ({ text: `${i} ${"word ".repeat(8_000)}` }));
  const work = engine.embed(picture === undefined ? texts : [{ image: hashed(picture) }]);
  setTimeout(() => console.log(engine.pid), 300);
  await work;
  console.log("done");
}

void main();
