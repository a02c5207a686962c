import { open } from "node:fs/promises";
import type { EmbedOptions, EmbedResult, GmeInput, GmeModel } from "../index";
import { base64, type EmbedFormat, npyFile } from "./embed-formats";
import { errorJson, exitCodes, fileError, note, print, writeWhole } from "./output";
import { startProgress } from "./progress";
import { type JsonLine, readJsonLines } from "./read-input";
import { stopSignal } from "./signals";

/** One line per item of stdin, in the same order, while stdin is still being read; errors in their item's place, exit code 3. */
export async function embedLines(
  model: GmeModel,
  options: EmbedOptions,
  format: EmbedFormat,
  out: string | undefined,
): Promise<void> {
  const progress = await startProgress("embedding", 0, "items");
  const rows: Float32Array[] = [];
  const output =
    out === undefined || format === "npy" ? { write: print, close: async () => undefined } : await openOutput(out);
  let failed = 0;
  try {
    const onProgress = ({ done }: { done: number }) => progress.update(done, done);
    const results = model.embedMany(itemsOf(readJsonLines(process.stdin)), {
      ...options,
      signal: stopSignal(),
      onProgress,
    });
    for await (const result of results) {
      if (result.error !== undefined) failed++;
      if (format === "npy") rows.push(rowOf(result, model.dimensions, options));
      else await output.write(`${JSON.stringify(lineOf(result, format))}\n`);
    }
    if (format === "npy") await writeRows(rows, options.dimensions ?? model.dimensions, out);
  } finally {
    progress.stop();
    await output.close();
  }
  if (failed > 0) {
    note(`${failed} items failed`);
    process.exitCode = exitCodes.someFailed;
  }
}

/** A line that cannot be read goes through as an item that rejects with its own error. */
async function* itemsOf(lines: AsyncIterable<JsonLine>): AsyncGenerator<GmeInput> {
  for await (const line of lines) {
    if ("error" in line) {
      const { error } = line;
      yield Object.defineProperty({}, "text", {
        enumerable: true,
        get: () => {
          throw error;
        },
      }) as GmeInput;
    } else yield line.value as GmeInput;
  }
}

function lineOf(result: EmbedResult, format: EmbedFormat): Record<string, unknown> {
  const name = result.id === undefined ? { index: result.index } : { id: result.id };
  if (result.error !== undefined) return { ...name, error: errorJson(result.error) };
  const { tokens, embedding } = result;
  const counted = tokens === undefined ? name : { ...name, tokens };
  return { ...counted, embedding: format === "base64" ? base64(embedding) : Array.from(embedding) };
}

/** Rows stay aligned with the lines: a failed item is a row of NaN, its error goes to stderr. */
function rowOf(result: EmbedResult, dimensions: number, options: EmbedOptions): Float32Array {
  if (result.error === undefined) return result.embedding;
  note(JSON.stringify(lineOf(result, "json")));
  return new Float32Array(options.dimensions ?? dimensions).fill(Number.NaN);
}

async function writeRows(rows: readonly Float32Array[], dimensions: number, out: string | undefined): Promise<void> {
  const file = npyFile(rows, false, dimensions);
  await (out === undefined ? print(file) : writeWhole(out, file));
}

interface LineOutput {
  write(text: string): Promise<void>;
  close(): Promise<void>;
}

/** Lines to a file as they come. */
async function openOutput(path: string): Promise<LineOutput> {
  try {
    const file = await open(path, "w");
    return { write: async (text) => void (await file.writeFile(text)), close: () => file.close() };
  } catch (error) {
    throw fileError(error, path);
  }
}
