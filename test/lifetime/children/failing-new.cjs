// Every work of the addon with every n-th operator new of its engine thread throwing; argv: kind of exception, stride. Prints JSON
// { work: { allocations, outcomes: { code: times }, wrongAfter } }. See preload/failing-new.cpp.
const { openSync, readSync, writeSync } = require("node:fs");
const { binding, open, setup } = require("./setup.cjs");

const control = openSync(process.env.GME_FAILING_NEW, "r+");
const write = (at, value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  writeSync(control, bytes, 0, 8, at * 8);
};
const read = (at) => {
  const bytes = Buffer.alloc(8);
  readSync(control, bytes, 0, 8, at * 8);
  return Number(bytes.readBigInt64LE());
};

const picture = { data: new Uint8Array(56 * 56 * 3).fill(99), width: 56, height: 56 };
const items = [{ text: "a cat" }, { image: picture }, { text: "a dog", image: picture }];
const options = { loaderResize: true, minImageTokens: 4, maxImageTokens: 16 };
const works = {
  embed: (model) => model.embed(items, setup.embedParams, () => {}).promise,
  profile: (model) => model.profile(items, setup.embedParams).promise,
  stages: (model) => model.stages(items[2], setup.embedParams).promise,
  tokenize: (model) => model.tokenize(["a cat and a dog"], false).promise,
  countTokens: (model) => model.countTokens([{ text: "a cat" }], false).promise,
  inspectFile: () => binding.inspectFile(setup.model).promise,
  preprocessImage: () => binding.preprocessImage(picture, options).promise,
  convertNumbers: () => binding.convertNumbers("f32", new Uint8Array(4096), "f16").promise,
  load: async () => (await binding.load(setup.model, setup.loadParams, () => {}).promise).close(),
  close: async () => {
    write(0, -1);
    const model = await open();
    write(2, 0);
    write(0, closeAt);
    await model.close();
  },
};
let closeAt = 0;

const outcomeOf = (promise) =>
  promise.then(
    () => "fulfilled",
    (error) => error.code ?? String(error),
  );

async function main() {
  const [kind, stride] = process.argv.slice(2).map(Number);
  write(0, -1);
  write(1, kind);
  const model = await open();
  const expected = await works.embed(model);
  const isRight = async () => {
    const vectors = await works.embed(model);
    return vectors.length === expected.length && vectors.every((value, i) => value === expected[i]);
  };
  const report = {};
  for (const [name, work] of Object.entries(works)) {
    const outcomes = {};
    let wrongAfter = 0;
    closeAt = -1;
    write(2, 0);
    await work(model);
    const allocations = read(2);
    let thrown = 0;
    for (let n = 0; n <= allocations; n += allocations < 50 ? 1 : stride) {
      write(3, 0);
      closeAt = n;
      if (name !== "close") write(0, n);
      const how = await outcomeOf(work(model));
      write(0, -1);
      thrown += read(3) > 0 ? 1 : 0;
      outcomes[how] = (outcomes[how] ?? 0) + 1;
      if (!(await isRight())) wrongAfter++;
    }
    report[name] = { allocations, thrown, outcomes, wrongAfter };
  }
  await model.close();
  console.log(JSON.stringify(report));
}

main();
