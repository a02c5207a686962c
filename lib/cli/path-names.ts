import { pathJson } from "../index-store/index";

/**
 * The paths of a row in JSON. They are text without loss; those that are not UTF-8 on the disk stand beside it as base64
 * of their bytes (null in `pathsBase64` where the text is enough).
 */
export function pathNames({ path, paths }: { path: string; paths: readonly string[] }): Record<string, unknown> {
  const bytes = paths.map((other) => pathJson(other).pathBase64 ?? null);
  const names = { ...pathJson(path), paths };
  return bytes.some((base64) => base64 !== null) ? { ...names, pathsBase64: bytes } : names;
}
