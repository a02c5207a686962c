// The numbers of SECURITY.md are those of the code.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { maxPdfBytes, maxPdfPages } from "../../lib/documents/pdf-pages";
import { maxBatchImages, maxImageBytes, maxImageSide, maxItems, maxTextLength } from "../../lib/input";
import { root } from "../helpers/fixtures";

const page = readFileSync(join(root, "SECURITY.md"), "utf8").replaceAll("\n", " ");
const number = (value: number) => value.toLocaleString("en-US");
const mib = (bytes: number) => `${bytes / 2 ** 20} MiB`;

t.test("SECURITY.md names the limits that are in force", async (t) => {
  const parser = readFileSync(join(root, "native", "engine", "gguf-parser.cpp"), "utf8");
  const limit = (name: string): number => {
    const [, base, shift = "0"] = new RegExp(`limit_${name}\\s*=\\s*(\\d+)(?:ull)?(?: << (\\d+))?;`).exec(parser) ?? [];
    return Number(base) * 2 ** Number(shift);
  };
  for (const text of [
    `${number(limit("keys"))} keys`,
    `${number(limit("tensors"))} tensors`,
    `arrays of ${number(limit("array_elements"))}`,
    `strings of ${mib(limit("string_bytes"))}`,
    `metadata of ${mib(limit("metadata_bytes"))}`,
    `${mib(maxImageBytes)}; ${number(64e6)} pixels`,
    `${number(maxImageSide)} a side`,
    `${maxPdfBytes / 2 ** 30} GiB, ${number(maxPdfPages)} pages`,
    `${number(maxTextLength)} UTF-16 units`,
    `${number(maxItems)} items, of them ${number(maxBatchImages)} pictures`,
  ]) {
    t.ok(page.includes(text), text);
  }
  t.match(readFileSync(join(root, "lib", "options.ts"), "utf8"), /default: 64e6/, "maxImagePixels");
});

t.test("SECURITY.md names no person, address or host to write to", async (t) => {
  t.notMatch(page, /[\w.]+@[\w-]+\.\w+|https?:\/\//);
  for (const [, path] of page.matchAll(/\]\(([^)#]+)/g)) t.ok(readFileSync(join(root, path)).length > 0, path);
});
