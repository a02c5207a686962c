/** Every code a rejection can carry, with its one-line meaning. Codes are API; messages are not. docs/errors.md lists the same. */
export const errorCodes = {
  GME_INPUT_INVALID: "an input has the wrong type or shape, or is neither a text nor an image",
  GME_OPTION_INVALID: "an option is misspelt, of the wrong type, or out of range",
  GME_TEXT_TOO_LONG: "a text is over the limit of characters, or the item is over the model's limit of tokens",
  GME_IMAGE_FORMAT: "the bytes are not one of the picture formats that are read",
  GME_IMAGE_TRUNCATED: "the picture ends too early",
  GME_IMAGE_CORRUPT: "the picture cannot be decoded, or decodes to something other than its header says",
  GME_IMAGE_DIMENSIONS: "the picture's width or height is zero or not a possible size",
  GME_IMAGE_TOO_LARGE: "the picture has more pixels, a longer side, more bytes or more scans than allowed",
  GME_IMAGE_TIMEOUT: "decoding the picture took too long",
  GME_IMAGE_BACKEND_MISSING: "the package that decodes pictures (sharp) is not installed or does not load",
  GME_URL_FETCH_DISABLED: "the picture is an http(s) address, and those are fetched only with remoteImages",
  GME_URL_REFUSED:
    "the picture's address, or one it redirects to, is not an http(s) address of an allowed, public host",
  GME_URL_FETCH_FAILED:
    "the picture could not be fetched: name, connection, time, answer or encoding; errno and value say more",
  GME_IO_ERROR: "a file cannot be opened, read or written; errno says why",
  GME_DISK_FULL: "no space is left for the file being written",
  GME_TARGET_EXISTS: "the file to be written exists already, and overwriting was not asked for",
  GME_CHECKPOINT_BAD: "a JSON file of the checkpoint is missing, damaged, or lacks a field",
  GME_SAFETENSORS_BAD: "a .safetensors file is truncated, damaged, or contradicts itself",
  GME_CHANGED_WHILE_OPEN: "a file changed while it was being read, or a model file while it is mapped",
  GME_HASH_MISMATCH: "a file's contents do not have the expected sha256",
  GME_MODEL_NOT_FOUND: "no model of that name is in the store, or the hub has no such repository, revision or file",
  GME_DOWNLOAD_DENIED: "the hub wants a token, or the token's account has no right to read the repository",
  GME_DOWNLOAD_FAILED:
    "a download failed after retries, or the answer is not what was announced; value may hold the HTTP status",
  GME_GGUF_TRUNCATED: "the GGUF file ends before the data its header announces",
  GME_GGUF_BAD_MAGIC: "the file does not begin with GGUF",
  GME_GGUF_BAD_VERSION: "the GGUF version is not one that is read",
  GME_GGUF_ENDIAN: "the GGUF file is big-endian",
  GME_GGUF_LIMIT: "a count or size in the GGUF file is over its limit",
  GME_GGUF_BAD_VALUE: "a value in the GGUF file is not allowed",
  GME_GGUF_BAD_UTF8: "a string in the GGUF file is not valid UTF-8",
  GME_GGUF_DUP_KEY: "a key occurs twice in the GGUF file",
  GME_GGUF_BAD_TYPE: "the GGUF file uses an unknown value type",
  GME_GGUF_WRONG_TYPE: "a key of the GGUF file has another type than expected",
  GME_GGUF_MISSING_KEY: "a required key is absent from the GGUF file",
  GME_TENSOR_BOUNDS: "a tensor's data lies outside the file",
  GME_TENSOR_MISSING: "a tensor that the model needs is absent",
  GME_TENSOR_OFFSET: "a tensor's offset is not aligned or not in order",
  GME_TENSOR_BAD_NAME: "a tensor's name is empty, too long or not allowed",
  GME_TENSOR_DUP: "two tensors have the same name",
  GME_TENSOR_DIMS: "a tensor has too many dimensions or a dimension out of range",
  GME_TENSOR_OVERFLOW: "a tensor's size overflows",
  GME_TENSOR_SHAPE: "a tensor's shape does not fit the model's sizes",
  GME_TENSOR_TYPE: "a tensor's number type is not supported where it is used",
  GME_TENSOR_OVERLAP: "two tensors share bytes of the file",
  GME_MODEL_UNSUPPORTED: "the file holds another architecture or a variant that is not supported",
  GME_MODEL_MISMATCH: "the model is not the one that was expected",
  GME_MODEL_CLOSED: "the model has been closed",
  GME_MODEL_NO_VISION: "a picture was given to a model without a vision tower",
  GME_MMPROJ_MISMATCH: "the vision tower does not fit the decoder",
  GME_HPARAM_RANGE: "a size or number among the model's parameters is out of range",
  GME_TOKENIZER_BAD: "the tokenizer's data is incomplete or contradictory",
  GME_NON_FINITE: "a stage produced NaN or infinity",
  GME_PDF_TRUNCATED: "the PDF file is empty or ends too early",
  GME_PDF_CORRUPT: "the file is not a PDF, or it or one of its pages cannot be read as one",
  GME_PDF_ENCRYPTED: "the PDF file needs a password",
  GME_PDF_TOO_LARGE: "the PDF file has more bytes or pages than allowed",
  GME_PDF_BACKEND_MISSING: "the package that draws PDF pages (@hyzyla/pdfium) is not installed or does not load",
  GME_DOCUMENT_UNREADABLE:
    "a text, JSONL or CSV file cannot be read as what its name says: encoding, syntax or columns",
  GME_INDEX_LOCKED: "another process writes this index; value names its pid and host",
  GME_INDEX_NOT_FOUND: "there is no index at that place",
  GME_INDEX_PRUNE_REFUSED: "pruning would drop too many rows, or a folder that was indexed is missing",
  GME_TOO_MANY_FAILURES: "a run was stopped because more items failed than it was told to allow",
  GME_STORE_CORRUPT: "a file of the index is damaged or missing",
  GME_STORE_BACKEND_MISSING: "the package that stores the index (@lancedb/lancedb) is not installed for this platform",
  GME_DEVICE_UNAVAILABLE: "the device is not available in this build or on this machine",
  GME_OUT_OF_MEMORY: "memory ran out",
  GME_ABORTED: "the call was stopped by its AbortSignal",
  GME_ADDON_MISSING: "the native addon was not found or does not load",
  GME_ENGINE_CRASHED: "the engine's process ended during the call, or the call ended two of them and is refused",
  GME_REQUEST_UNREADABLE: "the request's body is not JSON, or not what its headers say",
  GME_KEY_REFUSED: "the server wants a key, and the request carries none or another one",
  GME_HOST_REFUSED: "the request names a host or an origin that this server does not answer for",
  GME_ROUTE_NOT_FOUND: "the server has nothing at this path",
  GME_METHOD_REFUSED: "the path exists, but not for this method",
  GME_BODY_TOO_LARGE: "the request's body has more bytes than allowed",
  GME_BODY_FORMAT: "the request's body is not plain JSON: another content type, or compressed",
  GME_QUEUE_FULL: "the server has as much waiting work as it may hold; try again later",
  GME_DEADLINE_EXCEEDED: "the request was not answered within its time",
  GME_SERVER_STOPPING: "the server is stopping and takes no new work",
  GME_ENGINE_RESTARTED:
    "the engine's process ended, or does not answer, and is started again; the request may be repeated",
  GME_ITEM_REFUSED: "the item ended the engine's process twice and is not tried again",
  GME_INTERNAL: "the engine met a condition that it does not expect: please report it",
} as const;

export type GmeErrorCode = keyof typeof errorCodes;

export interface GmeErrorDetails {
  /** Path as the caller gave it, or `<buffer>`. */
  file?: string;
  /** What is wrong inside the file or argument: `kv["general.alignment"]`, `image.width`, `options.treads`. */
  field?: string;
  /** Byte offset in the file. */
  offset?: number;
  /** What was found. */
  value?: string | number | bigint;
  /** What would be right. */
  expected?: string;
  /** Zero-based index of the offending item of a batch. */
  item?: number;
  /** `ENOENT`, `EACCES`, … of a file error. */
  errno?: string;
  cause?: unknown;
}

/** The one class of every rejection of this package. */
export class GmeError extends Error {
  readonly code: GmeErrorCode;
  declare readonly file?: string;
  declare readonly field?: string;
  declare readonly offset?: number;
  declare readonly value?: string | number | bigint;
  declare readonly expected?: string;
  declare readonly item?: number;
  declare readonly errno?: string;

  constructor(code: GmeErrorCode, message: string, details: GmeErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = code === "GME_ABORTED" ? "AbortError" : "GmeError";
    this.code = code;
    for (const key of detailKeys) {
      if (details[key] !== undefined) Object.defineProperty(this, key, { value: details[key], enumerable: true });
    }
  }

  /** The error as a GmeError: its own code and fields where it has them, else `fallback`. */
  static from(error: unknown, fallback: GmeErrorCode = "GME_ENGINE_CRASHED"): GmeError {
    if (error instanceof GmeError) return error;
    const source = (typeof error === "object" && error !== null ? error : {}) as Record<string, unknown>;
    const message = typeof source.message === "string" ? source.message : describe(error);
    if (!isErrorCode(source.code)) {
      return isErrno(source.code) ? ioError(error, undefined) : new GmeError(fallback, message, { cause: error });
    }
    const details: Record<string, unknown> = { cause: source.cause };
    for (const key of detailKeys) details[key] = source[key];
    if (source.field === "errno" && isErrno(source.value)) details.errno = source.value; // the engine's file errors
    const result = new GmeError(source.code, sentence(message, source), details as GmeErrorDetails);
    if (typeof source.stack === "string") result.stack = source.stack.replace(/^Error: /, "GmeError: ");
    return result;
  }

  /** The same error, naming the item of the batch that it belongs to. */
  forItem(item: number): GmeError {
    const details: Record<string, unknown> = { cause: this.cause };
    for (const key of detailKeys) details[key] = this[key];
    return new GmeError(this.code, `item ${item}: ${this.message}`, { ...(details as GmeErrorDetails), item });
  }
}

/** The engine's message with the file, the place and both values, as far as it does not name them itself. */
function sentence(message: string, { file, field, value, expected }: Record<string, unknown>): string {
  const parts = [
    [field, "at"],
    [value, "found"],
    [expected, "expected"],
  ].flatMap(([what, word]) =>
    what === undefined || message.includes(String(what)) ? [] : [`${word} ${describe(what)}`],
  );
  const name = typeof file === "string" && !message.includes(file) ? `${printable(file)}: ` : "";
  return `${name}${message}${parts.length > 0 ? ` (${parts.join(", ")})` : ""}`;
}

const detailKeys = ["file", "field", "offset", "value", "expected", "item", "errno"] as const;

function isErrorCode(code: unknown): code is GmeErrorCode {
  return typeof code === "string" && Object.hasOwn(errorCodes, code);
}

function isErrno(code: unknown): code is string {
  return typeof code === "string" && /^E[A-Z0-9]+$/.test(code);
}

/** A failed file operation: GME_DISK_FULL for a full disk, else GME_IO_ERROR with errno. */
export function ioError(error: unknown, file: string | undefined): GmeError {
  const errno = (error as NodeJS.ErrnoException | undefined)?.code;
  const code = errno === "ENOSPC" || errno === "EDQUOT" ? "GME_DISK_FULL" : "GME_IO_ERROR";
  const reason = errno === "ENOENT" ? "no such file" : describe((error as Error | undefined)?.message ?? error);
  const name = file === undefined ? "" : `${printable(file)}: `;
  return new GmeError(code, `${name}${reason}`, { file, errno: isErrno(errno) ? errno : undefined, cause: error });
}

export function abortError(signal?: AbortSignal): GmeError {
  return new GmeError("GME_ABORTED", "the call was aborted", { cause: signal?.reason });
}

/** A value for a message or `value`: short, one line, without control or bidirectional characters. */
export function describe(value: unknown): string {
  if (typeof value === "string") return printable(value);
  if (typeof value === "function") return "a function";
  if (value === null || typeof value !== "object") return printable(String(value));
  try {
    if (Array.isArray(value)) return `an array of ${value.length}`;
    if (ArrayBuffer.isView(value))
      return `${Object.prototype.toString.call(value).slice(8, -1)} of ${value.byteLength} bytes`;
  } catch {
    // a revoked proxy, or a tag whose getter throws
  }
  return "an object";
}

export function printable(text: string): string {
  const short = text.length > 120 ? `${text.slice(0, 119)}…` : text;
  return short.replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, (c) => `\\u{${c.codePointAt(0)?.toString(16)}}`);
}

/** One sentence form for bad arguments: what was expected, for which name, what came, of which type. */
export function badArgument(
  code: "GME_INPUT_INVALID" | "GME_OPTION_INVALID",
  field: string,
  expected: string,
  value: unknown,
): GmeError {
  const type = value === null ? "null" : typeof value;
  const shown = typeof value === "number" || typeof value === "bigint" ? value : describe(value);
  const article = value === undefined || value === null ? describe(value) : `${describe(value)} (${type})`;
  return new GmeError(code, `expected ${expected} for ${field}, got ${article}`, { field, value: shown, expected });
}

/** What `read` returns. Getters and proxies are the caller's code: whatever that throws becomes a GmeError that names the field. */
export function readFromCaller<T>(code: "GME_INPUT_INVALID" | "GME_OPTION_INVALID", field: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    if (isGmeError(thrown)) throw thrown;
    throw new GmeError(code, `${field} cannot be read: one of its properties threw`, {
      field,
      expected: "properties that can be read",
      cause: thrown,
    });
  }
}

/** Even `instanceof` runs the caller's code when a proxy was thrown. */
function isGmeError(thrown: unknown): thrown is GmeError {
  try {
    return thrown instanceof GmeError;
  } catch {
    return false;
  }
}
