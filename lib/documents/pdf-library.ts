import { readFile } from "node:fs/promises";
import type { PDFiumModule } from "@hyzyla/pdfium" with { "resolution-mode": "import" };
import { GmeError } from "../errors";

/** PDFium's functions as the package exports them; more than its declarations name. */
export type Pdfium = Awaited<ReturnType<typeof PDFiumModule>> & {
  _FPDF_SetFormFieldHighlightAlpha(form: number, alpha: number): void;
};

/** What is used of it: the declarations for Node have none, and those for browsers would bring all else of theirs. */
declare const WebAssembly: {
  compile(code: Uint8Array): Promise<object>;
  Instance: new (module: object, imports: WasmImports) => object;
};

interface WasmImports {
  readonly env: { readonly emscripten_resize_heap: (bytes: number) => boolean };
}

/** Beyond this much memory an instance is not used for another document: WebAssembly memory never shrinks. */
const maxIdleBytes = 128 * 1024 * 1024;

/** Of an instance, beside the bytes of the document: a page that needs more is not drawn. */
const maxWorkBytes = 768 * 1024 * 1024;

const configVersion = 2;
const formVersion = 2;
const formInfoBytes = 256;
const configBytes = 20;

/** What a call of PDFium ended with when it did not return: its memory is then not to be trusted any more. */
export class PdfLibraryCrash extends Error {}

/** An open document of one instance. */
export interface PdfHandles {
  readonly document: number;
  readonly form: number;
  /** Addresses that are freed with it. */
  readonly memory: readonly number[];
}

/** One instance of PDFium. All its calls are synchronous; handles are addresses in its memory. */
export class PdfLibrary {
  private documents = 0;
  private maxBytes = maxWorkBytes;
  /** Undefined after a crash, so that its memory can go. */
  private pdfium: Pdfium | undefined;

  /** Rejects with GME_PDF_BACKEND_MISSING. */
  static async load(): Promise<PdfLibrary> {
    try {
      const library = new PdfLibrary();
      library.pdfium = await library.instantiate();
      return library;
    } catch (error) {
      throw new GmeError(
        "GME_PDF_BACKEND_MISSING",
        "@hyzyla/pdfium, which draws PDF pages, does not load; install it with: npm install @hyzyla/pdfium@2.1.13",
        { expected: "the package @hyzyla/pdfium", cause: error },
      );
    }
  }

  private async instantiate(): Promise<Pdfium> {
    const { PDFiumModule } = await import("@hyzyla/pdfium");
    const code = await WebAssembly.compile(await readFile(require.resolve("@hyzyla/pdfium/pdfium.wasm")));
    const instantiateWasm = ({ env, ...others }: WasmImports, done: (instance: object) => object) => {
      const grow = (bytes: number) => bytes >>> 0 <= this.maxBytes && env.emscripten_resize_heap(bytes);
      return done(new WebAssembly.Instance(code, { ...others, env: { ...env, emscripten_resize_heap: grow } }));
    };
    // Emscripten writes what it aborts with to the console; the error says it as well.
    const options = { instantiateWasm, print: () => undefined, printErr: () => undefined };
    const pdfium = (await PDFiumModule(options as unknown as Parameters<typeof PDFiumModule>[0])) as Pdfium;
    const config = pdfium.wasmExports.malloc(configBytes);
    pdfium.HEAPU8.fill(0, config, config + configBytes);
    pdfium.HEAPU8[config] = configVersion;
    pdfium._FPDF_InitLibraryWithConfig(config as unknown as object);
    pdfium.wasmExports.free(config);
    return pdfium;
  }

  get isUsable(): boolean {
    return this.pdfium !== undefined;
  }

  /** No document is open and the memory has grown large. */
  get isOutgrown(): boolean {
    return this.documents === 0 && this.memoryBytes > maxIdleBytes;
  }

  get memoryBytes(): number {
    return this.pdfium?.HEAPU8.buffer.byteLength ?? 0;
  }

  /** Calls PDFium; whatever it throws is a crash, after which the instance is not usable. */
  call<T>(work: (pdfium: Pdfium) => T): T {
    if (this.pdfium === undefined) throw new PdfLibraryCrash("PDFium stopped before");
    try {
      return work(this.pdfium);
    } catch (error) {
      if (error instanceof GmeError) throw error;
      this.pdfium = undefined;
      throw new PdfLibraryCrash(error instanceof Error ? error.message.split("\n")[0] : String(error), {
        cause: error,
      });
    }
  }

  /** An open document, or PDFium's error code. */
  open(bytes: Uint8Array): PdfHandles | { errorCode: number } {
    return this.call((pdfium) => {
      this.maxBytes = Math.max(this.maxBytes, bytes.length + maxWorkBytes);
      const contents = allocate(pdfium, bytes.length);
      pdfium.HEAPU8.set(bytes, contents);
      const document = pdfium._FPDF_LoadMemDocument(contents, bytes.length, 0);
      if (document === 0) {
        const errorCode = pdfium._FPDF_GetLastError();
        pdfium.wasmExports.free(contents);
        return { errorCode };
      }
      const info = allocate(pdfium, formInfoBytes);
      pdfium.HEAPU8.fill(0, info, info + formInfoBytes);
      pdfium.HEAPU8[info] = formVersion;
      const form = pdfium._FPDFDOC_InitFormFillEnvironment(document, info);
      if (form !== 0) pdfium._FPDF_SetFormFieldHighlightAlpha(form, 0);
      this.documents++;
      return { document, form, memory: [contents, info] };
    });
  }

  close({ document, form, memory }: PdfHandles): void {
    this.documents--;
    this.call((pdfium) => {
      if (form !== 0) pdfium._FPDFDOC_ExitFormFillEnvironment(form);
      pdfium._FPDF_CloseDocument(document);
      for (const address of memory) pdfium.wasmExports.free(address);
    });
  }
}

/** Memory of PDFium's; throws GME_OUT_OF_MEMORY. */
export function allocate(pdfium: Pdfium, bytes: number): number {
  const memory = pdfium.wasmExports.malloc(bytes);
  if (memory === 0)
    throw new GmeError("GME_OUT_OF_MEMORY", `PDFium has no memory for ${bytes} bytes`, { value: bytes });
  return memory;
}

let current: Promise<PdfLibrary> | undefined;

/** The instance that is in use; another one after a crash or when its memory has grown large. Rejects with GME_PDF_BACKEND_MISSING. */
export async function pdfLibrary(): Promise<PdfLibrary> {
  for (;;) {
    current ??= PdfLibrary.load();
    const loading = current;
    try {
      const library = await loading;
      if (library.isUsable && !library.isOutgrown) return library;
    } catch (error) {
      if (current === loading) current = undefined;
      throw error;
    }
    if (current === loading) current = undefined;
  }
}
