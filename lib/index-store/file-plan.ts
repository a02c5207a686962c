import type { CrawledFile } from "../crawl/crawl";
import { maxPdfBytes } from "../documents/pdf-pages";
import { decodeText, maxTextBytes } from "../documents/text-decoding";
import { readTextPassages } from "../documents/text-file";
import type { Embedder } from "../embed-tasks/embed-task";
import { digestFile, type FileDigest } from "../embed-tasks/file-digest";
import { abortError, GmeError, printable } from "../errors";
import { tooLarge as largeImage, maxImageBytes } from "../input";
import type { ContentKeys } from "./content-key";
import { isSameSource, type Source } from "./entry-row";
import type { FailureLog } from "./failure-log";
import type { FileRun } from "./file-run";
import type { AddFilesOptions } from "./index-types";
import type { KnownSources, KnownVersion } from "./known-sources";
import { snippetOf, type WorkItem } from "./work-item";

/** What planning needs to know of the index and the run. */
export interface PlanContext {
  readonly keys: ContentKeys;
  readonly known: KnownSources;
  readonly failures: FailureLog;
  readonly options: AddFilesOptions;
  /** Started at the first need: a run that changes nothing loads no model. */
  readonly embedder: () => Promise<Embedder>;
  /** Nothing of the file can be indexed, and that is no failure. */
  readonly skip: (path: string, reason: string) => void;
}

export const defaultPassageLength = 1_200;
export const defaultPassageOverlap = 200;
const maxCaptionBytes = 1 << 20;

/** "unchanged": all that can be had of it is in the index. "failed": so it was, but a part failed. */
export type FileState = "unchanged" | "failed" | "new";

/** Size and times decide; what they leave open is decided by the content's hash later. */
export function stateOf(file: CrawledFile, { known, failures, options }: PlanContext): FileState {
  const failed = failures.failedParts({ path: file.path, size: file.size, mtime: stateTime(file) });
  if (failed > 0 && options.retryFailed) return "new";
  if (failed === Number.POSITIVE_INFINITY) return "failed";
  const versions = known.versions(file.path);
  const current = versions.find((version) => isVersionOf(version, file));
  if (current === undefined || versions.length > 1 || current.have + failed < current.parts) return "new";
  return failed > 0 ? "failed" : "unchanged";
}

/** The time by which a failure is known: a caption that changed lets its picture be tried again. */
export function stateTime({ mtimeMs, caption }: CrawledFile): number {
  return Math.max(mtimeMs, caption?.mtimeMs ?? 0);
}

function isVersionOf(version: KnownVersion, { size, mtimeMs, caption }: CrawledFile): boolean {
  const none = -1;
  return (
    version.size === size &&
    version.mtime === mtimeMs &&
    version.captionSize === (caption?.size ?? none) &&
    version.captionMtime === (caption?.mtimeMs ?? none)
  );
}

/** The rows of a picture, a text or a PDF. An error that is thrown is the whole file's. */
export async function* planFile(file: CrawledFile, run: FileRun, context: PlanContext): AsyncGenerator<WorkItem> {
  const { signal } = context.options;
  if (signal?.aborted) throw abortError(signal);
  if (file.kind === "image") yield* planImage(file, run, context);
  else if (file.kind === "pdf") yield* planPdf(file, run, context);
  else yield* planText(file, run, context);
}

async function* planImage(file: CrawledFile, run: FileRun, context: PlanContext): AsyncGenerator<WorkItem> {
  const { path } = file;
  const digest = await digestFile(path, {
    maxBytes: maxImageBytes,
    tooLarge: (bytes) => largeImage(printable(path), `${bytes} bytes`, bytes, `${maxImageBytes} bytes`),
    signal: context.options.signal,
  });
  const caption = await readCaption(file);
  const source = sourceOf(file, digest, 1);
  markOutdated(run, source, context);
  yield {
    key: context.keys.of({ kind: "image", file: digest.sha256, text: caption }),
    kind: "image",
    source,
    task: { image: { path, sha256: digest.sha256 }, ...(caption !== undefined && { text: caption }) },
    ...(caption !== undefined && { caption, snippet: snippetOf(caption) }),
    run,
  };
}

/** An empty caption is none. */
async function readCaption({ caption }: CrawledFile): Promise<string | undefined> {
  if (caption === undefined) return undefined;
  const { path } = caption;
  const tooLarge = (bytes: number) => longText(path, bytes, maxCaptionBytes);
  const { bytes } = await digestFile(path, { maxBytes: maxCaptionBytes, tooLarge, keep: true });
  return decodeText(bytes as Buffer, path).trim() || undefined;
}

async function* planText(file: CrawledFile, run: FileRun, context: PlanContext): AsyncGenerator<WorkItem> {
  const { path } = file;
  const { passageLength = defaultPassageLength, passageOverlap = defaultPassageOverlap, signal } = context.options;
  const tooLarge = (bytes: number) => longText(path, bytes, maxTextBytes);
  const digest = await digestFile(path, { maxBytes: maxTextBytes, tooLarge, keep: true, signal });
  const kind = file.kind === "html" ? "html" : "text";
  const cut = { length: passageLength, overlap: passageOverlap };
  const passages = await readTextPassages(digest.bytes as Buffer, kind, path, cut);
  const source = sourceOf(file, digest, passages.length);
  markOutdated(run, source, context);
  if (passages.length === 0) return context.skip(path, digest.size === 0 ? "empty" : "no text in it");
  for (const { number, text } of passages) {
    yield {
      key: context.keys.of({ kind: "text", file: digest.sha256, number, text }),
      kind: "text",
      source,
      task: { text },
      passage: number,
      snippet: snippetOf(text),
      part: number,
      run,
    };
  }
}

async function* planPdf(file: CrawledFile, run: FileRun, context: PlanContext): AsyncGenerator<WorkItem> {
  const { path } = file;
  const { signal } = context.options;
  const digest = await digestFile(path, {
    maxBytes: maxPdfBytes,
    tooLarge: (bytes) => tooLargePdf(path, bytes),
    signal,
  });
  const hashed = { path, sha256: digest.sha256 };
  const before = context.known.versions(path).find((version) => version.file === digest.sha256);
  const pages = before?.parts ?? (await (await context.embedder()).countPages(hashed, signal));
  if (pages === 0)
    throw new GmeError("GME_PDF_CORRUPT", `${printable(path)} has no pages`, {
      file: path,
      value: 0,
      expected: "a page",
    });
  const source = sourceOf(file, digest, pages);
  markOutdated(run, source, context);
  for (let number = 1; number <= pages; number++) {
    yield {
      key: context.keys.of({ kind: "page", file: digest.sha256, number }),
      kind: "page",
      source,
      task: { page: { file: hashed, number } },
      page: number,
      part: number,
      run,
    };
  }
}

function sourceOf({ path, caption }: CrawledFile, { size, mtime, sha256 }: FileDigest, parts: number): Source {
  const captionState = { captionSize: caption?.size ?? null, captionMtime: caption?.mtimeMs ?? null };
  return { path, row: null, image: null, size, mtime, file: sha256, parts, ...captionState };
}

/** Rows that show an older state of the file go once the new ones are committed. */
function markOutdated(run: FileRun, current: Source, { known }: PlanContext): void {
  if (known.versions(current.path).length === 0) return;
  run.isOutdated = (source) =>
    isSameSource(source, current) &&
    (source.file !== current.file ||
      source.size !== current.size ||
      source.mtime !== current.mtime ||
      source.captionSize !== current.captionSize ||
      source.captionMtime !== current.captionMtime);
}

function longText(path: string, bytes: number, limit: number): GmeError {
  const message = `${printable(path)} has ${bytes} bytes, texts are read up to ${limit}`;
  return new GmeError("GME_TEXT_TOO_LONG", message, { file: path, value: bytes, expected: `at most ${limit} bytes` });
}

function tooLargePdf(path: string, bytes: number): GmeError {
  const message = `${printable(path)} has ${bytes} bytes, PDF files are read up to ${maxPdfBytes}`;
  return new GmeError("GME_PDF_TOO_LARGE", message, {
    file: path,
    value: bytes,
    expected: `at most ${maxPdfBytes} bytes`,
  });
}
