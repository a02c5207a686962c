import type { InjectOptions } from "fastify";
import { readServerOptions, type ServerOptions } from "./server-options";
import { makeApp } from "./start-server";

/** Answers requests of the Fetch standard, in any framework that has them. */
export interface RequestHandler {
  (request: Request): Promise<Response>;
  /** As a server's. */
  close(): Promise<void>;
}

/**
 * The same routes without a socket. Limits on connections are the caller's own server's. `Host` and `Origin` are checked against the
 * names of loopback and `allowHosts`. Rejects with GME_OPTION_INVALID.
 */
export async function createHandler(options: ServerOptions): Promise<RequestHandler> {
  const read = readServerOptions(options);
  const { app } = await makeApp(read);
  const handler = async (request: Request): Promise<Response> => {
    const answer = await app.inject({
      method: request.method as InjectOptions["method"],
      url: pathOf(request.url),
      headers: { host: new URL(request.url).host, ...Object.fromEntries(request.headers) },
      payload: request.body === null ? undefined : Buffer.from(await request.arrayBuffer()),
      signal: request.signal,
    });
    const headers = Object.entries(answer.headers).flatMap(([name, value]) =>
      value === undefined || hopByHop.has(name) ? [] : [[name, String(value)] as [string, string]],
    );
    const isEmpty = [101, 204, 205, 304].includes(answer.statusCode);
    return new Response(isEmpty ? null : new Uint8Array(answer.rawPayload), { status: answer.statusCode, headers });
  };
  return Object.assign(handler, { close: async () => app.close() });
}

/** Belong to one connection, not to the answer. */
const hopByHop = new Set(["connection", "keep-alive", "transfer-encoding"]);

function pathOf(url: string): string {
  const { pathname, search } = new URL(url);
  return `${pathname}${search}`;
}
