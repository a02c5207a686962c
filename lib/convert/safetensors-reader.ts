import { type FileHandle, stat } from "node:fs/promises";
import { join } from "node:path";
import { GmeError, type GmeErrorDetails, ioError, printable } from "../errors";
import { openForReading, readExactly } from "./file-reading";
import { isObject, readJsonFile } from "./json-file";

/** A tensor of a checkpoint: `shape` row-major, `offset` in bytes from the start of `file`. */
export interface CheckpointTensor {
  readonly name: string;
  /** As the file spells it: F32, F16, BF16, … */
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
}

const maxHeaderBytes = 100_000_000; // the format's own limit
const maxTensors = 16_384;
const maxDimensions = 8;
const maxNameBytes = 256;
const maxFiles = 1_024;
const singleName = "model.safetensors";
const indexName = "model.safetensors.index.json";

const dtypeBytes: { readonly [dtype: string]: number } = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
};

/** The tensors of a checkpoint folder, by name: of model.safetensors, else of the shards that its index names. */
export async function readCheckpointTensors(folder: string): Promise<Map<string, CheckpointTensor>> {
  const single = join(folder, singleName);
  if (await isFile(single)) return byName([await readSafetensorsHeader(single)]);
  const indexFile = join(folder, indexName);
  const index = await readJsonFile(indexFile, 16 << 20);
  if (index === undefined) {
    throw new GmeError("GME_CHECKPOINT_BAD", `${printable(folder)}: neither ${singleName} nor ${indexName} is there`, {
      file: folder,
      expected: `${singleName}, or shards with ${indexName}`,
    });
  }
  const placeOf = readWeightMap(indexFile, index.weight_map);
  const shards = [...new Set(placeOf.values())].sort();
  if (shards.length > maxFiles) throw bad(indexFile, `${shards.length} shards`, { expected: `at most ${maxFiles}` });
  const headers: CheckpointTensor[][] = [];
  for (const shard of shards) headers.push(await readSafetensorsHeader(join(folder, shard)));
  const tensors = byName(headers);
  for (const [name, shard] of placeOf) {
    if (tensors.get(name)?.file === join(folder, shard)) continue;
    throw new GmeError(
      "GME_TENSOR_MISSING",
      `${printable(shard)}: ${printable(name)} is not there, though the index says so`,
      {
        file: join(folder, shard),
        field: `tensor["${printable(name)}"]`,
      },
    );
  }
  return tensors;
}

/** weight_map: tensor name → name of a file in the same folder. */
function readWeightMap(indexFile: string, weightMap: unknown): Map<string, string> {
  if (!isObject(weightMap)) throw bad(indexFile, "no weight_map", { field: "weight_map", expected: "an object" });
  const placeOf = new Map<string, string>();
  for (const [name, shard] of Object.entries(weightMap)) {
    const field = `weight_map["${printable(name)}"]`;
    if (typeof shard !== "string" || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.safetensors$/.test(shard)) {
      const value = printable(String(shard));
      throw bad(indexFile, `${field} is not the name of a file beside it`, {
        field,
        value,
        expected: "a .safetensors file's name",
      });
    }
    placeOf.set(name, shard);
  }
  return placeOf;
}

function byName(headers: readonly (readonly CheckpointTensor[])[]): Map<string, CheckpointTensor> {
  const tensors = new Map<string, CheckpointTensor>();
  for (const tensor of headers.flat()) {
    const first = tensors.get(tensor.name);
    if (first !== undefined) throw duplicateTensor(tensor, first);
    tensors.set(tensor.name, tensor);
  }
  return tensors;
}

export function duplicateTensor(tensor: CheckpointTensor, first: CheckpointTensor): GmeError {
  const message = `${printable(tensor.name)} of ${printable(tensor.file)} is also ${printable(first.name)} of ${printable(first.file)}`;
  return new GmeError("GME_TENSOR_DUP", message, { file: tensor.file, field: `tensor["${printable(tensor.name)}"]` });
}

/** The tensors of one file. Their ranges must cover its data without gap or overlap, as the format demands. */
export async function readSafetensorsHeader(path: string): Promise<CheckpointTensor[]> {
  const file = await openForReading(path);
  try {
    const { size } = await file.stat();
    const header = await readHeaderJson(path, file, size);
    const dataStart = 8 + header.bytes;
    const entries = Object.entries(header.json).filter(([name]) => name !== "__metadata__");
    if (entries.length > maxTensors)
      throw bad(path, `${entries.length} tensors`, { expected: `at most ${maxTensors}` });
    const tensors = entries.map(([name, entry]) => readEntry(path, name, entry, dataStart));
    checkCoverage(path, tensors, dataStart, size);
    return tensors;
  } catch (error) {
    throw error instanceof GmeError ? error : ioError(error, path);
  } finally {
    await file.close();
  }
}

async function readHeaderJson(path: string, file: FileHandle, size: number) {
  const head = await readExactly(path, file, 0, Math.min(8, size));
  if (head.length < 8)
    throw bad(path, "too short for a header", { field: "header", value: size, expected: "at least 8 bytes" });
  const length = head.readBigUInt64LE();
  const available = BigInt(Math.max(0, size - 8));
  if (length > BigInt(maxHeaderBytes) || length > available) {
    const least = available < BigInt(maxHeaderBytes) ? available : maxHeaderBytes;
    throw bad(path, "the header's length is impossible", {
      field: "header",
      value: length,
      expected: `at most ${least} bytes`,
    });
  }
  const bytes = Number(length);
  const text = await readExactly(path, file, 8, bytes);
  try {
    const json: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(text));
    if (isObject(json)) return { json, bytes };
  } catch (cause) {
    throw bad(path, "the header is not valid JSON", { field: "header", cause });
  }
  throw bad(path, "the header is not a JSON object", { field: "header" });
}

function readEntry(path: string, name: string, entry: unknown, dataStart: number): CheckpointTensor {
  const field = `tensor["${printable(name)}"]`;
  const { dtype, shape, data_offsets: range } = (isObject(entry) ? entry : {}) as { [name: string]: unknown };
  if (name === "" || Buffer.byteLength(name) > maxNameBytes)
    throw bad(path, "a name's length is impossible", { field });
  if (typeof dtype !== "string" || !Array.isArray(shape) || !Array.isArray(range)) {
    throw bad(path, `${field} is incomplete`, { field, expected: "dtype, shape and data_offsets" });
  }
  if (shape.length > maxDimensions || !shape.every(isSize))
    throw bad(path, `${field} has an impossible shape`, { field: `${field}.shape` });
  const size = dtypeBytes[dtype] ?? 0;
  if (size === 0) throw unsupportedDtype(path, name, dtype);
  const [begin, end] = range as unknown[];
  const bytes = (shape as number[]).reduce((product, n) => product * n, size);
  if (range.length !== 2 || !isSize(begin) || !isSize(end) || !Number.isSafeInteger(bytes) || end - begin !== bytes) {
    const value = printable(JSON.stringify(range));
    throw bad(path, `${field}: data_offsets and shape disagree`, {
      field: `${field}.data_offsets`,
      value,
      expected: `${bytes} bytes`,
    });
  }
  return { name, dtype, shape: shape as number[], file: path, offset: dataStart + begin, bytes };
}

function checkCoverage(path: string, tensors: readonly CheckpointTensor[], dataStart: number, size: number): void {
  let end = dataStart;
  for (const { name, offset, bytes } of [...tensors].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    const field = `tensor["${printable(name)}"].data_offsets`;
    if (offset !== end) throw bad(path, `${printable(name)}: the data has a gap or an overlap`, { field, offset });
    end = offset + bytes;
  }
  if (end === size) return;
  const what = end > size ? "the file is truncated" : "bytes follow the last tensor";
  throw bad(path, what, { field: "file size", value: size, expected: `${end} bytes` });
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

export function unsupportedDtype(file: string, name: string, dtype: string): GmeError {
  const value = printable(dtype);
  return new GmeError("GME_TENSOR_TYPE", `${printable(file)}: ${printable(name)} has type ${value}`, {
    file,
    field: `tensor["${printable(name)}"].dtype`,
    value,
    expected: "F32, F16 or BF16",
  });
}

function bad(file: string, what: string, details: GmeErrorDetails): GmeError {
  return new GmeError("GME_SAFETENSORS_BAD", `${printable(file)}: ${what}`, { file, ...details });
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() === true;
}
