import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** Scheme and host of everything that the window shows. */
export const appOrigin = "app://gme";

const sources = join(__dirname, "..", "..", "page");
const compiled = join(__dirname, "..", "page");
const script = "text/javascript; charset=utf-8";

/** Every file that can be asked for, so that no path is ever made of an address. */
const files: { readonly [path: string]: readonly [folder: string, name: string, type: string] } = {
  "/": [sources, "index.html", "text/html; charset=utf-8"],
  "/style.css": [sources, "style.css", "text/css; charset=utf-8"],
  "/app.js": [compiled, "app.js", script],
  "/drop-zone.js": [compiled, "drop-zone.js", script],
  "/progress-line.js": [compiled, "progress-line.js", script],
  "/results.js": [compiled, "results.js", script],
  "/search-as-you-type.js": [compiled, "search-as-you-type.js", script],
};

const thumbnailPath = /^\/thumbnail\/([0-9a-f]{16,128})$/;

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const headers = (type: string) => ({
  "content-type": type,
  "content-security-policy": policy,
  "x-content-type-options": "nosniff",
});

/** Answers a request of the page: its own files, and thumbnails of entries of the index. Everything else is 404. */
export async function answerRequest(
  url: string,
  thumbnail: (key: string) => Promise<Uint8Array | undefined>,
): Promise<Response> {
  const { pathname } = new URL(url);
  const file = Object.hasOwn(files, pathname) ? files[pathname] : undefined;
  if (file !== undefined) return new Response(await readFile(join(file[0], file[1])), { headers: headers(file[2]) });
  const key = thumbnailPath.exec(pathname)?.[1];
  const picture = key === undefined ? undefined : await thumbnail(key).catch(() => undefined);
  if (picture === undefined) return new Response("not found", { status: 404, headers: headers("text/plain") });
  return new Response(new Uint8Array(picture), {
    headers: { ...headers("image/webp"), "cache-control": "max-age=3600" },
  });
}
