import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { type ConvertType, convertTypes } from "../convert";
import { type SyntheticShape, writeSyntheticModel } from "../convert/synthetic-model";
import { badArgument, GmeError, ioError } from "../errors";
import { storeFolder } from "../store/store-folders";

/** Shapes of random-weight models that can be measured: the real ones', and one for trying things out. */
export const benchShapes = ["tiny", "2b", "7b"] as const;
export type BenchShape = (typeof benchShapes)[number];

export interface BenchModelOptions {
  readonly type?: ConvertType;
  /** Called while the file is made, with bytes; not at all when it is there already. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** Goes up when the same shape and type would give another file. */
const generation = 1;

/** The file of a random-weight model; made at the first call, in `bench/` of the store's folder, and kept. */
export async function benchModel(shape: BenchShape, options: BenchModelOptions = {}): Promise<string> {
  const { type = "f16", onProgress, signal } = options;
  if (!benchShapes.includes(shape)) throw badArgument("GME_OPTION_INVALID", "shape", benchShapes.join(", "), shape);
  if (!convertTypes.includes(type)) throw badArgument("GME_OPTION_INVALID", "type", convertTypes.join(", "), type);
  const folder = join(storeFolder(), "bench");
  const target = join(folder, `random-${shape}-${type}-${generation}.gguf`);
  if (await isFile(target)) return target;
  try {
    await mkdir(folder, { recursive: true });
    await writeSyntheticModel({ shape: shape as SyntheticShape, type, target, onProgress, signal });
  } catch (error) {
    // Another process may have made it meanwhile.
    if (!(error instanceof GmeError)) throw ioError(error, target);
    if (error.code !== "GME_TARGET_EXISTS") throw error;
  }
  return target;
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() === true;
}
