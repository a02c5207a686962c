import type { FastifyError } from "fastify";
import { GmeError, type GmeErrorCode } from "../index";

/** Fastify's own refusals, before a dialect has seen the body. */
const codeOf: { readonly [code: string]: GmeErrorCode } = {
  FST_ERR_CTP_BODY_TOO_LARGE: "GME_BODY_TOO_LARGE",
  FST_ERR_CTP_INVALID_MEDIA_TYPE: "GME_BODY_FORMAT",
  FST_ERR_CTP_INVALID_TYPE: "GME_BODY_FORMAT",
  FST_ERR_CTP_EMPTY_TYPE: "GME_BODY_FORMAT",
  FST_ERR_REOPENED_CLOSE_SERVER: "GME_SERVER_STOPPING",
  FST_ERR_REOPENED_SERVER: "GME_SERVER_STOPPING",
  FST_ERR_BAD_URL: "GME_ROUTE_NOT_FOUND",
};

/**
 * Whatever a handler threw, as a GmeError that may be shown: of an error that is neither the library's nor fastify's the client learns
 * nothing but that it happened.
 */
export function requestError(error: unknown): GmeError {
  if (error instanceof GmeError) return error;
  const { code, message, validation, statusCode } = error as Partial<FastifyError>;
  if (validation !== undefined) return validationError(error as FastifyError);
  const known = typeof code === "string" ? codeOf[code] : undefined;
  if (known !== undefined) return new GmeError(known, message ?? known, { cause: error });
  if (typeof code === "string" && code.startsWith("FST_ERR_CTP_"))
    return new GmeError("GME_REQUEST_UNREADABLE", "the body is not JSON", { field: "body", cause: error });
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return new GmeError("GME_REQUEST_UNREADABLE", "the request cannot be read", { field: "request", cause: error });
  return new GmeError("GME_INTERNAL", "the server met a condition that it does not expect", { cause: error });
}

/** The first thing that the schema found wrong, by the place in the body. */
function validationError({ validation = [], validationContext }: FastifyError): GmeError {
  const [{ instancePath, keyword, message, params }] = validation;
  const parent = instancePath.slice(1).replace(/\/(\d+)/g, "[$1]").replaceAll("/", ".");
  const added = keyword === "additionalProperties" ? String(params.additionalProperty).slice(0, 60) : undefined;
  const missing = keyword === "required" ? String(params.missingProperty) : undefined;
  const field = [parent, added ?? missing].filter((part) => part !== undefined && part !== "").join(".");
  const words = added !== undefined ? "is not a known field" : missing !== undefined ? "is missing" : message;
  return new GmeError("GME_INPUT_INVALID", `${field || validationContext || "body"} ${words}`, {
    field: field || "body",
    ...(message !== undefined && { expected: message }),
  });
}
