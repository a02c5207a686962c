import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const root = join(__dirname, "..", "..");

export function fixture(...parts: string[]): string {
  return join(root, "test", "fixtures", ...parts);
}

export function imageFixture(name: string): string {
  return fixture("images", name);
}

/** A case of tiny-a/cases.json and tiny-b/cases.json. */
export interface GoldenCase {
  id: string;
  text: string | null;
  image: string | null;
  instruction: string;
  positions: "sequential" | "mrope";
  n_tokens: number;
  ids?: number[];
  size?: [number, number];
  loader_size?: [number, number];
  processor_size?: [number, number];
  grid_thw?: [number, number, number];
  n_image_tokens?: number;
  decoded_rgb_sha256?: string;
  loader_rgb_sha256?: string;
  processor_rgb_sha256?: string;
  pixel_values_sha256?: string;
  trace?: string;
}

export function goldenCases(model: string): GoldenCase[] {
  return readJson<{ cases: GoldenCase[] }>(model, "cases.json").cases;
}

export function readJson<T>(...parts: string[]): T {
  return JSON.parse(readFileSync(fixture(...parts), "utf8")) as T;
}

export interface StoredTensor {
  shape: number[];
  data: Float32Array;
}

/** All tensors of a small f32 .safetensors file. */
export function readTensors(path: string): Map<string, StoredTensor> {
  const bytes = readFileSync(path);
  const headerSize = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerSize)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, StoredTensor>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    if (dtype !== "F32") throw new Error(`${name} is ${dtype}`);
    const data = Uint8Array.from(bytes.subarray(8 + headerSize + data_offsets[0], 8 + headerSize + data_offsets[1]));
    tensors.set(name, { shape, data: new Float32Array(data.buffer) });
  }
  return tensors;
}

export function sha256(data: ArrayBufferView): string {
  return createHash("sha256")
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest("hex");
}

/** A folder that is gone when the test file ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "gme-test-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
