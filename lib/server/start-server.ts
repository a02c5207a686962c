import { isAbsolute } from "node:path";
import fastify, { type FastifyInstance } from "fastify";
import { GmeError, printable } from "../index";
import { addRoutes } from "./app";
import type { EmbedService } from "./embed-service";
import { fastifySettings } from "./fastify-settings";
import { checkBinding } from "./request-guard";
import {
  defaultPort,
  type ListenOptions,
  type ReadServerOptions,
  readListenOptions,
  readServerOptions,
  type ServerOptions,
  splitOptions,
} from "./server-options";

/** A server that listens. */
export interface GmeServer extends AsyncDisposable {
  /** `http://127.0.0.1:7410`, or `unix:/path`. */
  readonly url: string;
  /** 0 at a Unix socket. */
  readonly port: number;
  /**
   * Refuses new connections and new work; what runs is finished within `stopTimeout`. Idempotent. The model and the index stay open: they
   * are the caller's.
   */
  close(): Promise<void>;
}

/** Rejects with GME_OPTION_INVALID where the address may not be listened at without a key. */
export function checkListening(options: Partial<ServerOptions> & ListenOptions): void {
  const { host, socket } = options;
  if (socket === undefined) checkBinding(host ?? "127.0.0.1", (options.apiKeys ?? []).length > 0);
}

/** Listens. Rejects with GME_OPTION_INVALID, or with GME_IO_ERROR where the address cannot be had; errno says why. */
export async function startServer(options: ServerOptions & ListenOptions): Promise<GmeServer> {
  const split = splitOptions(options);
  const read = readServerOptions(split.server);
  const listen = readListenOptions(split.listen);
  checkListening(options);
  const { app, service } = await makeApp(read);
  try {
    await app.listen(placeOf(listen));
  } catch (error) {
    await app.close();
    throw listenError(error, listen);
  }
  return listening(app, service, read, listen);
}

/** An app of our own, with every limit on what comes from the network; it does not listen yet. */
export async function makeApp(options: ReadServerOptions): Promise<{ app: FastifyInstance; service: EmbedService }> {
  const app = fastify(fastifySettings(options));
  const service = await addRoutes(app, options);
  await app.ready();
  return { app, service };
}

function placeOf({ host = "127.0.0.1", port = defaultPort, socket }: ListenOptions) {
  return socket === undefined ? { host, port } : { path: socket };
}

function listening(
  app: FastifyInstance,
  service: EmbedService,
  { stopTimeout }: ReadServerOptions,
  { host = "127.0.0.1", socket }: ListenOptions,
): GmeServer {
  const address = app.server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const name = host.includes(":") ? `[${host}]` : host;
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= stop(app, service, stopTimeout * 1000);
    return closing;
  };
  return {
    url: socket === undefined ? `http://${name}:${port}` : `unix:${socket}`,
    port,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The service first: what waits is refused while its connections are still there to be told so. */
async function stop(app: FastifyInstance, service: EmbedService, graceMs: number): Promise<void> {
  const stopped = service.stop(graceMs);
  const closed = app.close();
  await stopped;
  app.server.closeIdleConnections();
  await closed;
}

function listenError(error: unknown, { host = "127.0.0.1", port = defaultPort, socket }: ListenOptions): GmeError {
  const errno = (error as NodeJS.ErrnoException).code;
  const place = socket === undefined ? `${host}:${port}` : printable(socket);
  const reasons: { readonly [errno: string]: string } = {
    EADDRINUSE: "another program listens there already",
    EACCES: "this user may not listen there (ports below 1024 are the administrator's)",
    EADDRNOTAVAIL: "this machine does not have that address",
    ENOTFOUND: "no such host",
    ENOENT: "no such folder",
  };
  const reason = reasons[errno ?? ""] ?? "cannot listen there";
  const details = { errno, field: socket === undefined ? "options.port" : "options.socket", cause: error };
  return new GmeError("GME_IO_ERROR", `${place}: ${reason} (${errno ?? "unknown"})`, {
    ...details,
    ...(socket !== undefined && isAbsolute(socket) && { file: socket }),
  });
}
