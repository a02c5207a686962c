import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { GmeError, printable } from "../index";
import { BusyError } from "./service/busy-error";

/** Status and body of an error's answer, in the dialect of the route that was asked; without a request in the usual one. */
export type WriteError = (
  request: FastifyRequest | undefined,
  error: GmeError,
) => { readonly status: number; readonly body: object };

/** Every error of this app is answered by `writeError`; what is no GmeError is told apart by its kind, its text stays here. */
export function answerErrors(app: FastifyInstance, writeError: WriteError): void {
  app.setErrorHandler((error, request, reply) => {
    const known = errorOfRequest(error);
    if (known.code === "GME_INTERNAL") request.log.error({ err: error, reqId: request.id }, "a request failed");
    return sendError(request, reply, known, writeError);
  });
  app.setNotFoundHandler((request, reply) => sendError(request, reply, routeNotFound(), writeError));
}

/** Of fastify's `frameworkErrors`: addresses that its router cannot read. No hook runs for them. */
export function answerFrameworkError(
  _error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  writeError: WriteError,
): void {
  const unreadable = new GmeError("GME_REQUEST_UNREADABLE", "the request's address cannot be read", { field: "path" });
  reply.header("connection", "close").header("x-content-type-options", "nosniff").header("cache-control", "no-store");
  void sendError(request, reply, unreadable, writeError);
}

function sendError(request: FastifyRequest, reply: FastifyReply, error: GmeError, writeError: WriteError) {
  const { status, body } = writeError(request, error);
  if (error.code === "GME_KEY_REFUSED") reply.header("www-authenticate", "Bearer");
  const seconds = retryAfter(error, status);
  if (seconds !== undefined) reply.header("retry-after", seconds);
  return reply.code(status).type("application/json; charset=utf-8").send(JSON.stringify(body));
}

/** 429 and 503 say when to come again. */
function retryAfter(error: GmeError, status: number): number | undefined {
  if (error instanceof BusyError) return error.retryAfterSeconds;
  return status === 429 || status === 503 ? 1 : undefined;
}

export function routeNotFound(): GmeError {
  return new GmeError("GME_ROUTE_NOT_FOUND", "the server has nothing at this path", { field: "path" });
}

/** Whatever was thrown while a request was handled, as the GmeError of its answer. */
export function errorOfRequest(error: unknown): GmeError {
  if (error instanceof GmeError) return error;
  const { code, validation, statusCode } = (error ?? {}) as FastifyError;
  if (validation !== undefined) return invalid(validation);
  switch (code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return new GmeError("GME_BODY_TOO_LARGE", "the request's body has more bytes than allowed", { field: "body" });
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
    case "FST_ERR_CTP_EMPTY_TYPE":
      return new GmeError("GME_BODY_FORMAT", "the request's body is not application/json", {
        field: "headers.content-type",
        expected: "application/json",
      });
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return new GmeError("GME_REQUEST_UNREADABLE", "the request cannot be read", { field: "body" });
  return new GmeError("GME_INTERNAL", "the server failed at this request: its log says more", { cause: error });
}

/** The first thing that a body's schema refuses. */
function invalid([first]: NonNullable<FastifyError["validation"]>): GmeError {
  const { instancePath = "", keyword, params = {}, message = "is not as expected" } = first ?? {};
  const place = instancePath
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .reduce((path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : path === "" ? part : `${path}.${part}`), "");
  const extra = keyword === "additionalProperties" ? String(params.additionalProperty) : String(params.missingProperty);
  const isOfKey = keyword === "additionalProperties" || keyword === "required";
  const field = printable(!isOfKey ? place || "body" : place === "" ? extra : `${place}.${extra}`);
  const reason = keyword === "additionalProperties" ? "is not a field that is known here" : message;
  return new GmeError(
    "GME_INPUT_INVALID",
    isOfKey && keyword === "required" ? `${field} is missing` : `${field} ${reason}`,
    {
      field,
      expected: keyword === "additionalProperties" ? "a known field" : printable(message),
    },
  );
}
