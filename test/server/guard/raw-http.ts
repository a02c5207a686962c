// HTTP as bytes, for what no client would send.
import { connect, type Socket } from "node:net";

/** Everything that comes back until the connection is closed, or until `quietMs` pass without a byte. */
export function exchange(port: number, bytes: string | Uint8Array, quietMs = 400): Promise<string> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    const socket = connect(port, "127.0.0.1");
    const done = () => {
      socket.destroy();
      resolve(Buffer.concat(parts).toString("latin1"));
    };
    socket.setTimeout(quietMs, done);
    socket.on("data", (part: Buffer) => parts.push(part));
    socket.on("error", () => undefined).on("close", done);
    socket.write(bytes);
  });
}

/** The status of every answer, in order. */
export function statuses(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.[01] (\d{3})/g)].map(([, status]) => Number(status));
}

export function request(head: readonly string[], body = ""): string {
  return `${head.join("\r\n")}\r\n\r\n${body}`;
}

export function openSocket(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket));
    socket.on("error", reject);
  });
}

/** Milliseconds until a socket is closed by the other side. */
export function closedAfter(socket: Socket): Promise<number> {
  const start = performance.now();
  return new Promise((resolve) => {
    if (socket.destroyed) return resolve(0);
    socket.on("error", () => undefined).on("close", () => resolve(performance.now() - start));
  });
}
