import fastify, { type FastifyInstance, LogController } from "fastify";
import { addRoutes, writeError } from "./app";
import type { BatchingService } from "./service/batching-service";
import { connectionLimits, fastifySettings, logSerializers } from "./fastify-settings";
import { checkBinding, listenFailed } from "./server-address";
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
export function checkListening({
  host = "127.0.0.1",
  socket,
  apiKeys = [],
}: Partial<ServerOptions> & ListenOptions): void {
  checkBinding(socket === undefined ? host : "localhost", apiKeys);
}

/** Listens. Rejects with GME_OPTION_INVALID, or with GME_IO_ERROR where the address cannot be had; errno says why. */
export async function startServer(options: ServerOptions & ListenOptions): Promise<GmeServer> {
  const split = splitOptions(options);
  const read = readServerOptions(split.server);
  const { host = "127.0.0.1", port = defaultPort, socket } = readListenOptions(split.listen);
  checkListening(options);
  const { app, service } = await makeApp(read);
  try {
    await app.listen(socket === undefined ? { host, port } : { path: socket });
  } catch (error) {
    await app.close();
    throw listenFailed(error, socket ?? `${host}:${port}`);
  }
  const address = app.server.address();
  const bound = typeof address === "object" && address !== null ? address.port : 0;
  const name = host.includes(":") ? `[${host}]` : host;
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= stop(app, service, read.stopTimeout * 1000);
    return closing;
  };
  const url = socket === undefined ? `http://${name}:${bound}` : `unix:${socket}`;
  return { url, port: bound, close, [Symbol.asyncDispose]: close };
}

/** An app of our own, with every limit on what comes from the network; it does not listen yet. */
export async function makeApp(options: ReadServerOptions): Promise<{ app: FastifyInstance; service: BatchingService }> {
  const limits = { ...connectionLimits, maxBodyBytes: options.bodyLimit };
  const app: FastifyInstance = fastify({
    ...fastifySettings(limits, writeError),
    logController: new LogController({ disableRequestLogging: true }), // one line of our own instead of two
    logger: { level: options.logLevel, serializers: logSerializers, stream: process.stderr },
  });
  const service = await addRoutes(app, options);
  await app.ready();
  return { app, service };
}

/** The service first: what waits is refused while its connections are still there to be told so. */
async function stop(app: FastifyInstance, service: BatchingService, graceMs: number): Promise<void> {
  const stopped = service.stop(graceMs);
  const closed = app.close();
  await stopped;
  app.server.closeIdleConnections();
  await closed;
}
