import { createHash, type Hash } from "node:crypto";
import { resolve } from "node:path";
import type { BatchPlace, EmbedResult } from "../embed-run";
import type { CheckedInput } from "../input";
import type { EmbedProfile, Stage, TokenCount } from "../model-work";
import type { ReadEmbedOptions } from "../options";
import type { RemotePolicy } from "../remote-image";
import type { PictureMemory, Region } from "./picture-memory";
import type { WireError } from "./wire-error";

/** A checked picture that can be cloned: an address as text, without the policy, which the engine's process has itself. */
type WireImage<Bytes = Uint8Array> =
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "bytes"; readonly bytes: Bytes; readonly name: string }
  | { readonly kind: "pixels"; readonly data: Bytes; readonly width: number; readonly height: number }
  | { readonly kind: "remote"; readonly href: string; readonly name: string; readonly field: string };

export interface WireInput<Bytes = Uint8Array> extends Omit<CheckedInput, "id" | "image"> {
  readonly image?: WireImage<Bytes>;
}

/** The bytes themselves, or where they lie in the memory shared with the engine's process. */
export type SentBytes = Uint8Array | Region;

/** The options of a call without its functions and signals; `reports` stands for onProgress. */
export interface WireOptions extends Omit<ReadEmbedOptions, "signal" | "onProgress"> {
  readonly reports: boolean;
}

/** What the engine's process is asked by an isolated model. */
export type CallRequest<Bytes = Uint8Array> = { readonly options: WireOptions } & (
  | { readonly method: "embedBatch"; readonly inputs: readonly WireInput<Bytes>[]; readonly place?: BatchPlace }
  | { readonly method: "embedEach" | "profile"; readonly inputs: readonly WireInput<Bytes>[] }
  | { readonly method: "countTokens" | "stages"; readonly inputs: readonly [WireInput<Bytes>] }
  | { readonly method: "tokenize"; readonly text: string }
);

export type CallMethod = CallRequest["method"];

/** What each method is answered with. */
export interface CallValues {
  embedBatch: Float32Array[];
  embedEach: WireResult[];
  profile: EmbedProfile;
  countTokens: TokenCount;
  stages: Stage[];
  tokenize: Int32Array;
}

export interface WireResult extends Pick<EmbedResult, "index"> {
  readonly embedding?: Float32Array;
  readonly tokens?: TokenCount;
  readonly error?: WireError;
}

export function toWireOptions({ signal, onProgress, ...plain }: ReadEmbedOptions): WireOptions {
  return { ...plain, reports: onProgress !== undefined };
}

/** A path is relative to `folder`, where the engine's process works: this one may have gone elsewhere. */
export function toWireInput({ image, text, prompt }: CheckedInput, folder: string): WireInput {
  const words = { ...(text !== undefined && { text }), ...(prompt !== undefined && { prompt }) };
  if (image === undefined) return words;
  if (image.kind === "remote") {
    const { url, name, field } = image;
    return { ...words, image: { kind: "remote", href: url.href, name, field } };
  }
  const isElsewhere = image.kind === "path" && process.cwd() !== folder;
  return { ...words, image: isElsewhere ? { kind: "path", path: resolve(image.path) } : image };
}

/** Smaller pictures are as quick in the message. */
const sharedFrom = 64 * 1024;

/** The request as it is sent: large pictures in the shared memory, where there is room; `regions` are free after the answer. */
export function placePictures(
  request: CallRequest,
  memory: PictureMemory | undefined,
): { sent: CallRequest<SentBytes>; regions: Region[] } {
  const regions: Region[] = [];
  if (memory === undefined || request.method === "tokenize") return { sent: request, regions };
  const place = (bytes: Uint8Array): SentBytes => {
    const region = bytes.length < sharedFrom ? undefined : memory.put(bytes);
    if (region !== undefined) regions.push(region);
    return region ?? bytes;
  };
  const inputs = request.inputs.map((input) => mapBytes<Uint8Array, SentBytes>(input, place));
  return { sent: { ...request, inputs } as CallRequest<SentBytes>, regions };
}

function mapBytes<From, To>({ image, ...words }: WireInput<From>, map: (bytes: From) => To): WireInput<To> {
  if (image === undefined) return words;
  if (image.kind === "bytes") return { ...words, image: { ...image, bytes: map(image.bytes) } };
  if (image.kind === "pixels") return { ...words, image: { ...image, data: map(image.data) } };
  return { ...words, image };
}

export function fromWireInput(
  input: WireInput<SentBytes>,
  policy: RemotePolicy | undefined,
  read: (region: Region) => Uint8Array,
): CheckedInput {
  const { image, ...words } = mapBytes(input, (bytes) => (bytes instanceof Uint8Array ? bytes : read(bytes)));
  if (image === undefined) return words;
  if (image.kind !== "remote") return { ...words, image };
  const { href, name, field } = image;
  return { ...words, image: { kind: "remote", url: new URL(href), name, field, policy: policy as RemotePolicy } };
}

/** The same for two calls that ask for the same; of a file its path only. */
export function digestOf(request: CallRequest): string {
  const hash = createHash("sha256");
  const { options, method } = request;
  addWords(hash, method, JSON.stringify(options));
  if (request.method === "tokenize") addWords(hash, request.text);
  else for (const input of request.inputs) addInput(hash, input);
  return hash.digest("base64");
}

function addInput(hash: Hash, { text, prompt, image }: WireInput): void {
  addWords(hash, text, prompt, image?.kind);
  if (image === undefined) return;
  if (image.kind === "path") addWords(hash, image.path);
  else if (image.kind === "remote") addWords(hash, image.href);
  else if (image.kind === "bytes") addBytes(hash, image.bytes);
  else {
    addWords(hash, `${image.width}`, `${image.height}`);
    addBytes(hash, image.data);
  }
}

/** With their lengths: no two lists of words look the same. */
function addWords(hash: Hash, ...words: (string | undefined)[]): void {
  for (const word of words) hash.update(`${word === undefined ? -1 : word.length}:`).update(word ?? "");
}

function addBytes(hash: Hash, bytes: Uint8Array): void {
  hash.update(`${bytes.length}:`).update(bytes);
}
