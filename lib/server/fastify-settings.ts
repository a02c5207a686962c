import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance, FastifyRequest, FastifyServerOptions } from "fastify";
import { GmeError, printable } from "../index";
import { answerFrameworkError, type WriteError } from "./error-answers";
import { statusFor } from "./error-status";
import { onceOver } from "./request-end";
import { collectBody, jsonLimits, parseJsonBody } from "./json-body";

/** What a connection and a request may take. Times in milliseconds. */
export interface ConnectionLimits {
  readonly maxConnections: number;
  readonly maxRequestsPerSocket: number;
  readonly maxHeaderBytes: number;
  readonly maxBodyBytes: number;
  /** Of the bodies of all requests that are not answered yet. */
  readonly maxHeldBytes: number;
  /** Until a request's headers are there, and the whole request. */
  readonly headersMs: number;
  readonly requestMs: number;
  /** Between two requests of a connection. */
  readonly keepAliveMs: number;
  /** From the first byte of an answer until the client has taken the last. */
  readonly answerMs: number;
  /** A body that nobody wants is read on for so long: a connection closed at once loses the answer that says why. */
  readonly lingerMs: number;
  /** How often times are looked at. */
  readonly checkMs: number;
}

export const connectionLimits: ConnectionLimits = {
  maxConnections: 1024,
  maxRequestsPerSocket: 1000,
  maxHeaderBytes: 16 * 1024,
  maxBodyBytes: 32 * 2 ** 20,
  maxHeldBytes: 512 * 2 ** 20,
  headersMs: 10_000,
  requestMs: 29_000, // with a round of checks, and hundreds at once, closed within 30 s
  keepAliveMs: 5_000,
  answerMs: 29_500,
  lingerMs: 1_000,
  checkMs: 500,
};

/** The options of the server's fastify instance, but for its log. */
export function fastifySettings(limits: ConnectionLimits, writeError: WriteError) {
  return {
    serverFactory: (handler: (request: IncomingMessage, response: ServerResponse) => void) =>
      httpServer(limits, handler, writeError),
    bodyLimit: limits.maxBodyBytes,
    onProtoPoisoning: "error",
    onConstructorPoisoning: "error",
    return503OnClosing: true,
    requestIdHeader: false,
    genReqId: () => `req-${randomUUID()}`,
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false, allErrors: false } },
    clientErrorHandler: (error, socket) => answerBrokenRequest(error, socket, writeError),
    frameworkErrors: (error, request, reply) => answerFrameworkError(error, request, reply, writeError),
    routerOptions: { maxParamLength: 200 },
  } satisfies FastifyServerOptions;
}

function httpServer(
  limits: ConnectionLimits,
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  writeError: WriteError,
): Server {
  const server = createServer(
    {
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      keepAliveTimeout: limits.keepAliveMs,
      connectionsCheckingInterval: limits.checkMs,
      maxHeaderSize: limits.maxHeaderBytes,
      insecureHTTPParser: false,
      requireHostHeader: false, // the guard answers that in JSON
    },
    handler,
  );
  server.maxConnections = limits.maxConnections;
  server.maxRequestsPerSocket = limits.maxRequestsPerSocket;
  server.on("connection", (socket: Socket) => void socket.setMaxListeners(0)); // each request in progress listens to its end
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    // A body that will be refused for its length need not be sent.
    if (!(Number(request.headers["content-length"]) > limits.maxBodyBytes)) response.writeContinue();
    server.emit("request", request, response);
  });
  server.on("checkExpectation", (_request: IncomingMessage, response: ServerResponse) => {
    const error = new GmeError("GME_REQUEST_UNREADABLE", "the request expects what this server does not do", {
      field: "headers.expect",
      expected: "100-continue",
    });
    const { body } = writeError(undefined, error);
    response.writeHead(417, { "content-type": "application/json; charset=utf-8", connection: "close" });
    response.end(JSON.stringify(body));
  });
  return server;
}

/** Bodies are JSON, read by our own reader; answers that nobody takes are given up. To be called on the app before its routes. */
export function addBodyReader(app: FastifyInstance, limits: ConnectionLimits): void {
  const parsePlain = app.getDefaultJsonParser("error", "error");
  const parse = (text: string): unknown => {
    let outcome: { error: Error | null; value?: unknown } = { error: null };
    void parsePlain({} as FastifyRequest, text, (error, value) => {
      outcome = { error, value };
    });
    if (outcome.error !== null) throw outcome.error;
    return outcome.value;
  };
  const hold = heldBytes(app, limits.maxHeldBytes);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", async (request: FastifyRequest, payload: IncomingMessage) => {
    const length = request.headers["content-length"];
    const limit = request.routeOptions.bodyLimit ?? limits.maxBodyBytes;
    const announced = length === undefined ? undefined : Number(length);
    const body = await collectBody(payload, limit, announced, (bytes) => hold(request.raw, bytes));
    return parseJsonBody(body, jsonLimits, parse);
  });
}

/** Counts what the requests in progress hold of their bodies; many that send slowly may not take all memory. */
function heldBytes(app: FastifyInstance, most: number): (request: IncomingMessage, bytes: number) => void {
  const heldBy = new Map<IncomingMessage, number>();
  let held = 0;
  app.addHook("onRequest", async (request, reply) => {
    onceOver(request, reply, () => {
      held -= heldBy.get(request.raw) ?? 0;
      heldBy.delete(request.raw);
    });
  });
  return (request, bytes) => {
    if (held + bytes > most)
      throw new GmeError("GME_QUEUE_FULL", "the server holds as many bytes of requests as it may; try again later", {
        field: "body",
        value: held,
        expected: `at most ${most} bytes`,
      });
    held += bytes;
    heldBy.set(request, (heldBy.get(request) ?? 0) + bytes);
  };
}

/** Connections whose request or answer does not come to its end are closed. */
export function addConnectionRules(app: FastifyInstance, limits: ConnectionLimits): void {
  app.addHook("onSend", async (request, reply, payload) => {
    const { raw } = reply;
    // An answer that waits behind another of its connection has no socket yet, and no fault of its own.
    if (raw.socket) endInTime(raw, limits.answerMs);
    else raw.once("socket", () => endInTime(raw, limits.answerMs));
    if (!request.raw.complete) {
      reply.header("connection", "close");
      closeLater(request.raw.socket, limits.lingerMs);
    }
    return payload;
  });
}

function endInTime(raw: ServerResponse, answerMs: number): void {
  const timer = setTimeout(() => raw.destroy(), answerMs);
  timer.unref();
  raw.once("close", () => clearTimeout(timer));
}

/** Instead of closing at once, which would take back the answer from a client that still sends. */
function closeLater(socket: Socket | undefined, lingerMs: number): void {
  if (socket === undefined || typeof socket.destroySoon !== "function") return; // a request that came without a network
  socket.destroySoon = () => {
    socket.end();
    setTimeout(() => socket.destroy(), lingerMs).unref();
  };
}

const brokenStatus: Record<string, [number, string]> = {
  HPE_HEADER_OVERFLOW: [431, "the request's headers have more bytes than allowed"],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "the request did not come to its end in time"],
};

/** What the HTTP parser refuses, or what took too long; there is no request yet. */
function answerBrokenRequest(error: Error & { code?: string }, socket: Socket, writeError: WriteError): void {
  const answering = (socket as Socket & { _httpMessage?: { headersSent?: boolean } })._httpMessage;
  if (error.code !== "ECONNRESET" && socket.writable && answering?.headersSent !== true) {
    const [status, message] = brokenStatus[error.code ?? ""] ?? [400, "the request is not valid HTTP/1.1"];
    const text = JSON.stringify(writeError(undefined, new GmeError("GME_REQUEST_UNREADABLE", message, {})).body);
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      "content-type: application/json; charset=utf-8",
      `content-length: ${Buffer.byteLength(text)}`,
      "x-content-type-options: nosniff",
      "cache-control: no-store",
      "connection: close",
    ];
    socket.end(`${head.join("\r\n")}\r\n\r\n${text}`, () => socket.destroy());
    setTimeout(() => socket.destroy(), 1_000).unref(); // it may never take the answer
    return;
  }
  socket.destroy();
}

/** What a log line says of a request, an answer and an error: no header, no query, no text of a body. */
export const logSerializers = {
  req: (request: FastifyRequest) => ({
    id: request.id,
    method: request.method,
    path: printable((request.raw?.url ?? request.url ?? "").split(/[?#]/, 1)[0]),
    client: request.ip,
  }),
  res: (reply: { statusCode?: number }) => ({ status: reply.statusCode }),
  // Messages of a request's own mistakes repeat parts of it; those of ours are what is looked for.
  err: (error: Error & { code?: string }) => {
    const isOurs = !(error instanceof GmeError) || statusFor(error) >= 500;
    return {
      type: error.name,
      code: error.code,
      message: isOurs ? printable(error.message) : "",
      stack: isOurs ? (error.stack ?? "") : "",
    };
  },
};
