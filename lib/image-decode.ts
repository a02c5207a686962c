import { constants } from "node:fs";
import { open } from "node:fs/promises";
import type Sharp from "sharp";
import type { NativeImage } from "./binding";
import { GmeError, ioError, printable } from "./errors";
import { corrupt, sniffImage, truncated } from "./image-sniff";
import { type CheckedImage, maxImageBytes, maxImageSide, tooLarge } from "./input";
import type { Orientation } from "./options";
import { fetchRemoteImage } from "./remote-image";

export interface DecodeSettings {
  orientation: Orientation;
  maxImagePixels: number;
}

const decodeSeconds = 5;

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
  const source = await openImage(image, settings, signal);
  return decodePixels(source, settings);
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
  const { width, height } = await openImage(image, settings, signal);
  return { width, height };
}

interface OpenImage {
  sharp: Sharp.Sharp;
  /** Size after orientation. */
  width: number;
  height: number;
  file: string;
}

/** bytes → format by magic → header → our limits. */
async function openImage(
  image: Exclude<CheckedImage, { kind: "pixels" }>,
  settings: DecodeSettings,
  signal: AbortSignal | undefined,
): Promise<OpenImage> {
  const file = image.kind === "path" ? image.path : image.name;
  const bytes = await encodedBytes(image, signal);
  sniffImage(bytes, printable(file));
  const backend = await loadSharp();
  const input = { failOn: "warning", pages: 1, ignoreIcc: true } as const;
  const header = await readHeader(backend(bytes, { ...input, limitInputPixels: 2 ** 40 }), file, settings);
  const turned = settings.orientation === "exif" && (header.orientation ?? 1) >= 5 && (header.orientation ?? 1) <= 8;
  const [width, height] = turned ? [header.height, header.width] : [header.width, header.height];
  checkSize(width, height, file, settings.maxImagePixels);
  if ((header.channels ?? 3) > 5) throw formatError(file, `${header.channels} channels`);
  return { sharp: backend(bytes, { ...input, limitInputPixels: settings.maxImagePixels }), width, height, file };
}

async function encodedBytes(
  image: Exclude<CheckedImage, { kind: "pixels" }>,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  if (image.kind === "bytes") return image.bytes;
  if (image.kind === "path") return readImageFile(image.path);
  return fetchRemoteImage(image.url, image.policy, { field: image.field, signal });
}

async function readHeader(sharp: Sharp.Sharp, file: string, settings: DecodeSettings): Promise<Sharp.Metadata> {
  try {
    return await sharp.metadata();
  } catch (error) {
    throw imageError(error, file, settings);
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
    throw imageError(error, file, settings);
  }
  const { data, info } = decoded;
  if (info.width !== width || info.height !== height) {
    throw corrupt(printable(file), `decoded to ${info.width}×${info.height}, its header says ${width}×${height}`);
  }
  const pixels = width * height;
  if (data.length === pixels * 3) return { data, width, height };
  if (data.length !== pixels) throw formatError(file, `${data.length / pixels} channels`);
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
  if (/timeout/i.test(text)) {
    return new GmeError("GME_IMAGE_TIMEOUT", `${name}: decoding took more than ${decodeSeconds} s`, {
      file,
      field: "image",
      cause: error,
    });
  }
  if (/unsupported image format|not supported|unsupported/i.test(text))
    return formatError(file, firstLine(text), error);
  if (/premature end|truncated|unexpected end|end of (file|stream|data)/i.test(text)) {
    return new GmeError("GME_IMAGE_TRUNCATED", `${name}: ${firstLine(text)}`, { file, field: "image", cause: error });
  }
  return corrupt(name, firstLine(text), error);
}

function formatError(file: string, found: string, cause?: unknown): GmeError {
  return new GmeError("GME_IMAGE_FORMAT", `${printable(file)}: ${found}`, {
    file,
    field: "image",
    value: found,
    expected: "a picture of 1 to 4 channels",
    cause,
  });
}

function firstLine(text: string): string {
  return printable(text.split("\n")[0]);
}
