// Loads, embeds, aborts and closes for about argv[2] milliseconds; says "started", then JSON { calls, wrong, days }: jumps of the clock.
const { binding, embed, open, setup } = require("./setup.cjs");

async function main() {
  const first = await open();
  const expected = await embed(first);
  console.log("started");
  let [calls, wrong, days] = [0, 0, 0];
  const end = performance.now() + Number(process.argv[2]);
  while (performance.now() < end) {
    const looks = [Date.now(), Date.now()];
    if (Math.abs(looks[1] - looks[0]) > 86_000_000) days++;
    const model = await open();
    const aborted = binding.load(setup.model, setup.loadParams);
    aborted.abort();
    const all = await Promise.all([embed(model), embed(first), aborted.promise.catch((error) => error.code)]);
    for (const vectors of all.slice(0, 2)) if (!vectors.every((value, i) => value === expected[i])) wrong++;
    if (all[2] !== "GME_ABORTED") await all[2].close();
    await model.close();
    calls += 2;
  }
  await first.close();
  console.log(JSON.stringify({ calls, wrong, days }));
}

main();
