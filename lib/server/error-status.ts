import type { GmeError, GmeErrorCode } from "../index";

/** HTTP status of the codes that are neither the request's fault (400) nor listed here as ours. */
const statusOf: Partial<Record<GmeErrorCode, number>> = {
  GME_KEY_REFUSED: 401,
  GME_HOST_REFUSED: 403,
  GME_ROUTE_NOT_FOUND: 404,
  GME_MODEL_NOT_FOUND: 404,
  GME_METHOD_REFUSED: 405,
  GME_BODY_TOO_LARGE: 413,
  GME_BODY_FORMAT: 415,
  GME_ITEM_REFUSED: 422,
  GME_QUEUE_FULL: 429,
  GME_DEADLINE_EXCEEDED: 503,
  GME_SERVER_STOPPING: 503,
  GME_ENGINE_RESTARTED: 503,
  GME_ENGINE_CRASHED: 503,
  GME_MODEL_CLOSED: 503,
  GME_OUT_OF_MEMORY: 503,
};

/** What is wrong with the request itself: shape, limits, options, pictures. */
const requestCodes: readonly string[] = [
  "GME_INPUT_INVALID",
  "GME_OPTION_INVALID",
  "GME_REQUEST_UNREADABLE",
  "GME_TEXT_TOO_LONG",
  "GME_MODEL_NO_VISION",
  "GME_IMAGE_FORMAT",
  "GME_IMAGE_TRUNCATED",
  "GME_IMAGE_CORRUPT",
  "GME_IMAGE_DIMENSIONS",
  "GME_IMAGE_TOO_LARGE",
  "GME_IMAGE_TIMEOUT",
  "GME_URL_FETCH_DISABLED",
  "GME_URL_REFUSED",
  "GME_URL_FETCH_FAILED",
];

/** The status of an error; 500 is a mistake of ours. */
export function statusFor({ code }: GmeError): number {
  return statusOf[code] ?? (requestCodes.includes(code) ? 400 : 500);
}
