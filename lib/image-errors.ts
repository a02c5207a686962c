import { GmeError, printable } from "./errors";

/** The picture ends before its format says it does. `file` is shown as it is: pass it printable. */
export function truncated(file: string, reason: string, cause?: unknown): GmeError {
  return new GmeError("GME_IMAGE_TRUNCATED", `${file}: ${reason}`, {
    file,
    field: "image",
    expected: "a whole picture",
    cause,
  });
}

export function corrupt(file: string, reason: string, cause?: unknown): GmeError {
  return new GmeError("GME_IMAGE_CORRUPT", `${file}: ${reason}`, {
    file,
    field: "image",
    expected: "a picture that decodes without warnings",
    cause,
  });
}

/** The format, or this kind of it, is not read. */
export function badFormat(file: string, found: string, expected: string, cause?: unknown): GmeError {
  return new GmeError("GME_IMAGE_FORMAT", `${file}: ${found}`, {
    file,
    field: "image",
    value: printable(found),
    expected,
    cause,
  });
}

/** No side is zero, and none so long that a reader's own arithmetic may fail on it. */
export function checkPossibleSides(width: number, height: number, file: string): void {
  for (const [name, side] of [
    ["width", width],
    ["height", height],
  ] as const) {
    if (side > 0 && side < 2 ** 31 - 1) continue;
    throw new GmeError("GME_IMAGE_DIMENSIONS", `${file}: ${name} ${side}`, {
      file,
      field: `image.${name}`,
      value: side,
      expected: "a positive size",
    });
  }
}
