import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { errorCodes, GmeError, printable } from "../../lib/errors";
import { root } from "../helpers/fixtures";

t.test("docs/errors.md and the table of codes are the same, both ways", async (t) => {
  const rows = readFileSync(join(root, "docs", "errors.md"), "utf8").matchAll(/^\| `(GME_[A-Z0-9_]+)` \| (.+) \|$/gm);
  const documented = Object.fromEntries([...rows].map(([, code, meaning]) => [code, meaning]));
  t.strictSame(documented, { ...errorCodes });
});

t.test("every code that the engine, the addon and the library use is in the table", async (t) => {
  const used = new Set<string>();
  for (const folder of ["native/engine", "native/addon", "native/tools", "lib"]) {
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !/\.(cpp|h|ts)$/.test(entry.name)) continue;
      const text = readFileSync(join(entry.parentPath ?? entry.path, entry.name), "utf8");
      for (const [, code] of text.matchAll(/["'](GME_[A-Z0-9_]+)["']/g)) used.add(code);
    }
  }
  const unknown = [...used].filter((code) => !Object.hasOwn(errorCodes, code) && !environment.has(code));
  t.strictSame(unknown, []);
});

/** Names that look like codes and are environment variables or macros. */
const environment = new Set(["GME_BACKEND_PATH", "GME_MODEL", "GME_THREADS"]);

t.test("from() keeps code, fields and cause of a native error", async (t) => {
  const native = Object.assign(new Error("bad key"), {
    code: "GME_GGUF_BAD_VALUE",
    file: "a.gguf",
    field: "kv",
    offset: 24,
    value: "3",
  });
  const error = GmeError.from(native);
  t.match(error, { name: "GmeError", code: "GME_GGUF_BAD_VALUE", file: "a.gguf", field: "kv", offset: 24, value: "3" });
  t.equal(GmeError.from(error), error, "a GmeError stays itself");
  t.match(GmeError.from(Object.assign(new Error("gone"), { code: "ENOENT" })), {
    code: "GME_IO_ERROR",
    errno: "ENOENT",
  });
  t.match(GmeError.from("what"), { code: "GME_ENGINE_CRASHED", message: "what" });
});

t.test("an aborted call's error is an AbortError", async (t) => {
  t.match(new GmeError("GME_ABORTED", "stopped"), { name: "AbortError", code: "GME_ABORTED" });
});

t.test("text from outside is cut and escaped in messages", async (t) => {
  t.equal(printable("a\nb\u202ec\u0000"), "a\\u{a}b\\u{202e}c\\u{0}");
  t.equal(printable("x".repeat(500)).length, 120);
});
