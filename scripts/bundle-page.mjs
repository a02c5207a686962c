// Makes the search page of `gme serve`: lib/server/page (TypeScript modules, HTML, CSS) -> dist/server/page/{index.html,app.js,style.css}.
//
//   node scripts/bundle-page.mjs [FOLDER]   default: dist/server/page
import { copyFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const source = join(root, "lib", "server", "page");
const target = process.argv[2] ?? join(root, "dist", "server", "page");

mkdirSync(target, { recursive: true });
await build({
  entryPoints: [join(source, "app.ts")],
  outfile: join(target, "app.js"),
  bundle: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  tsconfig: join(root, "tsconfig.page.json"),
  logLevel: "warning",
});
for (const name of ["index.html", "style.css"]) copyFileSync(join(source, name), join(target, name));
