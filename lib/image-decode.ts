import { constants } from "node:fs";
import { open } from "node:fs/promises";
import type Sharp from "sharp";
import type { NativeImage } from "./binding";
import { abortError, GmeError, ioError, printable } from "./errors";
import { checkCodec } from "./image-containers";
import { badFormat, corrupt, truncated } from "./image-errors";
import { type ImageFormat, sniffImage } from "./image-sniff";
import { type CheckedImage, maxImageBytes, maxImageSide, tooLarge } from "./input";
import type { Orientation } from "./options";
import { fetchRemoteImage } from "./remote-image";

export interface DecodeSettings {
  orientation: Orientation;
  maxImagePixels: number;
}

const decodeSeconds = 5;
/** What a codec may hold of a picture: some copies of its own, and the result twice. */
const decodeBytesPerPixel = 16;

/** The picture as RGB8 [height, width, 3] at its full size; the engine does the resizing. */
export async function decodeImage(
  image: CheckedImage,
  settings: DecodeSettings,
  signal?: AbortSignal,
): Promise<NativeImage> {
  if (image.kind === "pixels") {
    checkSize(image.width, image.height, "<buffer>", settings.maxImagePixels);
    return { data: image.data, width: image.width, height: image.height };
  }
  const [bytes, file] = await encodedBytes(image, signal);
  const source = await withinTime(file, signal, () => openImage(bytes, file, settings));
  return withinTime(file, signal, () => decodePixels(source, settings));
}

/** Width and height of the picture as it will be embedded (upright unless orientation is ignored), from its header alone. */
export async function readImageSize(
  image: CheckedImage,
  settings: DecodeSettings,
  signal?: AbortSignal,
): Promise<{ width: number; height: number }> {
  if (image.kind === "pixels") {
    checkSize(image.width, image.height, "<buffer>", settings.maxImagePixels);
    return { width: image.width, height: image.height };
  }
  const [bytes, file] = await encodedBytes(image, signal);
  const { width, height } = await withinTime(file, signal, () => openImage(bytes, file, settings));
  return { width, height };
}

/**
 * Rejects after the time that a picture may take, or when the call is aborted, whatever libvips is doing: it looks at its own time limit
 * only between rows, and some of its readers decode the whole picture before the first. What it still does is dropped.
 */
function withinTime<T>(file: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  if (signal?.aborted) return Promise.reject(abortError(signal));
  return new Promise((resolve, reject) => {
    const onAbort = () => settle(() => reject(abortError(signal)));
    const timer = setTimeout(() => settle(() => reject(tooSlow(file))), decodeSeconds * 1000);
    const settle = (outcome: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      outcome();
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    work().then(
      (value) => settle(() => resolve(value)),
      (error) => settle(() => reject(error)),
    );
  });
}

interface OpenImage {
  sharp: Sharp.Sharp;
  /** Size after orientation. */
  width: number;
  height: number;
  file: string;
}

/** Format by magic and whole structure → header → our limits. */
async function openImage(given: Uint8Array, file: string, settings: DecodeSettings): Promise<OpenImage> {
  const { format, bytes } = sniffImage(given, printable(file));
  const backend = await loadSharp();
  const input = { failOn: "warning", pages: 1, ignoreIcc: true } as const;
  const header = await readHeader(backend(bytes, { ...input, limitInputPixels: 2 ** 40 }), file, settings);
  checkReader(header, format, printable(file));
  const turned = settings.orientation === "exif" && (header.orientation ?? 1) >= 5 && (header.orientation ?? 1) <= 8;
  const [width, height] = turned ? [header.height, header.width] : [header.width, header.height];
  checkSize(width, height, file, settings.maxImagePixels);
  if ((header.channels ?? 3) > 5) throw tooManyChannels(file, header.channels);
  return { sharp: backend(bytes, { ...input, limitInputPixels: settings.maxImagePixels }), width, height, file };
}

/** libvips took the picture for what our sniffer did. */
function checkReader(header: Sharp.Metadata, format: ImageFormat, file: string): void {
  if (header.format !== (format === "avif" ? "heif" : format))
    throw badFormat(file, `${header.format} within ${format}`, `a picture that is ${format} throughout`);
  if (format === "avif") checkCodec(header.compression, file);
}

/** The bytes, which are ours, and the picture's name. */
async function encodedBytes(
  image: Exclude<CheckedImage, { kind: "pixels" }>,
  signal: AbortSignal | undefined,
): Promise<[Uint8Array, string]> {
  if (image.kind === "bytes") return [image.bytes, image.name];
  if (image.kind === "path") return [await readImageFile(image.path), image.path];
  return [await fetchRemoteImage(image.url, image.policy, { field: image.field, signal }), image.name];
}

async function readHeader(sharp: Sharp.Sharp, file: string, settings: DecodeSettings): Promise<Sharp.Metadata> {
  try {
    return await sharp.metadata();
  } catch (error) {
    throw withoutMemory(error, file, 0) ?? imageError(error, file, settings);
  }
}

function checkSize(width: number | undefined, height: number | undefined, file: string, maxPixels: number): void {
  const name = printable(file);
  for (const [side, value] of [
    ["width", width],
    ["height", height],
  ] as const) {
    if (!value || value < 1) {
      throw new GmeError("GME_IMAGE_DIMENSIONS", `${name}: ${side} ${value}`, {
        file,
        field: `image.${side}`,
        value: value ?? 0,
        expected: "a positive size",
      });
    }
    if (value > maxImageSide) throw tooLarge(name, `${side} ${value}`, value, `sides of at most ${maxImageSide}`);
  }
  const pixels = (width ?? 0) * (height ?? 0);
  if (pixels > maxPixels) throw tooLarge(name, `${width}×${height} = ${pixels} pixels`, pixels, `${maxPixels} pixels`);
}

/** Upright, alpha dropped without compositing, 3 channels, 8 bit. The size must be what the header said. */
async function decodePixels(source: OpenImage, settings: DecodeSettings): Promise<NativeImage> {
  const { sharp, width, height, file } = source;
  const oriented = settings.orientation === "exif" ? sharp.autoOrient() : sharp;
  let decoded: { data: Buffer; info: Sharp.OutputInfo };
  try {
    decoded = await oriented
      .removeAlpha()
      .toColourspace("srgb")
      .timeout({ seconds: decodeSeconds })
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
  } catch (error) {
    throw withoutMemory(error, file, width * height) ?? imageError(error, file, settings);
  }
  const { data, info } = decoded;
  if (info.width !== width || info.height !== height) {
    throw corrupt(printable(file), `decoded to ${info.width}×${info.height}, its header says ${width}×${height}`);
  }
  const pixels = width * height;
  if (data.length === pixels * 3) return { data, width, height };
  if (data.length !== pixels) throw tooManyChannels(file, data.length / pixels);
  const rgb = new Uint8Array(pixels * 3);
  for (let i = 0; i < pixels; i++) rgb.fill(data[i], i * 3, i * 3 + 3);
  return { data: rgb, width, height };
}

/** Regular files only, whole, at most 64 MiB; a FIFO is opened without blocking and refused. */
async function readImageFile(path: string): Promise<Uint8Array> {
  try {
    const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      const stat = await handle.stat();
      if (!stat.isFile()) {
        throw new GmeError("GME_IO_ERROR", `${printable(path)}: not a regular file`, {
          file: path,
          expected: "a regular file",
        });
      }
      if (stat.size > maxImageBytes)
        throw tooLarge(printable(path), `${stat.size} bytes`, stat.size, `${maxImageBytes} bytes`);
      if (stat.size === 0) throw truncated(printable(path), "the file is empty");
      return await readExactly(handle, stat.size, path);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw error instanceof GmeError ? error : ioError(error, path);
  }
}

async function readExactly(handle: Awaited<ReturnType<typeof open>>, size: number, path: string): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; ) {
    const { bytesRead } = await handle.read(bytes, at, size - at, at);
    if (bytesRead === 0) {
      throw new GmeError("GME_CHANGED_WHILE_OPEN", `${printable(path)}: the file became shorter while it was read`, {
        file: path,
        offset: at,
      });
    }
    at += bytesRead;
  }
  return bytes;
}

/** sharp is loaded by the first picture, never for texts. */
export async function loadSharp(): Promise<typeof Sharp> {
  try {
    return (await import("sharp")).default;
  } catch (error) {
    throw new GmeError(
      "GME_IMAGE_BACKEND_MISSING",
      "sharp, which decodes pictures, does not load; install it with: npm install sharp@0.35.5",
      {
        expected: "the package sharp for this platform",
        cause: error,
      },
    );
  }
}

function imageError(error: unknown, file: string, settings: DecodeSettings): GmeError {
  if (error instanceof GmeError) return error;
  const name = printable(file);
  const text = error instanceof Error ? error.message : String(error);
  if (/pixel limit/i.test(text))
    return tooLarge(name, "its header announces too many pixels", undefined, `${settings.maxImagePixels} pixels`);
  if (/timeout/i.test(text)) return tooSlow(file, error);
  if (/unsupported image format|not supported|unsupported/i.test(text))
    return badFormat(name, firstLine(text), "a picture of the formats that are read", error);
  // libjpeg calls pixels that make no sense a premature end as well.
  if (/premature end of JPEG image|truncated|unexpected end|end of (file|stream|data$)/i.test(text))
    return truncated(name, firstLine(text), error);
  return corrupt(name, firstLine(text), error);
}

/** Some codecs do not say that memory ran out; whether what they need at least is there is tried, then. */
function withoutMemory(error: unknown, file: string, pixels: number): GmeError | undefined {
  if (!/out of memory|insufficient memory|cannot allocate/i.test(String(error))) {
    try {
      new ArrayBuffer(pixels * decodeBytesPerPixel);
      return undefined;
    } catch {
      // It is not.
    }
  }
  return new GmeError("GME_OUT_OF_MEMORY", `${printable(file)}: memory ran out while it was decoded`, {
    file,
    field: "image",
    cause: error,
  });
}

function tooSlow(file: string, cause?: unknown): GmeError {
  return new GmeError("GME_IMAGE_TIMEOUT", `${printable(file)}: decoding took more than ${decodeSeconds} s`, {
    file,
    field: "image",
    expected: `at most ${decodeSeconds} s`,
    cause,
  });
}

function tooManyChannels(file: string, count: number | undefined): GmeError {
  return badFormat(printable(file), `${count} channels`, "a picture of 1 to 4 channels");
}

function firstLine(text: string): string {
  return printable(text.split("\n")[0]);
}
