import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { attribution, GmeError, type GmeErrorCode } from "../../index";
import { type EntryDetails, type GmeIndex, pathJson, type SearchResult } from "../../index-store/index";
import { goneSignal } from "../request-signal";
import { readSearchBody, searchAnswerSchema, searchBodySchema } from "./search-body";
import { ThumbnailCache } from "./thumbnail-cache";

/** What is searched by: a text, an encoded picture, or both. */
export interface QueryItem {
  readonly text?: string;
  readonly image?: Uint8Array;
  /** Absent: the model's default. */
  readonly instruction?: string;
}

export interface SearchRoutesOptions {
  /** Opened `readOnly`; it stays the caller's. */
  readonly index: GmeIndex;
  embedQuery(item: QueryItem, call: { signal: AbortSignal; client: string }): Promise<Float32Array>;
  /** The picture's bytes: of a data: URL, of base64, of an address where those are allowed; checked against the server's limits. */
  readImage(image: string, call: { signal: AbortSignal }): Promise<Uint8Array>;
  /** Whose turn it is. Default: by address. */
  clientOf?(request: FastifyRequest): string;
}

const keyPattern = /^[0-9a-f]{64}$/;
const maxViewSide = 2_048;
const minViewSide = 64;
const defaultViewSide = 1_600;
/** A key is a hash of the content, so what is behind it never changes; private, since the key of the server guards it. */
const cacheControl = "private, max-age=86400, immutable";

/** POST /search, and what a page of its results asks for: thumbnails, views, entries, the collection. Throws GmeErrors. */
export async function searchRoutes(app: FastifyInstance, options: SearchRoutesOptions): Promise<void> {
  const thumbnails = new ThumbnailCache();
  const { index } = options;
  const unchecked = () => () => true; // readSearchBody checks: fastify would drop unknown fields silently and turn "5" into 5
  app.post(
    "/search",
    { schema: { body: searchBodySchema, response: { 200: searchAnswerSchema } }, validatorCompiler: unchecked, serializerCompiler: () => JSON.stringify }, // biome-ignore format: one line says it
    (request, reply) => search(request, goneSignal(request, reply), options, thumbnails),
  );
  app.get("/thumbnails/:key", async (request, reply) => {
    const key = keyOf(request);
    const found = thumbnails.get(key) ?? (await index.entry(key))?.thumbnail;
    if (found === undefined) throw notFound("no entry with a thumbnail has this key");
    thumbnails.add(key, found);
    return sendPicture(request, reply, key, () => found);
  });
  app.get("/views/:key", async (request, reply) => {
    const key = keyOf(request);
    const side = sideOf(request);
    return sendPicture(request, reply, `${key}-${side}`, () => view(index, key, side, goneSignal(request, reply)));
  });
  app.get("/entries/:key", async (request) => {
    const entry = await index.entry(keyOf(request));
    if (entry === undefined) throw notFound("no entry has this key");
    return entryJson(entry);
  });
  app.get("/collection", async () => collection(index));
}

async function search(
  request: FastifyRequest,
  signal: AbortSignal,
  options: SearchRoutesOptions,
  thumbnails: ThumbnailCache,
): Promise<object> {
  const started = performance.now();
  const { query: text, image: wireImage, instruction: asked, ...filters } = readSearchBody(request.body);
  const { index, embedQuery, readImage, clientOf } = options;
  const image = wireImage === undefined ? undefined : await readImage(wireImage, { signal });
  const given = { text: text !== undefined, image: image !== undefined };
  const instruction = asked ?? index.queryInstruction(filters.kind, given);
  const item = {
    ...(text !== undefined && { text }),
    ...(image !== undefined && { image }),
    ...(instruction !== undefined && { instruction }),
  };
  const embedding = await embedQuery(item, { signal, client: clientOf?.(request) ?? request.ip });
  await index.refresh();
  const results = await index
    .search(undefined, { ...filters, embedding, thumbnails: true, signal })
    .catch((error) => Promise.reject(requestError(error)));
  for (const { key, thumbnail } of results) if (thumbnail !== undefined) thumbnails.add(key, thumbnail);
  return { results: results.map(resultJson), seconds: Number(((performance.now() - started) / 1000).toFixed(3)) };
}

/** The index speaks of its options, a request has fields. */
function requestError(error: unknown): unknown {
  if (!(error instanceof GmeError) || error.code !== "GME_OPTION_INVALID") return error;
  const { message, field = "", value, expected } = error;
  return new GmeError("GME_INPUT_INVALID", message, { field: field.replace(/^options\./, ""), value, expected });
}

function resultJson(result: SearchResult): object {
  const { key, score, kind, path, page, passage, row, snippet, width, height, thumbnail } = result;
  const place = { ...pathJson(path), page, passage, row };
  const address = thumbnail === undefined ? null : `/thumbnails/${key}`;
  return { key, score, kind, ...place, snippet, width, height, thumbnail: address };
}

function entryJson({ embedding, thumbnail, path, paths, ...entry }: EntryDetails): object {
  const address = thumbnail === undefined ? null : `/thumbnails/${entry.key}`;
  return { ...entry, ...pathJson(path), paths, thumbnail: address };
}

async function collection(index: GmeIndex): Promise<object> {
  const count = (kind: string) => index.count(`kind = '${kind}'`);
  const [rows, image, text, page] = await Promise.all([index.count(), count("image"), count("text"), count("page")]);
  return { rows, kinds: { image, text, page }, model: index.pin?.model, attribution };
}

/** Undrawable for the file's own sake; the reason is told without its path. */
const fileReasons: Partial<Record<GmeErrorCode, string>> = {
  GME_IO_ERROR: "its file cannot be read any more",
  GME_CHANGED_WHILE_OPEN: "its file has changed since it was indexed",
};

async function view(index: GmeIndex, key: string, side: number, signal: AbortSignal): Promise<Uint8Array> {
  let picture: Uint8Array | undefined;
  try {
    picture = await index.view(key, { side, signal });
  } catch (error) {
    const { code } = GmeError.from(error);
    const reason = fileReasons[code] ?? (/^GME_(PDF|IMAGE)_/.test(code) ? "its file cannot be drawn" : undefined);
    throw reason === undefined ? error : notFound(`this entry has no view: ${reason}`);
  }
  if (picture === undefined) throw notFound("no entry with this key is a picture or a page of a file");
  return picture;
}

async function sendPicture(
  request: FastifyRequest,
  reply: FastifyReply,
  name: string,
  picture: () => Uint8Array | Promise<Uint8Array>,
): Promise<FastifyReply> {
  const etag = `"${name}"`;
  const isKnown = request.headers["if-none-match"]?.split(",").some((known) => known.trim() === etag);
  const bytes = isKnown ? undefined : await picture(); // only what is sent may be kept, not an error
  void reply.header("etag", etag).header("cache-control", cacheControl);
  if (bytes === undefined) return reply.code(304).send();
  return reply
    .type("image/webp")
    .header("x-content-type-options", "nosniff")
    .send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

function keyOf(request: FastifyRequest): string {
  const { key } = request.params as { key: string };
  if (!keyPattern.test(key)) throw notFound("no entry has such a key");
  return key;
}

function sideOf(request: FastifyRequest): number {
  const { side, ...others } = request.query as Record<string, unknown>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw badQuery(unknown.slice(0, 80), "only side");
  if (side === undefined) return defaultViewSide;
  const pixels = typeof side === "string" && /^\d{1,5}$/.test(side) ? Number(side) : Number.NaN;
  if (!(pixels >= minViewSide && pixels <= maxViewSide)) throw badQuery("side", `${minViewSide} to ${maxViewSide}`);
  return pixels;
}

function badQuery(field: string, expected: string): GmeError {
  const message = `the address's ${JSON.stringify(field)} is not understood; expected ${expected}`;
  return new GmeError("GME_INPUT_INVALID", message, { field, expected });
}

function notFound(message: string): GmeError {
  return new GmeError("GME_ROUTE_NOT_FOUND", message, { expected: "a key of a search's result" });
}
