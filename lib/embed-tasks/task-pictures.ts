import type { NativeImage } from "../binding";
import { type DecodeSettings, decodeImage, loadSharp } from "../image-decode";
import { readImage } from "../input";
import type { RemotePolicy } from "../remote-image";
import type { EmbedTask } from "./embed-task";
import { readPicture } from "./task-files";
import type { OpenDocuments } from "./task-pages";

/** A task's picture as the model takes it, with what its row shows. */
export interface PreparedPicture extends NativeImage {
  /** Of a picture in pixels, of a page in points. */
  readonly shown: { readonly width: number; readonly height: number };
  readonly thumbnail?: Uint8Array;
}

export interface PictureSettings {
  readonly decode: DecodeSettings;
  /** Most pixels of a drawn page. */
  readonly pagePixels: number;
  /** For pictures at http(s) addresses; absent: they are refused. */
  readonly remote?: RemotePolicy;
}

const thumbnailSide = 256;
const thumbnailQuality = 70;

/** Reads and decodes the task's picture, or draws its page; undefined for a text. */
export async function preparePicture(
  { image, page, query }: EmbedTask,
  settings: PictureSettings,
  documents: OpenDocuments,
  signal: AbortSignal,
): Promise<PreparedPicture | undefined> {
  let picture: PreparedPicture;
  if (page !== undefined) {
    const drawn = await documents.use(page.file, (pdf) => pdf.renderPage(page.number, settings.pagePixels), signal);
    picture = { data: drawn.data, width: drawn.width, height: drawn.height, shown: drawn.points };
  } else if (image !== undefined) {
    const checked =
      "source" in image
        ? readImage(image.source, "image", settings.remote)
        : { kind: "bytes" as const, bytes: await readPicture(image, signal), name: image.path };
    const decoded = await decodeImage(checked, settings.decode, signal);
    picture = { ...decoded, shown: { width: decoded.width, height: decoded.height } };
  } else return undefined;
  const thumbnail = query === undefined ? await makeThumbnail(picture) : undefined;
  return thumbnail === undefined ? picture : { ...picture, thumbnail };
}

/** A WebP of at most 256×256 pixels. A picture that the model can read is indexed even if its thumbnail cannot be made. */
async function makeThumbnail({ data, width, height }: NativeImage): Promise<Uint8Array | undefined> {
  try {
    const sharp = await loadSharp();
    const small = await sharp(data, { raw: { width, height, channels: 3 }, limitInputPixels: false })
      .resize({ width: thumbnailSide, height: thumbnailSide, fit: "inside", withoutEnlargement: true })
      .webp({ quality: thumbnailQuality })
      .toBuffer();
    return Uint8Array.from(small);
  } catch {
    return undefined;
  }
}
