import type { WireError } from "../isolated/wire-error";

/** A file that shows a picture, or a page of it; it counts only while its bytes are the ones that were indexed. */
export interface ViewFile {
  /** Lossless form of path-bytes.ts. */
  readonly path: string;
  /** Of the bytes that were indexed. */
  readonly sha256: string;
  /** From 1, of a PDF. */
  readonly page?: number;
}

export interface ViewJob {
  /** Tried in order: the first that is as it was indexed is drawn. */
  readonly files: readonly ViewFile[];
  /** Pixels of the longer side at most. */
  readonly side: number;
}

/** `webp`: the picture. */
export type FromView =
  | { readonly type: "drawn"; readonly webp: Uint8Array }
  | { readonly type: "failed"; readonly error: WireError };
