import { badArgument, GmeError, printable } from "../errors";
import { type ConvertType, convertTypes } from "../convert";
import { type KnownModel, knownModel, knownRepository } from "./known-models";
import { checkRemotePath, checkRepository, checkRevision, isModelName } from "./remote-names";

export interface PullProgress {
  readonly step: "download" | "convert";
  /** Bytes; of a download those of all files together. */
  readonly done: number;
  readonly total: number;
}

export interface PullOptions {
  /** `gme-2b`, `gme-7b`, `org/repository` or `org/repository:file.gguf`. */
  readonly model: string;
  /** Type of a conversion (default: f16); among several GGUF files the one whose name has it. */
  readonly type?: ConvertType;
  /** The vision tower's file in the repository, where several could be meant. */
  readonly mmproj?: string;
  /** Branch, tag or commit (default: main). */
  readonly revision?: string;
  /** Name in the store (default: the known model's, else the repository's, else the file's without its extension). */
  readonly name?: string;
  /** The sha256 that a single file must have. */
  readonly sha256?: string;
  readonly onProgress?: (progress: PullProgress) => void;
  /** One line for whoever waits: another process is at it, another try is made. */
  readonly onNote?: (note: string) => void;
  readonly signal?: AbortSignal;
}

/** What a call to pull comes down to. */
export interface PullRequest {
  readonly name: string;
  readonly repository: string;
  readonly revision: string;
  readonly file?: string;
  readonly mmproj?: string;
  readonly type?: ConvertType;
  readonly sha256?: string;
  readonly known?: KnownModel;
}

const optionNames = ["model", "type", "mmproj", "revision", "name", "sha256", "onProgress", "onNote", "signal"];

export function readPullOptions(options: PullOptions): PullRequest {
  if (typeof options !== "object" || options === null)
    throw badArgument("GME_INPUT_INVALID", "options", "an object", options);
  for (const key of Object.keys(options)) {
    if (!optionNames.includes(key))
      throw badArgument("GME_OPTION_INVALID", `options.${key}`, `one of ${optionNames.join(", ")}`, key);
  }
  for (const key of ["model", "mmproj", "revision", "name", "sha256"] as const) {
    if (options[key] !== undefined && typeof options[key] !== "string")
      throw badArgument("GME_OPTION_INVALID", `options.${key}`, "a string", options[key]);
  }
  const { type, sha256, signal } = options;
  if (type !== undefined && !convertTypes.includes(type))
    throw badArgument("GME_OPTION_INVALID", "options.type", convertTypes.join(", "), type);
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/.test(sha256))
    throw badArgument("GME_OPTION_INVALID", "options.sha256", "64 lower-case hex digits", sha256);
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw badArgument("GME_OPTION_INVALID", "options.signal", "an AbortSignal", signal);
  const target = readTarget(options.model);
  const { file, known } = target;
  if (sha256 !== undefined && file === undefined)
    throw badArgument("GME_OPTION_INVALID", "options.sha256", "org/repository:file with it", options.model);
  return {
    ...target,
    name: readName(options.name, target),
    revision: checkRevision(options.revision ?? known?.revision ?? "main"),
    mmproj: options.mmproj === undefined ? undefined : ggufPath(options.mmproj, "options.mmproj"),
    type,
    sha256,
  };
}

type Target = Pick<PullRequest, "repository" | "file" | "known">;

function readTarget(model: string): Target {
  const known = knownModel(model);
  if (known !== undefined) return { known, repository: known.repository };
  const [repository, file, ...rest] = model.split(":");
  if (!repository.includes("/") || rest.length > 0) {
    const expected = "gme-2b, gme-7b, org/repository or org/repository:file.gguf";
    throw badArgument("GME_OPTION_INVALID", "options.model", expected, model);
  }
  checkRepository(repository);
  if (file !== undefined) return { repository, file: ggufPath(file, "options.model") };
  const same = knownRepository(repository);
  return { repository: same?.repository ?? repository, known: same };
}

function ggufPath(path: string, field: string): string {
  if (!path.endsWith(".gguf")) throw badArgument("GME_OPTION_INVALID", field, "a file that ends in .gguf", path);
  try {
    return checkRemotePath(path, field);
  } catch (cause) {
    throw new GmeError("GME_OPTION_INVALID", `${field} ${printable(path)}: not a file's path in a repository`, {
      field,
      value: printable(path),
      cause,
    });
  }
}

function readName(given: string | undefined, { known, file, repository }: Target): string {
  const stem = (path: string) => path.slice(path.lastIndexOf("/") + 1).replace(/\.gguf$/, "");
  const name = given ?? known?.name ?? stem(file ?? repository).toLowerCase();
  if (!isModelName(name))
    throw badArgument("GME_OPTION_INVALID", "options.name", "one word of letters, digits, . _ -", name);
  if (knownModel(name) !== undefined && knownModel(name) !== known)
    throw badArgument("GME_OPTION_INVALID", "options.name", `a name other than the known model's ${name}`, name);
  return name;
}
