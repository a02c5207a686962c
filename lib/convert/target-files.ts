import { basename, dirname, join } from "node:path";
import type { ConversionPlan, PlannedOutput } from "./conversion-plan";
import { parametersOf } from "./conversion-plan";
import { type GgufMetadata, type GgufValue, tensorBytes, text, u32 } from "./gguf-types";
import { GgufWriter } from "./gguf-writer";
import { sizeLabel } from "./model-metadata";
import type { TensorStream } from "./tensor-stream";
import { isVision } from "./type-choice";

/** A GGUF file to write. */
export interface TargetFile {
  readonly path: string;
  readonly metadata: GgufMetadata;
  readonly outputs: readonly PlannedOutput[];
}

/** The tower's file of a pair, where readers of pairs look for it: beside the decoder's. */
export function visionPath(target: string): string {
  return join(dirname(target), `mmproj-${basename(target)}`);
}

/** What loaders take where a key is absent; llama.cpp's files have none of them. */
const gmeDefaults: { readonly [key: string]: unknown } = {
  "gme.positions": "sequential",
  "gme.loader_resize": true,
  "gme.image_tokens_min": 256,
  "gme.image_tokens_max": 1280,
  "gme.default_instruction": "You are a helpful assistant.",
};

/** The plan as llama.cpp's two files, the decoder first. The decoder keeps those gme.* keys that differ from the defaults. */
export function splitFiles({ metadata, outputs }: ConversionPlan, target: string): [TargetFile, TargetFile] {
  const vision = outputs.filter(({ name }) => isVision(name));
  const decoder = outputs.filter(({ name }) => !isVision(name));
  const decoderKeys = [...metadata].filter(
    ([key, { value }]) => !key.startsWith("clip.") && gmeDefaults[key] !== value,
  );
  const decoderMetadata: GgufMetadata = new Map(decoderKeys);
  decoderMetadata.set("general.size_label", text(sizeLabel(parametersOf(decoder))));
  const visionMetadata: GgufMetadata = new Map<string, GgufValue>([
    ["general.architecture", text("clip")],
    ["general.type", text("mmproj")],
    ["general.name", metadata.get("general.name") ?? text("")],
    ["general.size_label", text(sizeLabel(parametersOf(vision)))],
    ["general.file_type", u32(fileTypeOf(vision))],
    ["general.quantization_version", u32(2)],
    ...[...metadata].filter(([key]) => key.startsWith("clip.")),
  ]);
  return [
    { path: target, metadata: decoderMetadata, outputs: decoder },
    { path: visionPath(target), metadata: visionMetadata, outputs: vision },
  ];
}

/** general.file_type after the type that most of the bytes have. */
function fileTypeOf(outputs: readonly PlannedOutput[]): number {
  const bytes = new Map<string, number>();
  for (const { type, ne } of outputs) bytes.set(type.name, (bytes.get(type.name) ?? 0) + tensorBytes(type, ne));
  const [main] = [...bytes].sort((a, b) => b[1] - a[1])[0] ?? ["f32"];
  return fileTypeIds[main] ?? 1024;
}

/** By the type of the matrices; 1024 marks a type that was guessed. */
const fileTypeIds: { readonly [type: string]: number } = {
  f32: 0,
  f16: 1,
  bf16: 32,
  q8_0: 7,
  q6_k: 18,
  q5_k: 17,
  q4_k: 15,
  q4_0: 2,
};

/**
 * Writes the files, in order, and gives them their names when all bytes of all of them are on the disk: the last file first, so that a
 * pair's decoder never stands there without its tower. Returns their bytes.
 */
export async function writeFiles(
  files: readonly TargetFile[],
  stream: TensorStream,
  { force, onWritten }: { force: boolean; onWritten: (tensor: string, bytes: number) => void },
): Promise<number> {
  const writers: GgufWriter[] = [];
  try {
    let bytesBefore = 0;
    for (const { path, metadata, outputs } of files) {
      writers.push(await GgufWriter.create(path, metadata, outputs, force, bytesBefore));
      bytesBefore += dataBytes(outputs);
    }
    for (const [i, { outputs }] of files.entries()) {
      for (const output of outputs) {
        for await (const piece of stream.pieces(output)) {
          await writers[i].append(piece);
          onWritten(output.name, piece.length);
        }
      }
      await writers[i].seal();
    }
    stream.checkAbort();
    for (const writer of [...writers].reverse()) await writer.publish();
    return writers.reduce((sum, { bytes }) => sum + bytes, 0);
  } catch (error) {
    for (const writer of writers) await writer.discard();
    throw error;
  }
}

export function dataBytes(outputs: readonly PlannedOutput[]): number {
  return outputs.reduce((sum, { type, ne }) => sum + tensorBytes(type, ne), 0);
}
