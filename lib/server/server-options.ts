import { GmeError, type GmeModel, version } from "../index";
import type { GmeIndex } from "../index-store/index";
import type { ServedModel } from "./service/embed-service";

export interface ServerOptions {
  /** Loaded, best with `isolate: true`: what crashes the engine then costs the requests that were with it. The server does not close it. */
  model: GmeModel | ServedModel;
  /** Opened read-only and without a model: adds /search, thumbnails and the search page. The server does not close it. */
  index?: GmeIndex;
  /** Keys that a request must have one of, as `Authorization: Bearer`. Absent: none is asked for. */
  apiKeys?: readonly string[];
  /** Names beside the bound ones that a `Host` header may have, each with or without a port. */
  allowHosts?: readonly string[];
  /** Origins of other pages that may call the server: `https://app.example.org`. */
  allowOrigins?: readonly string[];
  /** Names beside the model's own that `model` may have in a request. */
  modelAliases?: readonly string[];
  /** Accept any `model`. Default false. */
  anyModel?: boolean;
  /** Instruction of queries that bring none. Default: the model's. */
  queryInstruction?: string;
  /** Fetch pictures at http(s) addresses: of any public host, or of these. Default false. */
  remoteImages?: boolean | readonly string[];
  /** Folder below which `file:` addresses and paths of pictures may lie. Absent: none is read. */
  mediaRoot?: string;
  /** Allow `dimensions` other than the model's own: cut and renormalised, at a loss. Default false. */
  allowTruncation?: boolean;
  /** Items per request. Default 256. */
  maxItems?: number;
  /** Pictures per request. Default 16. */
  maxImages?: number;
  /** Bytes of a body. Default 32 MiB. */
  bodyLimit?: number;
  /** Seconds that a request may have to wait for its turn, at the rate that is measured: beyond it GME_QUEUE_FULL. Default 30. */
  maxWait?: number;
  /** Seconds until a request that has no answer gets GME_DEADLINE_EXCEEDED. Default 120. */
  requestTimeout?: number;
  /** Seconds that what runs may take when the server stops. Default 30. */
  stopTimeout?: number;
  /** `debug`, `info` (one line per request, default), `warn`, `error`, `silent`. */
  logLevel?: LogLevel;
}

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** Where a server of its own listens. */
export interface ListenOptions {
  /** Default 127.0.0.1. Another one than loopback needs `apiKeys`. */
  host?: string;
  /** 0: any free one. Default 7410. */
  port?: number;
  /** A Unix socket's path instead of host and port. */
  socket?: string;
}

export const defaultPort = 7410;

const defaults = {
  ...{ apiKeys: [], allowHosts: [], allowOrigins: [], modelAliases: [], anyModel: false, remoteImages: false },
  ...{ allowTruncation: false, maxItems: 256, maxImages: 16, bodyLimit: 32 * 1024 * 1024, maxWait: 30 },
  ...{ requestTimeout: 120, stopTimeout: 30, logLevel: "info" },
} as const;

export type ReadServerOptions = ServerOptions & {
  readonly [name in keyof typeof defaults]-?: NonNullable<ServerOptions[name]>;
};

type Check = readonly [expected: string, holds: (value: unknown) => boolean];

const isTexts = (value: unknown) =>
  Array.isArray(value) && value.every((text) => typeof text === "string" && text !== "");
const texts: Check = ["an array of strings that are not empty", isTexts];
const text: Check = ["a string that is not empty", (value) => typeof value === "string" && value !== ""];
const flag: Check = ["true or false", (value) => typeof value === "boolean"];
const integer = (min: number, max: number): Check => [
  `an integer from ${min} to ${max}`,
  (value) => Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max,
];
const seconds: Check = [
  "seconds from 0.1 to 86400",
  (value) => typeof value === "number" && value >= 0.1 && value <= 86_400,
];
const isObject = (value: unknown) => typeof value === "object" && value !== null;

const serverChecks: { readonly [name in keyof ServerOptions]-?: Check } = {
  model: ["a loaded model", isObject],
  index: ["an open index", isObject],
  ...{ apiKeys: texts, allowHosts: texts, allowOrigins: texts, modelAliases: texts },
  ...{ anyModel: flag, allowTruncation: flag, queryInstruction: text, mediaRoot: text },
  remoteImages: ["true, false or an array of host names", (value) => typeof value === "boolean" || isTexts(value)],
  maxItems: integer(1, 65_536),
  maxImages: integer(0, 4_096),
  bodyLimit: integer(1_024, 2 ** 30),
  ...{ maxWait: seconds, requestTimeout: seconds, stopTimeout: seconds },
  logLevel: [logLevels.join(", "), (value) => logLevels.includes(value as LogLevel)],
};

const listenChecks: { readonly [name in keyof ListenOptions]-?: Check } = {
  host: text,
  port: integer(0, 65_535),
  socket: text,
};

/** The options with their defaults. Throws GME_OPTION_INVALID, naming the one that is wrong or not known. */
export function readServerOptions(given: ServerOptions): ReadServerOptions {
  const read = readChecked(serverChecks, given);
  if (read.model === undefined) throw invalid("model", "a loaded model", undefined);
  return { ...defaults, ...read } as ReadServerOptions;
}

export function readListenOptions(given: ListenOptions): ListenOptions {
  return readChecked(listenChecks, given);
}

/** Which of the names are listening's and which the server's: startServer takes both in one object. */
export function splitOptions(given: ServerOptions & ListenOptions): { server: ServerOptions; listen: ListenOptions } {
  if (!isObject(given)) throw invalid("", "an object", given);
  const isListening = ([name]: [string, unknown]) => Object.hasOwn(listenChecks, name);
  const entries = Object.entries(given);
  return {
    server: Object.fromEntries(entries.filter((entry) => !isListening(entry))) as unknown as ServerOptions,
    listen: Object.fromEntries(entries.filter(isListening)),
  };
}

function readChecked<T extends object>(checks: { readonly [name: string]: Check }, given: T): T {
  if (!isObject(given)) throw invalid("", "an object", given);
  const read: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(checks, name)) throw invalid(name, `one of ${Object.keys(checks).join(", ")}`, name);
    const [expected, holds] = checks[name];
    if (!holds(value)) throw invalid(name, expected, value);
    read[name] = value;
  }
  return read as T;
}

function invalid(name: string, expected: string, value: unknown): GmeError {
  const field = name === "" ? "options" : `options.${name}`;
  const isShown = name !== "apiKeys" && (typeof value === "string" || typeof value === "number");
  return new GmeError("GME_OPTION_INVALID", `${field}: ${expected} expected`, {
    field,
    expected,
    ...(isShown && { value }),
  });
}

/** `gme-embed/0.1.0`: what the server calls itself. */
export const serverName = `gme-embed/${version}`;
