// Works under a limit of address space, set from inside once Node has started. argv[2]: { addon, wide, small, mmap, room, work }.
// Prints one line of JSON: the codes, and whether small work afterwards gave the same bits as before.
const { execFileSync } = require("node:child_process");
const { readFileSync } = require("node:fs");

const { addon, wide, small, mmap, room, work, loadParams, embedParams } = JSON.parse(process.argv[2]);
const binding = require(addon);
const code = (work) =>
  work.promise.then(
    () => "ok",
    (error) => error.code ?? String(error),
  );
const addressSpace = () => Number(/VmSize:\s+(\d+)/.exec(readFileSync("/proc/self/status", "latin1"))[1]) * 1024;
const limit = (bytes) => execFileSync("prlimit", ["--pid", String(process.pid), `--as=${bytes}`]);
const text = [{ text: "a cat" }];
const same = (a, b) => a.length === b.length && a.every((value, i) => value === b[i]);

async function main() {
  const near = await binding.load(small, loadParams).promise;
  const golden = await near.embed(text, embedParams).promise;
  const pictures = Array.from({ length: work === "pictures" ? 24 : 0 }, (_, i) => ({
    image: { data: new Uint8Array(1024 * 1024 * 3).fill(i * 10), width: 1024, height: 1024 },
  }));
  limit(`${addressSpace() + room}:unlimited`);
  const codes = [];
  if (work === "pictures") {
    codes.push(await code(near.embed(pictures, { ...embedParams, batchTokens: 1 << 20 })));
  } else {
    const { mmproj, ...alone } = loadParams;
    const job = binding.load(wide, { ...alone, mmap });
    codes.push(await code(job));
    if (codes[0] === "ok") {
      const far = await job.promise;
      codes.push(await code(far.embed(text, embedParams)));
      await far.close();
    }
  }
  // The engine's threads and Node's heap need a little for a new model, which the pictures' freed memory is too scattered for.
  if (work === "pictures") limit("unlimited:unlimited");
  const after = same(golden, await near.embed(text, embedParams).promise);
  const again = await binding.load(small, loadParams).promise;
  const small_again = same(golden, await again.embed(text, embedParams).promise);
  console.log(JSON.stringify({ codes, after, again: small_again }));
}

main();
