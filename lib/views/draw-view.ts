import { readPicture } from "../embed-tasks/task-files";
import type { OpenDocuments } from "../embed-tasks/task-pages";
import { GmeError } from "../errors";
import { loadSharp } from "../image-decode";
import { corrupt } from "../image-errors";
import { sniffImage } from "../image-sniff";
import type { ViewFile, ViewJob } from "./view-messages";

/** Pictures of the index had fewer; only a file that is read by another libvips than its first could have more. */
const maxPixels = 2 ** 30;
const quality = 82;

/** The first of the files that is as it was indexed, upright, as WebP. Rejects with the last one's error. */
export async function drawView({ files, side }: ViewJob, documents: OpenDocuments): Promise<Uint8Array> {
  let last: unknown;
  for (const file of files) {
    try {
      return await (file.page === undefined ? drawPicture(file, side) : drawPage(file, file.page, side, documents));
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

async function drawPicture(file: ViewFile, side: number): Promise<Uint8Array> {
  const { bytes } = sniffImage(await readPicture(file), file.path);
  const sharp = await loadSharp();
  try {
    return await sharp(bytes, { pages: 1, limitInputPixels: maxPixels })
      .autoOrient()
      .resize({ width: side, height: side, fit: "inside", withoutEnlargement: true })
      .webp({ quality })
      .toBuffer();
  } catch (error) {
    throw error instanceof GmeError ? error : corrupt(file.path, "it cannot be drawn", error);
  }
}

/** Drawn with as many pixels as a square of that side has, so that the longer side is never drawn too small, then made to fit. */
async function drawPage(file: ViewFile, page: number, side: number, documents: OpenDocuments): Promise<Uint8Array> {
  const { data, width, height } = await documents.use(file, (pdf) => pdf.renderPage(page, side * side));
  const sharp = await loadSharp();
  return sharp(data, { raw: { width, height, channels: 3 } })
    .resize({ width: side, height: side, fit: "inside", withoutEnlargement: true })
    .webp({ quality })
    .toBuffer();
}
