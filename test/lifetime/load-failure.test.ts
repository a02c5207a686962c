import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { loadFrom } from "../../lib/binding";
import { GmeError } from "../../lib/errors";
import { loadHelp } from "../../lib/load-help";

function failure(folder: string): GmeError {
  try {
    loadFrom(folder);
  } catch (error) {
    return error as GmeError;
  }
  throw new Error("it loaded");
}

t.test("an absent addon says what was tried and what helps", async (t) => {
  const error = failure(t.testdir());
  t.ok(error instanceof GmeError);
  t.equal(error.code, "GME_ADDON_MISSING");
  t.match(error.message, /Tried:\n {2}- .*No native build was found/);
  t.match(error.message, /npm run setup/);
  t.match(error.message, /npm install @gme-embed\/\S+@\d+\.\d+\.\d+\n/);
  t.match(error.message, /@gme-embed\/\S+: not installed/);
  t.match(error.message, /lock file made on another system/);
  t.match(error.message, /--omit=optional/);
});

t.test("a damaged addon gives the same message with its reason", async (t) => {
  for (const content of ["", "not a shared library", `\x7fELF${"\0".repeat(200)}`]) {
    const folder = t.testdir();
    mkdirSync(join(folder, "build", "Release"), { recursive: true });
    writeFileSync(join(folder, "build", "Release", "gme_embed.node"), content);
    const error = failure(folder);
    t.match(error, { code: "GME_ADDON_MISSING", file: /gme_embed\.node$/ });
    t.match(error.message, /Tried:\n {2}- .*gme_embed\.node: ./);
    t.ok(error.cause instanceof Error);
  }
});

t.test("the help names the remedy of the reason", async (t) => {
  const help = (reason: string, libc: string) => loadHelp([{ what: "gme_embed.node", reason }], libc);
  t.match(help("version `GLIBC_2.38' not found", "glibc"), /built for a newer Linux/);
  t.match(help("x", "musl"), /Alpine and other musl systems/);
  t.notMatch(help("x", "glibc"), /musl systems/);
  t.match(help("invalid ELF header", "glibc"), /damaged or made for another system/);
});
