import { maxPdfBytes } from "../documents/pdf-pages";
import { GmeError, printable } from "../errors";
import { maxImageBytes, tooLarge } from "../input";
import type { HashedFile } from "./embed-task";
import { digestFile } from "./file-digest";

/** A picture's bytes. Rejects with GME_IO_ERROR, GME_IMAGE_TOO_LARGE, GME_CHANGED_WHILE_OPEN. */
export function readPicture(file: HashedFile, signal?: AbortSignal): Promise<Buffer> {
  const name = printable(file.path);
  const refuse = (size: number) => tooLarge(name, `${size} bytes`, size, `${maxImageBytes} bytes`);
  return readHashed(file, maxImageBytes, refuse, signal);
}

/** A PDF's bytes. Rejects with GME_IO_ERROR, GME_PDF_TOO_LARGE, GME_CHANGED_WHILE_OPEN. */
export function readPdf(file: HashedFile, signal?: AbortSignal): Promise<Buffer> {
  const expected = `at most ${maxPdfBytes} bytes`;
  const message = (size: number) => `${printable(file.path)}: ${size} bytes, expected ${expected}`;
  const refuse = (value: number) =>
    new GmeError("GME_PDF_TOO_LARGE", message(value), { file: file.path, value, expected });
  return readHashed(file, maxPdfBytes, refuse, signal);
}

async function readHashed(
  { path, sha256 }: HashedFile,
  maxBytes: number,
  refuse: (size: number) => GmeError,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const digest = await digestFile(path, { maxBytes, tooLarge: refuse, keep: true, signal });
  if (digest.sha256 === sha256) return digest.bytes as Buffer;
  throw new GmeError("GME_CHANGED_WHILE_OPEN", `${printable(path)}: its contents changed since the file was hashed`, {
    file: path,
    field: "sha256",
    value: digest.sha256,
    expected: sha256,
  });
}
