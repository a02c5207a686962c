import { type FileHandle, open } from "node:fs/promises";
import { binding, type NativeNumberType } from "../binding";
import { physicalCores } from "../cpus";
import { abortError, GmeError, ioError, printable } from "../errors";
import type { PlannedOutput, SourceRuns } from "./conversion-plan";
import { tensorType } from "./gguf-types";
import { LowRankFactors, type LowRankUpdate } from "./lora-merge";
import { readExactly } from "./file-reading";

/** Bytes of the source that are read, converted and written at a time. */
const pieceBytes = 16 << 20;

/** Reads tensors piece by piece and converts them; keeps the file of the last tensor open. */
export class TensorStream {
  private path = "";
  private file: FileHandle | undefined;
  private factors: LowRankFactors | undefined;
  private readonly threads = physicalCores();

  constructor(private readonly signal?: AbortSignal) {}

  /** The bytes of one tensor of the target, in pieces of whole runs. The next piece is being made while one is written. */
  async *pieces(output: PlannedOutput): AsyncGenerator<Uint8Array> {
    const { from } = output;
    const file = await this.open(from.file);
    const perPiece = Math.max(1, Math.floor(pieceBytes / from.strideBytes));
    const make = async (first: number) => {
      this.checkAbort();
      const bytes = await readRuns(file, from, first, Math.min(perPiece, from.runs - first));
      return this.convert(output, bytes, first);
    };
    let ahead: Promise<Uint8Array> | undefined = make(0);
    try {
      for (let first = perPiece; ahead !== undefined; first += perPiece) {
        const piece: Uint8Array = await ahead;
        ahead = first < from.runs ? make(first) : undefined;
        ahead?.catch(() => undefined); // it is awaited at the next turn, or below where the consumer stops first
        yield piece;
      }
    } finally {
      await ahead?.catch(() => undefined);
    }
  }

  checkAbort(): void {
    if (this.signal?.aborted) throw abortError(this.signal);
  }

  async close(): Promise<void> {
    await this.file?.close();
    this.file = undefined;
  }

  private async convert(output: PlannedOutput, read: Uint8Array, first: number): Promise<Uint8Array> {
    const { from, type, update } = output;
    const factors = update && (await this.factorsOf(update.of));
    const bytes = factors
      ? await factors.addTo(read, from.type.name as NativeNumberType, update.firstRow + first, this.signal)
      : read;
    const source = factors ? tensorType("f32") : from.type;
    if (source === type) return bytes;
    const job = startConversion(output, source.name as NativeNumberType, bytes, this.threads);
    const abort = () => job.abort();
    this.signal?.addEventListener("abort", abort, { once: true });
    try {
      return await job.promise;
    } catch (error) {
      throw this.signal?.aborted ? abortError(this.signal) : atTensor(GmeError.from(error), output);
    } finally {
      this.signal?.removeEventListener("abort", abort);
    }
  }

  /** Of the last update alone: the tower's q, k and v share one. */
  private async factorsOf(update: LowRankUpdate): Promise<LowRankFactors> {
    if (this.factors?.update !== update) this.factors = await LowRankFactors.read(update, this.signal);
    return this.factors;
  }

  private async open(path: string): Promise<FileHandle> {
    if (this.file !== undefined && this.path === path) return this.file;
    await this.close();
    try {
      this.file = await open(path, "r");
    } catch (error) {
      throw ioError(error, path);
    }
    this.path = path;
    return this.file;
  }
}

/** Matrices are converted row by row on all cores; the patch embedding's runs are not its rows. */
function startConversion({ ne, type }: PlannedOutput, source: NativeNumberType, bytes: Uint8Array, threads: number) {
  if (ne.length !== 2) return binding().convertNumbers(source, bytes, type.name as NativeNumberType);
  return binding().quantizeRows(source, bytes, type.name, { columns: ne[0], threads });
}

/** The engine sees rows; whose they are is known here. */
function atTensor(error: GmeError, { name, from }: PlannedOutput): GmeError {
  if (error.code !== "GME_NON_FINITE") return error;
  const message = `${printable(from.file)}: ${printable(name)}: ${error.message}`;
  return new GmeError("GME_NON_FINITE", message, { file: from.file, field: `tensor["${printable(name)}"]` });
}

/** `count` runs, one after the other. */
async function readRuns(file: FileHandle, from: SourceRuns, first: number, count: number): Promise<Uint8Array> {
  const { runBytes, strideBytes } = from;
  const span = (count - 1) * strideBytes + runBytes;
  const bytes = await readExactly(from.file, file, from.offset + first * strideBytes, span).catch((error: unknown) => {
    throw error instanceof GmeError ? error : ioError(error, from.file);
  });
  if (runBytes === strideBytes) return bytes;
  const gathered = Buffer.allocUnsafe(count * runBytes);
  for (let run = 0; run < count; run++) {
    bytes.copy(gathered, run * runBytes, run * strideBytes, run * strideBytes + runBytes);
  }
  return gathered;
}
