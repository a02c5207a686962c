import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { EmbedTask } from "../embed-tasks/embed-task";
import { digestFile } from "../embed-tasks/file-digest";
import { badArgument, GmeError, printable } from "../errors";
import { type ImageSource, maxImageBytes, tooLarge } from "../input";
import { unknownName } from "../options";
import type { ContentKeys } from "./content-key";
import type { Source } from "./entry-row";
import type { FileRun } from "./file-run";
import { vectorFault } from "./index-run";
import { type EntryKind, entryKinds, type IndexItem } from "./index-types";
import { snippetOf, type WorkItem } from "./work-item";

interface NamedItem {
  readonly key: string;
  readonly run: FileRun;
  readonly before: NamedItem | undefined;
}

/** What the ids of one call name: an id that comes twice ends as the last item that did not fail says. */
export class ItemIds {
  private readonly latest = new Map<string, NamedItem>();

  note(id: string, key: string, run: FileRun): void {
    this.latest.set(id, { key, run, before: this.latest.get(id) });
  }

  keyOf(id: string): string | undefined {
    let item = this.latest.get(id);
    while (item?.run.hasFailed) item = item.before;
    return item?.key;
  }
}

const itemKeys = ["id", "text", "image", "embedding", "kind"];

/** One item that is no file → its row. Throws what is wrong with it. */
export async function planItem(
  value: unknown,
  index: number,
  keys: ContentKeys,
  dimensions: number,
  runOf: (id: string) => FileRun,
  ids: ItemIds,
): Promise<WorkItem> {
  const { id, text, image, embedding, kind } = readItem(value, index, dimensions);
  const picture = image === undefined ? undefined : await readPicture(image, `items[${index}].image`);
  const shownKind: EntryKind = kind ?? (image === undefined ? "text" : "image");
  const vectorHash = embedding === undefined ? undefined : hashOf(new Uint8Array(embedding.buffer, embedding.byteOffset, embedding.byteLength)); // biome-ignore format: one line says it
  const hasContent = text !== undefined || picture !== undefined;
  const key = keys.of({ kind: shownKind, file: picture?.sha256 ?? (hasContent ? undefined : vectorHash), text });
  const path = id ?? key;
  const source: Source = {
    path,
    row: null,
    image: null,
    ...{ size: null, mtime: null, file: null, captionSize: null, captionMtime: null },
    parts: 1,
  };
  const run = runOf(path);
  if (id !== undefined) {
    ids.note(id, key, run);
    run.isOutdated = (other, otherKey) =>
      other.path === id && other.size === null && otherKey !== (ids.keyOf(id) ?? otherKey);
  }
  return {
    key,
    kind: shownKind,
    source,
    task: { ...(text !== undefined && { text }), ...(picture && { image: picture.task }) },
    ...(embedding !== undefined && { embedding }),
    ...(text !== undefined && { snippet: snippetOf(text), ...(picture && { caption: text }) }),
    run,
  };
}

function readItem(value: unknown, index: number, dimensions: number): IndexItem {
  const field = `items[${index}]`;
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw badArgument("GME_INPUT_INVALID", field, "{ id?, text?, image?, embedding?, kind? }", value);
  for (const name of Object.keys(value))
    if (!itemKeys.includes(name)) throw unknownName("GME_INPUT_INVALID", "key", `${field}.${name}`, name, itemKeys);
  const { id, text, image, embedding, kind } = value as IndexItem;
  if (id !== undefined && (typeof id !== "string" || id === ""))
    throw badArgument("GME_INPUT_INVALID", `${field}.id`, "a string", id);
  if (text !== undefined && typeof text !== "string")
    throw badArgument("GME_INPUT_INVALID", `${field}.text`, "a string", text);
  if (kind !== undefined && !entryKinds.includes(kind))
    throw badArgument("GME_INPUT_INVALID", `${field}.kind`, entryKinds.join(", "), kind);
  if (text === undefined && image === undefined && embedding === undefined)
    throw new GmeError("GME_INPUT_INVALID", `${field} has neither text nor image nor embedding`, { field, expected: "text, image or embedding" }); // biome-ignore format: one line says it
  if (embedding === undefined) return { id, text, image, kind };
  if (!(embedding instanceof Float32Array) || embedding.length !== dimensions)
    throw badArgument("GME_INPUT_INVALID", `${field}.embedding`, `a Float32Array of ${dimensions} numbers`, embedding);
  const fault = vectorFault(embedding);
  if (fault !== undefined) throw fault;
  return { id, text, image, embedding: embedding.slice(), kind };
}

/** A picture's hash, and how the engine gets it: by its path where it has one. */
async function readPicture(image: ImageSource, field: string): Promise<{ sha256: string; task: EmbedTask["image"] }> {
  const path = pathOf(image);
  if (path !== undefined) {
    const limit = (bytes: number) => tooLarge(printable(path), `${bytes} bytes`, bytes, `${maxImageBytes} bytes`);
    const { sha256 } = await digestFile(path, { maxBytes: maxImageBytes, tooLarge: limit });
    return { sha256, task: { path, sha256 } };
  }
  if (typeof image === "string" || image instanceof URL)
    return { sha256: hashOf(String(image)), task: { source: image } };
  if (ArrayBuffer.isView(image)) return { sha256: hashOf(image), task: { source: image } };
  const { data, width, height } = (image ?? {}) as { data?: unknown; width?: unknown; height?: unknown };
  if (!ArrayBuffer.isView(data))
    throw badArgument("GME_INPUT_INVALID", field, "a path, URL, Uint8Array or { data, width, height }", image);
  const hash = createHash("sha256")
    .update(`${width}x${height}`)
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return { sha256: hash.digest("hex"), task: { source: image } };
}

function pathOf(image: ImageSource): string | undefined {
  if (image instanceof URL || (typeof image === "string" && /^(file|data|https?):/i.test(image))) {
    const url = new URL(image);
    return url.protocol === "file:" ? fileURLToPath(url) : undefined;
  }
  return typeof image === "string" ? image : undefined;
}

function hashOf(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}
