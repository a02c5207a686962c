// Works under a limit of address space, set from inside once Node has started. Prints one line of JSON: the codes, and whether small
// work afterwards gave the same bits as before. argv[2]: { addon, wide, small, mmap, room, work, loadParams, embedParams }.
const { execFileSync } = require("node:child_process");
const { readFileSync } = require("node:fs");

const { addon, wide, small, mmap, room, work, loadParams, embedParams } = JSON.parse(process.argv[2]);
const binding = require(addon);
const code = (start) =>
  (async () => start().promise)().then(
    () => "ok",
    (error) => error.code ?? String(error),
  );
const addressSpace = () => Number(/VmSize:\s+(\d+)/.exec(readFileSync("/proc/self/status", "latin1"))[1]) * 1024;
const limit = (bytes) => execFileSync("prlimit", ["--pid", String(process.pid), `--as=${bytes}:unlimited`]);
const text = [{ text: "a cat" }];
const same = (a, b) => a.length === b.length && a.every((value, i) => value === b[i]);

async function loadWide(codes) {
  const { mmproj, ...alone } = loadParams;
  limit(addressSpace() + room);
  let job;
  codes.push(
    await code(() => {
      job = binding.load(wide, { ...alone, mmap });
      return job;
    }),
  );
  if (codes[0] !== "ok") return;
  const far = await job.promise;
  codes.push(await code(() => far.embed(text, embedParams)));
  await far.close();
}

// More than fits when it is copied. What does not fit when it is computed is test/engine/test-address-space.cpp: with so little left
// Node itself could not go on.
async function embedPictures(codes, near) {
  const pictures = Array.from({ length: 24 }, (_, i) => ({
    image: { data: new Uint8Array(1024 * 1024 * 3).fill(i), width: 1024, height: 1024 },
  }));
  limit(addressSpace() + room);
  codes.push(await code(() => near.embed(pictures, embedParams)));
  limit("unlimited");
}

async function main() {
  const near = await binding.load(small, loadParams).promise;
  const golden = await near.embed(text, embedParams).promise;
  const codes = [];
  if (work === "pictures") await embedPictures(codes, near);
  else await loadWide(codes);
  const after = same(golden, await near.embed(text, embedParams).promise);
  const again = await binding.load(small, loadParams).promise;
  const afresh = same(golden, await again.embed(text, embedParams).promise);
  console.log(JSON.stringify({ codes, after, again: afresh }));
}

main();
