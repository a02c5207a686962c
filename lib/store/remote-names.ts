import { GmeError, printable } from "../errors";

const maxPathLength = 1024;
const maxDepth = 8;
/** Names that Windows gives to devices, whatever their extension. */
const deviceName = /^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)/i;

/** A file's path within a repository, fit to become a path here: relative, with no `..`, no backslash, nothing a file system reads otherwise. */
export function checkRemotePath(path: unknown, field: string): string {
  const parts = typeof path === "string" ? path.split("/") : [];
  const isFine =
    typeof path === "string" && path.length <= maxPathLength && parts.length <= maxDepth && parts.every(isPlainName);
  if (isFine) return path;
  throw refusedName(field, path, "a relative path without .., backslash or control characters");
}

function isPlainName(name: string): boolean {
  if (name === "" || name === "." || name === ".." || Buffer.byteLength(name) > 255) return false;
  return !/[\\:*?"<>|\p{Cc}\p{Cf}\p{Cs}]|[ .]$|^ /u.test(name) && !deviceName.test(name);
}

/** `org/name` as the hub allows it; two dashes or dots in a row are not allowed, so its folder's name is its own. */
export function checkRepository(repository: string): string {
  const part = "[A-Za-z0-9_][A-Za-z0-9._-]{0,95}";
  const isFine = new RegExp(`^${part}/${part}$`).test(repository) && !/--|\.\.|[.-](\/|$)|\.git$/.test(repository);
  if (isFine) return repository;
  throw new GmeError("GME_OPTION_INVALID", `${printable(repository)}: not a repository's name`, {
    field: "repository",
    value: printable(repository),
    expected: "org/name",
  });
}

/** A branch, tag or commit. */
export function checkRevision(revision: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._/-]{0,254}$/.test(revision) && !/\.\.|\/\/|[/.]$|\.lock$/.test(revision))
    return checkRemotePath(revision, "revision");
  throw new GmeError("GME_OPTION_INVALID", `${printable(revision)}: not a revision`, {
    field: "revision",
    value: printable(revision),
    expected: "a branch, a tag or a commit",
  });
}

/** The name of a model in the store: one plain word. */
export function isModelName(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name) && isPlainName(name);
}

function refusedName(field: string, value: unknown, expected: string): GmeError {
  const shown = printable(String(value));
  return new GmeError("GME_DOWNLOAD_FAILED", `the hub names a file ${JSON.stringify(shown)}; expected ${expected}`, {
    field,
    value: shown,
    expected,
  });
}
