import { checkPossibleSides, corrupt, truncated } from "./image-errors";

/**
 * Walks the chunks: IHDR with a possible size first, the pixels in chunks that follow each other, IEND at the end. libvips reads neither
 * what is behind the pixels nor whether the end is there. Bytes behind IEND are ignored.
 */
export function checkPng(bytes: Uint8Array, file: string): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(12) !== ihdr) throw corrupt(file, "the PNG does not begin with IHDR");
  checkPossibleSides(view.getUint32(16), view.getUint32(20), file);
  let before = 0;
  let hasPixels = false;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const type = view.getUint32(at + 4);
    if (type === idat) {
      if (hasPixels && before !== idat) throw corrupt(file, "the PNG's IDAT chunks do not follow each other");
      hasPixels = true;
    }
    if (type === iend) {
      if (!hasPixels) throw corrupt(file, "the PNG has no IDAT chunk");
      return;
    }
    before = type;
    at += 12 + view.getUint32(at);
  }
  throw truncated(file, "the PNG ends before IEND");
}

const ihdr = 0x49484452;
const idat = 0x49444154;
const iend = 0x49454e44;
