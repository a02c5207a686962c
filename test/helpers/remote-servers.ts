import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { RemotePolicy } from "../../lib/remote-image";

export interface RunningServer {
  port: number;
  /** Connections that were opened, and the Host header of every request. */
  connections: number;
  hosts: (string | undefined)[];
  close(): Promise<void>;
}

/** A server on one loopback address; `answer` gets every request. */
export function serve(
  answer: RequestListener,
  address = "127.0.0.1",
  server: Server = createServer(),
): Promise<RunningServer> {
  const sockets = new Set<Socket>();
  const running: RunningServer = {
    port: 0,
    connections: 0,
    hosts: [],
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
  server.on("request", (request, response) => {
    running.hosts.push(request.headers.host);
    answer(request, response);
  });
  server.on("connection", (socket) => {
    running.connections++;
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
  });
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(0, address, () => {
      running.port = (server.address() as AddressInfo).port;
      resolve(running);
    });
  });
}

/** Names end at 127.0.0.1, which stands for the open internet; every other address is closed. Short times, small pictures. */
export function testPolicy(change: Partial<RemotePolicy> = {}): RemotePolicy {
  return {
    rules: "public",
    resolve: async () => [{ address: "127.0.0.1", family: 4 }],
    isAllowedAddress: (address) => address === "127.0.0.1",
    maxBytes: 100_000,
    maxRedirects: 5,
    totalMs: 1_500,
    connectMs: 700,
    ...change,
  };
}
