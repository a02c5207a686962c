import { GmeError, type GmeErrorCode, type GmeErrorDetails } from "../errors";

export interface WireError extends Omit<GmeErrorDetails, "cause"> {
  readonly code: GmeErrorCode;
  readonly message: string;
  readonly cause?: string;
}

/** A GmeError as a plain object: the structured clone of an Error loses its fields. Of its cause only the words cross. */
export function toWire({
  code,
  message,
  file,
  field,
  offset,
  value,
  expected,
  item,
  errno,
  cause,
}: GmeError): WireError {
  const words = cause === undefined ? undefined : cause instanceof Error ? cause.message : String(cause);
  return { code, message, file, field, offset, value, expected, item, errno, cause: words };
}

export function fromWire({ code, message, ...details }: WireError): GmeError {
  return new GmeError(code, message, details);
}
