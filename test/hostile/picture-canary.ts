// A server on this machine that a picture or a document must not reach.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** Its address, and end(), which stops it and says which paths were asked for. */
export async function openCanary(): Promise<{ address: string; end(): Promise<string[]> }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? "");
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const end = async () => {
    await new Promise((resolve) => server.close(resolve));
    return asked;
  };
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/canary`, end };
}
