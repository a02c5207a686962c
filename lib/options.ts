import { AsyncLocalStorage } from "node:async_hooks";
import { checkDevices, type DeviceChoice } from "./device-names";
import { badArgument, GmeError, printable, readFromCaller } from "./errors";
import { readHostRules } from "./remote-url";

/** One option: its name, type, default and meaning. Checks, help and command-line flags are made from these tables. */
export interface OptionSpec {
  readonly name: string;
  readonly kind: "boolean" | "integer" | "string" | "choice" | "hosts" | "devices" | "function" | "signal";
  /** What holds when the option is absent; no entry: the file or the machine decides, as `help` says. */
  readonly default?: boolean | number | string;
  readonly choices?: readonly string[];
  readonly min?: number;
  readonly max?: number;
  readonly help: string;
  /** Word that stands for the value in help: `<F>`. */
  readonly placeholder?: string;
  /** false: for programs; no command has a flag for it. */
  readonly isFlag?: false;
  /** A check beyond the type; throws. */
  readonly check?: (value: unknown) => void;
}

export const maxThreads = 512;

export type Positions = "sequential" | "mrope";
export type Orientation = "exif" | "ignore";
export type Overflow = "error" | "truncate" | "reference";
export type SpecialTokens = "text" | "parse";

export interface ImageOptions {
  /** Fewest and most image tokens of a picture; the file's, else 256 and 1280. One token is 28×28 pixels. */
  minImageTokens?: number;
  maxImageTokens?: number;
  /** The first of the two resizes; false for models tuned with a single one. Default: the file's, else true. */
  loaderResize?: boolean;
  /** `exif` turns the picture upright; `ignore` is what the reference does. Default `exif`. */
  orientation?: Orientation;
  /** Pictures with more pixels are refused from their header. Default 64e6. */
  maxImagePixels?: number;
}

export interface LoadOptions extends ImageOptions {
  /** Path of the vision tower's file; else the model's own tower, else `mmproj-*.gguf` beside it. */
  mmproj?: string;
  /**
   * `auto` (default): the device with the most free memory that holds the model, else the processor. `cpu`, `cuda`, `vulkan:1`, …: this one
   * or GME_DEVICE_UNAVAILABLE; `gme doctor` lists them. `all`, or several as an array or with commas: an engine per device, each in a
   * child process, which share the work.
   */
  device?: DeviceChoice;
  /** 1…512 of each engine, then limited to the CPUs. Default: physical cores, shared by the engines. */
  threads?: number;
  /** Map the weights (default) or read them into owned memory. */
  mmap?: boolean;
  /**
   * The engine in a child process, with the same API: a crash rejects the calls that were with it (GME_ENGINE_CRASHED), and a
   * new process takes over. Default false.
   */
  isolate?: boolean;
  /** Default: the file's `gme.positions`, else `sequential`. */
  positions?: Positions;
  /** Longest item in tokens; the file's context length by default. */
  maxTokens?: number;
  /**
   * Fetch pictures at http(s) addresses: `true` from any public host, a list from these hosts (`name` or `name:port`).
   * Never from a private, local or reserved address; no proxy. Default false.
   */
  remoteImages?: boolean | readonly string[];
  /** 0…1 while the model loads. */
  onProgress?: (fraction: number) => void;
  signal?: AbortSignal;
}

export interface EmbedProgress {
  done: number;
  /** Absent while a stream's length is not known. */
  total?: number;
  failed: number;
}

export interface EmbedOptions {
  /** System text of a query, used verbatim; the model's default when absent. An item's `prompt` goes before it. */
  instruction?: string;
  /** false: a document; the default instruction is used whatever else is given. Default true. */
  isQuery?: boolean;
  signal?: AbortSignal;
  /** What happens to an item over the token limit. Default `error`. */
  overflow?: Overflow;
  /** `text` (default): special strings in texts are plain text; `parse`: control tokens, as the reference does. */
  specialTokens?: SpecialTokens;
  /** Cut to this length and renormalise; other than the model's own only with `allowTruncation`. */
  dimensions?: number;
  allowTruncation?: boolean;
  /** Items that the engine takes at a time, fewer where they are pictures. Default 64. */
  batchSize?: number;
  /** embedMany: results with the tokens of their items. Default false. */
  countTokens?: boolean;
  /**
   * For callers who make the batches themselves: what embedMany takes at a time goes to one engine of an isolated model, and the stream
   * rejects with GME_ENGINE_CRASHED when that engine's process ends. Default false: several engines share it, and what was computed when
   * a process ended goes again, in ever smaller groups.
   */
  keepTogether?: boolean;
  onProgress?: (progress: EmbedProgress) => void;
}

export const imageOptions: readonly OptionSpec[] = [
  {
    name: "loaderResize",
    kind: "boolean",
    help: "the first of the two resizes; off for models tuned with a single one (default: the file's, else on)",
  },
  {
    name: "minImageTokens",
    kind: "integer",
    min: 1,
    max: 16384,
    help: "fewest image tokens of a picture (default: the file's, else 256)",
  },
  {
    name: "maxImageTokens",
    kind: "integer",
    min: 1,
    max: 16384,
    help: "most image tokens of a picture (default: the file's, else 1280)",
  },
  {
    name: "orientation",
    kind: "choice",
    choices: ["exif", "ignore"],
    default: "exif",
    help: "turn pictures upright, or ignore their EXIF orientation as the reference does",
  },
  {
    name: "maxImagePixels",
    kind: "integer",
    min: 1,
    max: 1 << 30,
    default: 64e6,
    help: "refuse pictures with more pixels",
  },
];

export const loadOptions: readonly OptionSpec[] = [
  {
    name: "mmproj",
    kind: "string",
    placeholder: "F",
    help: "file of the vision tower (default: the model's own, else mmproj-*.gguf beside it)",
  },
  {
    name: "device",
    kind: "devices",
    default: "auto",
    placeholder: "D",
    help: "auto, cpu, a device that gme doctor lists, several with commas, or all: every graphics card",
    check: checkDevices,
  },
  {
    name: "threads",
    kind: "integer",
    min: 1,
    max: maxThreads,
    help: "threads, limited to the CPUs; of each engine where there are several (default: physical cores, shared by them)",
  },
  { name: "mmap", kind: "boolean", default: true, help: "map the weights instead of reading them into memory" },
  {
    name: "isolate",
    kind: "boolean",
    default: false,
    help: "run the engine in a child process: what crashes it costs the calls that were with it, not this process",
  },
  {
    name: "positions",
    kind: "choice",
    choices: ["sequential", "mrope"],
    help: "decoder positions (default: the file's, else sequential)",
  },
  {
    name: "maxTokens",
    kind: "integer",
    min: 1,
    max: 1 << 20,
    help: "longest item in tokens (default: the file's context length)",
  },
  ...imageOptions,
  {
    name: "remoteImages",
    kind: "hosts",
    default: false,
    help: "fetch pictures at http(s) addresses: of any public host, or only of those named (name or name:port)",
    check: (value) => void readHostRules(value),
  },
  { name: "onProgress", kind: "function", help: "called with 0…1 while the model loads" },
  { name: "signal", kind: "signal", help: "stops loading" },
];

export const embedOptions: readonly OptionSpec[] = [
  { name: "instruction", kind: "string", placeholder: "T", help: "system text of a query (default: the model's)" },
  {
    name: "isQuery",
    kind: "boolean",
    default: true,
    help: "off: a document, which always has the default instruction",
  },
  {
    name: "overflow",
    kind: "choice",
    choices: ["error", "truncate", "reference"],
    default: "error",
    help: "items over the token limit: refuse, cut the text, or cut from the right as the reference does",
  },
  {
    name: "specialTokens",
    kind: "choice",
    choices: ["text", "parse"],
    default: "text",
    help: "special strings in texts: plain text, or control tokens as in the reference",
  },
  {
    name: "dimensions",
    kind: "integer",
    min: 1,
    max: 1 << 20,
    help: "cut the vector to this length (needs allowTruncation: GME is not a Matryoshka model)",
  },
  { name: "allowTruncation", kind: "boolean", default: false, help: "allow dimensions other than the model's own" },
  { name: "batchSize", kind: "integer", min: 1, max: 1024, default: 64, help: "items that the engine takes at a time" },
  {
    name: "countTokens",
    kind: "boolean",
    default: false,
    help: "the tokens of each item with the results of a stream",
  },
  {
    name: "keepTogether",
    kind: "boolean",
    isFlag: false,
    help: "embedMany: a batch goes to one engine, and is not tried again after a crash",
  },
  { name: "onProgress", kind: "function", help: "called with { done, total, failed }" },
  { name: "signal", kind: "signal", help: "stops the call" },
];

/** Options as `readOptions` returns them, the tables' defaults filled in. */
export type ReadImageOptions = ImageOptions & Required<Pick<ImageOptions, "orientation" | "maxImagePixels">>;
export type ReadLoadOptions = LoadOptions & ReadImageOptions & Required<Pick<LoadOptions, "mmap" | "device">>;
export type ReadEmbedOptions = EmbedOptions &
  Required<Pick<EmbedOptions, "isQuery" | "overflow" | "specialTokens" | "batchSize">>;

/**
 * Checks the options against a table and returns a plain copy with the defaults filled in. Each property is read once. Callbacks keep the
 * async context of the call, which a thread of the engine's would lose.
 */
export function readOptions<T extends object>(
  table: readonly OptionSpec[],
  given: unknown,
): T & Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const spec of table) if (spec.default !== undefined) result[spec.name] = spec.default;
  if (given === undefined) return result as T & Record<string, unknown>;
  readFromCaller("GME_OPTION_INVALID", "options", () => readGiven(table, given, result));
  return result as T & Record<string, unknown>;
}

function readGiven(table: readonly OptionSpec[], given: unknown, result: Record<string, unknown>): void {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw badArgument("GME_OPTION_INVALID", "options", "an object", given);
  }
  const specs = new Map(table.map((spec) => [spec.name, spec]));
  for (const name of Object.keys(given)) {
    const spec = specs.get(name);
    if (spec === undefined)
      throw unknownName("GME_OPTION_INVALID", "option", `options.${name}`, name, [...specs.keys()]);
    const found = (given as Record<string, unknown>)[name];
    if (found === undefined) continue;
    const value = spec.kind === "devices" && Array.isArray(found) ? [...found] : found; // what is checked is what is used
    checkOption(spec, value);
    result[name] = spec.kind === "function" ? AsyncLocalStorage.bind(value as () => unknown) : value;
  }
}

function checkOption(spec: OptionSpec, value: unknown): void {
  const expected = expectation(spec);
  if (!matches(spec, value)) throw badArgument("GME_OPTION_INVALID", `options.${spec.name}`, expected, value);
  spec.check?.(value);
}

function matches(spec: OptionSpec, value: unknown): boolean {
  switch (spec.kind) {
    case "boolean":
      return typeof value === "boolean";
    case "integer":
      return (
        Number.isSafeInteger(value) &&
        (value as number) >= (spec.min ?? 0) &&
        (value as number) <= (spec.max ?? Infinity)
      );
    case "string":
      return typeof value === "string";
    case "choice":
      return typeof value === "string" && (spec.choices ?? []).includes(value);
    case "function":
      return typeof value === "function";
    case "hosts":
      return typeof value === "boolean" || Array.isArray(value);
    case "devices":
      return typeof value === "string" || Array.isArray(value);
    case "signal":
      return value instanceof AbortSignal;
  }
}

/** `an integer from 1 to 512`, `"exif" or "ignore"`, … */
export function expectation(spec: OptionSpec): string {
  switch (spec.kind) {
    case "boolean":
      return "true or false";
    case "integer":
      return `an integer from ${spec.min ?? 0} to ${spec.max ?? "2^53-1"}`;
    case "string":
      return "a string";
    case "choice":
      return (spec.choices ?? []).map((choice) => `"${choice}"`).join(" or ");
    case "function":
      return "a function";
    case "hosts":
      return "true, false or an array of host names";
    case "devices":
      return "a device's name or an array of names";
    case "signal":
      return "an AbortSignal";
  }
}

/** The error for a name that is not known, with the nearest one that is. */
export function unknownName(
  code: "GME_INPUT_INVALID" | "GME_OPTION_INVALID",
  noun: string,
  field: string,
  name: string,
  known: readonly string[],
): GmeError {
  const nearest = nearestName(name, known);
  const hint = nearest === undefined ? `known: ${known.join(", ")}` : `did you mean ${nearest}?`;
  const shown = printable(name.slice(0, 60));
  return new GmeError(code, `unknown ${noun} ${shown}; ${hint}`, {
    field: printable(field.slice(0, 80)),
    value: shown,
    expected: nearest ?? known.join(", "),
  });
}

export function nearestName(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(name.slice(0, 60).toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length];
}
