/** The model sees less; a larger picture would only be sent, and stop at the server's limit. */
const maxSide = 1_600;
const maxBytes = 3_000_000;
/** Of a picture that this browser cannot read, or that moves: it is sent as it is. */
const maxOriginalBytes = 20_000_000;
const quality = 0.92;

/** A picture to search by, as it is sent. Throws an Error with words for people. */
export interface SentPicture {
  readonly name: string;
  /** Shown beside the search box. */
  readonly blob: Blob;
  /** data: URL, or base64 where the type is not known. */
  readonly encoded: string;
}

export async function scaledPicture(file: Blob, name: string): Promise<SentPicture> {
  const blob = file.type === "image/gif" ? file : ((await scaled(file)) ?? file);
  if (blob.size === 0) throw new Error(`${name} is empty.`);
  if (blob.size > maxOriginalBytes) throw new Error(`${name} is too large, and this browser cannot make it smaller.`);
  const url = await dataUrl(blob);
  return { name, blob, encoded: blob.type.startsWith("image/") ? url : url.slice(url.indexOf(",") + 1) };
}

/** Undefined where the browser cannot read it. */
async function scaled(file: Blob): Promise<Blob | undefined> {
  const picture = await createImageBitmap(file).catch(() => undefined);
  if (picture === undefined) return undefined;
  try {
    const scale = Math.min(1, maxSide / Math.max(picture.width, picture.height));
    if (scale === 1 && file.size <= maxBytes) return file;
    const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * scale)));
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    if (context === null) return undefined;
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, 0, 0, width, height);
    const type = file.type === "image/jpeg" ? "image/jpeg" : "image/webp"; // JPEG has no transparency
    return await new Promise((resolve) => canvas.toBlob((blob) => resolve(blob ?? undefined), type, quality));
  } finally {
    picture.close();
  }
}

function dataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(new Error("The picture cannot be read."));
    reader.readAsDataURL(blob);
  });
}
