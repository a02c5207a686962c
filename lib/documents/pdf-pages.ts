import { GmeError, printable } from "../errors";
import { maxImageSide } from "../input";
import { allocate, type PdfHandles, type PdfLibrary, PdfLibraryCrash, pdfLibrary } from "./pdf-library";

export const maxPdfBytes = 1024 * 1024 * 1024;
export const maxPdfPages = 100_000;

/** Pixels per point at most, 288 per inch: beyond it a page gains no detail that is read. */
const maxScale = 4;

/** A page as RGB8 [height, width, 3] on white, upright; `points` is its size on paper in 1/72 inch. */
export interface RenderedPage {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly points: { readonly width: number; readonly height: number };
}

export interface PdfDocument {
  readonly pageCount: number;
  /**
   * Draws a page, counted from 1, with its annotations and form fields, as large as `maxPixels` allows but at most 4 pixels per
   * point and 32,768 a side. Rejects with GME_PDF_CORRUPT for this page alone, GME_OUT_OF_MEMORY, or GME_INPUT_INVALID.
   */
  renderPage(number: number, maxPixels: number): Promise<RenderedPage>;
  close(): void;
}

/**
 * Opens a PDF from its bytes, which must not change until it is closed. Rejects with GME_PDF_TRUNCATED, GME_PDF_CORRUPT,
 * GME_PDF_ENCRYPTED, GME_PDF_TOO_LARGE, GME_PDF_BACKEND_MISSING or GME_OUT_OF_MEMORY.
 */
export async function openPdf(bytes: Uint8Array, file: string): Promise<PdfDocument> {
  checkBytes(bytes, file);
  const document = new OpenPdf(bytes, file);
  await document.open();
  return document;
}

function checkBytes(bytes: Uint8Array, file: string): void {
  const name = printable(file);
  if (bytes.length === 0)
    throw new GmeError("GME_PDF_TRUNCATED", `${name}: the file is empty`, { file, value: 0, expected: "a PDF" });
  if (bytes.length > maxPdfBytes) throw tooLarge(file, "bytes", bytes.length, maxPdfBytes);
  if (latin1(bytes.subarray(0, 1024)).includes("%PDF")) return;
  const expected = "%PDF within the first 1,024 bytes";
  throw new GmeError("GME_PDF_CORRUPT", `${name}: is not a PDF, it does not begin with %PDF`, { file, expected });
}

/** Opens itself anew when PDFium crashed, so that a page on which it does costs no other page. */
class OpenPdf implements PdfDocument {
  pageCount = 0;
  private library: PdfLibrary | undefined;
  private opened: PdfHandles | undefined;
  private isClosed = false;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly file: string,
  ) {}

  async open(): Promise<void> {
    const { library, opened } = await this.handles();
    this.pageCount = library.call((pdfium) => pdfium._FPDF_GetPageCount(opened.document));
    const problem =
      this.pageCount < 1
        ? new GmeError("GME_PDF_CORRUPT", `${printable(this.file)}: it has no pages`, {
            file: this.file,
            value: this.pageCount,
          })
        : this.pageCount > maxPdfPages
          ? tooLarge(this.file, "pages", this.pageCount, maxPdfPages)
          : undefined;
    if (problem === undefined) return;
    this.close();
    throw problem;
  }

  async renderPage(number: number, maxPixels: number): Promise<RenderedPage> {
    if (!Number.isInteger(number) || number < 1 || number > this.pageCount) {
      throw new GmeError("GME_INPUT_INVALID", `${printable(this.file)}: has no page ${number}`, {
        file: this.file,
        field: "page",
        value: number,
        expected: `1 to ${this.pageCount}`,
      });
    }
    const { library, opened } = await this.handles();
    try {
      return drawPage(library, opened, number, maxPixels, this.file);
    } catch (error) {
      if (!(error instanceof PdfLibraryCrash)) throw error;
      throw pageError(this.file, number, `drawing it fails: ${printable(error.message)}`, error);
    }
  }

  close(): void {
    this.isClosed = true;
    const { opened, library } = this;
    this.opened = undefined;
    this.library = undefined;
    if (opened === undefined || !library?.isUsable) return;
    try {
      library.close(opened);
    } catch (error) {
      if (!(error instanceof PdfLibraryCrash)) throw error;
    }
  }

  private async handles(): Promise<{ library: PdfLibrary; opened: PdfHandles }> {
    const library = this.library?.isUsable ? this.library : await pdfLibrary();
    if (this.isClosed) {
      throw new GmeError("GME_INTERNAL", `${printable(this.file)}: the document was closed`, { file: this.file });
    }
    if (this.library?.isUsable && this.opened !== undefined) return { library: this.library, opened: this.opened };
    this.library = library;
    this.opened = this.openIn(library);
    return { library, opened: this.opened };
  }

  private openIn(library: PdfLibrary): PdfHandles {
    try {
      const result = library.open(this.bytes);
      if ("document" in result) return result;
      throw openError(result.errorCode, this.bytes, this.file);
    } catch (error) {
      if (!(error instanceof PdfLibraryCrash)) throw error;
      throw corrupt(this.file, `it cannot be opened: ${printable(error.message)}`, error);
    }
  }
}

function drawPage(
  library: PdfLibrary,
  { document, form }: PdfHandles,
  number: number,
  maxPixels: number,
  file: string,
): RenderedPage {
  return library.call((pdfium) => {
    const page = pdfium._FPDF_LoadPage(document, number - 1);
    if (page === 0) throw pageError(file, number, "it cannot be read");
    let memory = 0;
    let bitmap = 0;
    try {
      if (form !== 0) pdfium._FORM_OnAfterLoadPage(page, form);
      const points = { width: pdfium._FPDF_GetPageWidth(page), height: pdfium._FPDF_GetPageHeight(page) };
      if (!(points.width > 0 && points.height > 0))
        throw pageError(file, number, `its size is ${points.width}×${points.height}`);
      const { width, height } = pixelSize(points, maxPixels);
      memory = allocate(pdfium, width * height * 4);
      bitmap = pdfium._FPDFBitmap_CreateEx(width, height, bitmapFormat, memory, width * 4);
      if (bitmap === 0) throw pageError(file, number, `no bitmap of ${width}×${height} pixels`);
      pdfium._FPDFBitmap_FillRect(bitmap, 0, 0, width, height, 0xffffffff);
      pdfium._FPDF_RenderPageBitmap(bitmap, page, 0, 0, width, height, 0, drawAnnotations | redFirst);
      if (form !== 0) pdfium._FPDF_FFLDraw(form, bitmap, page, 0, 0, width, height, 0, redFirst);
      return { data: rgbOf(pdfium.HEAPU8, memory, width * height), width, height, points };
    } finally {
      if (bitmap !== 0) pdfium._FPDFBitmap_Destroy(bitmap);
      if (memory !== 0) pdfium.wasmExports.free(memory);
      if (form !== 0) pdfium._FORM_OnBeforeClosePage(page, form);
      pdfium._FPDF_ClosePage(page);
    }
  });
}

/** FPDFBitmap_BGRx, FPDF_ANNOT and FPDF_REVERSE_BYTE_ORDER of PDFium. */
const bitmapFormat = 3;
const drawAnnotations = 0x01;
const redFirst = 0x10;

function pixelSize(points: { width: number; height: number }, maxPixels: number): { width: number; height: number } {
  const scale = Math.min(
    maxScale,
    Math.sqrt(maxPixels / (points.width * points.height)),
    maxImageSide / Math.max(points.width, points.height),
  );
  const width = Math.max(1, Math.floor(points.width * scale));
  const height = Math.max(1, Math.floor(points.height * scale));
  // A side that was raised to one pixel may have brought the product over the limit.
  if (width > height) return { width: Math.min(width, Math.max(1, Math.floor(maxPixels / height))), height };
  return { width, height: Math.min(height, Math.max(1, Math.floor(maxPixels / width))) };
}

function rgbOf(heap: Uint8Array, from: number, pixels: number): Uint8Array {
  const rgb = new Uint8Array(pixels * 3);
  for (let at = from, to = 0; to < rgb.length; at += 4, to += 3) {
    rgb[to] = heap[at];
    rgb[to + 1] = heap[at + 1];
    rgb[to + 2] = heap[at + 2];
  }
  return rgb;
}

const passwordError = 4;
const securityError = 5;

function openError(errorCode: number, bytes: Uint8Array, file: string): GmeError {
  const name = printable(file);
  if (errorCode === passwordError || errorCode === securityError) {
    const what = errorCode === passwordError ? "needs a password" : "is encrypted in a way that cannot be read";
    return new GmeError("GME_PDF_ENCRYPTED", `${name}: ${what}`, {
      file,
      value: errorCode,
      expected: "a PDF without a password",
    });
  }
  if (latin1(bytes.subarray(-1024)).includes("%%EOF")) return corrupt(file, "its contents cannot be read");
  return new GmeError("GME_PDF_TRUNCATED", `${name}: the PDF ends too early, without %%EOF`, {
    file,
    expected: "%%EOF at the end",
  });
}

function corrupt(file: string, what: string, cause?: unknown): GmeError {
  return new GmeError("GME_PDF_CORRUPT", `${printable(file)}: the PDF is damaged, ${what}`, {
    file,
    expected: "a valid PDF",
    cause,
  });
}

function pageError(file: string, number: number, what: string, cause?: unknown): GmeError {
  return new GmeError("GME_PDF_CORRUPT", `${printable(file)}: page ${number} is damaged, ${what}`, {
    file,
    field: `page ${number}`,
    expected: "a page that can be drawn",
    cause,
  });
}

function tooLarge(file: string, what: string, value: number, limit: number): GmeError {
  return new GmeError("GME_PDF_TOO_LARGE", `${printable(file)}: ${value} ${what}, allowed are ${limit}`, {
    file,
    field: what,
    value,
    expected: `at most ${limit} ${what}`,
  });
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}
