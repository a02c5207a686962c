import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { attribution, GmeError, version } from "../../index";

/** Nothing but the page's own files, and the pictures that its script fetched with the key. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const pageFiles = [
  { path: "/", name: "index.html", type: "text/html; charset=utf-8" },
  { path: "/assets/app.js", name: "app.js", type: "text/javascript; charset=utf-8" },
  { path: "/assets/style.css", name: "style.css", type: "text/css; charset=utf-8" },
] as const;

export interface PageRoutesOptions {
  /** Where the page's bundle is. Default: beside this module in dist. */
  readonly folder?: string;
}

interface Asset {
  readonly bytes: Buffer;
  readonly etag: string;
}

/** The search page, from memory; it asks for the server's key itself, so these routes need none. */
export async function pageRoutes(app: FastifyInstance, { folder }: PageRoutesOptions): Promise<void> {
  const from = folder ?? bundleFolder();
  for (const { path, name, type } of pageFiles) {
    const asset = readAsset(join(from, name));
    app.get(path, { config: { public: true } }, (request, reply) =>
      path === "/" && wantsJson(request) ? about(reply) : send(request, reply, asset, type),
    );
  }
}

/** Run from its sources, this module has the page's sources beside it, and the bundle is in dist. */
function bundleFolder(): string {
  const beside = join(__dirname, "..", "page");
  return existsSync(join(beside, "app.js")) ? beside : join(__dirname, "..", "..", "..", "dist", "server", "page");
}

function readAsset(file: string): Asset {
  try {
    const bytes = readFileSync(file);
    return { bytes, etag: `"${createHash("sha256").update(bytes).digest("base64url").slice(0, 27)}"` };
  } catch (cause) {
    throw new GmeError("GME_INTERNAL", "the search page is not there: it is made by npm run setup", { cause });
  }
}

function send(request: FastifyRequest, reply: FastifyReply, { bytes, etag }: Asset, type: string): FastifyReply {
  void reply
    .header("content-security-policy", policy)
    .header("x-content-type-options", "nosniff")
    .header("referrer-policy", "no-referrer")
    .header("cross-origin-opener-policy", "same-origin")
    .header("cache-control", "no-cache")
    .header("vary", "accept")
    .header("etag", etag);
  if (request.headers["if-none-match"]?.split(",").some((known) => known.trim() === etag)) return reply.code(304).send(); // biome-ignore format: one line says it
  return reply.type(type).send(bytes);
}

function about(reply: FastifyReply): FastifyReply {
  return reply.header("vary", "accept").send({ name: "gme-embed", version, attribution });
}

/** JSON is named and a page is not, or less gladly. */
function wantsJson({ headers: { accept = "" } }: FastifyRequest): boolean {
  return weight(accept, "application/json") > weight(accept, "text/html");
}

function weight(accept: string, type: string): number {
  const range = accept.split(",").find((part) => part.trim().split(";")[0].trim().toLowerCase() === type);
  if (range === undefined) return 0;
  const q = /;\s*q=([\d.]+)/.exec(range);
  return q === null ? 1 : Number(q[1]);
}
