// Loads the copies of the package that GME_CHILD_SETUP names in every way, keeps all of them, and embeds with each. Prints JSON.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(import.meta.url);
const { copies, model, loadParams, rounds } = JSON.parse(process.env.GME_CHILD_SETUP);
const warnings = [];
process.on("warning", (warning) => warnings.push(String(warning)));

const options = { mmproj: loadParams.mmproj, threads: 1 };
const input = { text: "a photo", image: { data: new Uint8Array(56 * 56 * 3).fill(77), width: 56, height: 56 } };
const vectorOf = async (gme) =>
  createHash("sha256")
    .update(Buffer.from((await gme.embed(input)).buffer))
    .digest("hex")
    .slice(0, 16);

const vectors = {};
const open = [];
const meet = async (name, { load }) => {
  const gme = await load(model, options);
  open.push(gme);
  vectors[name] = await vectorOf(gme);
};
for (const [i, copy] of copies.entries()) {
  await meet(`copy ${i}, CommonJS`, require(join(copy, "dist", "index.js")));
  await meet(`copy ${i}, ES module`, await import(pathToFileURL(join(copy, "dist", "index.mjs")).href));
}

// A method called on the other copy's model.
const natives = copies.map((copy) => require(join(copy, "build", "Release", "gme_embed.node")));
const [first, second] = await Promise.all(natives.map((native) => native.load(model, loadParams).promise));
let refused = "not refused";
try {
  first.tokenize.call(second, ["a cat"], false);
} catch (error) {
  refused = String(error);
}
await Promise.all([first.close(), second.close()]);

let again = 0;
for (let round = 0; round < rounds; round++) {
  for (const file of Object.keys(require.cache)) if (file.startsWith(copies[0])) delete require.cache[file];
  const fresh = await require(join(copies[0], "dist", "index.js")).load(model, options);
  if ((await vectorOf(fresh)) === vectors["copy 0, CommonJS"]) again++;
  if (round % 2 === 0) open.push(fresh);
  else await fresh.close();
}
for (const [i, gme] of open.entries()) {
  vectors[`${i} at the end`] = await vectorOf(gme);
  if (i % 2 === 0) await gme.close();
}
const mapped = readFileSync("/proc/self/maps", "utf8").match(/\S+gme_embed\.node$/gm) ?? [];
console.log(JSON.stringify({ vectors, addons: new Set(mapped).size, again, warnings, refused }));
