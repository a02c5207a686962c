// A registry on this machine for the packages of the scope @gme-embed: those whose tarballs are given, and for every other platform a
// package of nothing but its manifest; it remembers whose contents were asked for.
import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import type { Tarball } from "./packages";

export interface LocalRegistry {
  url: string;
  /** Names of the tarballs that were asked for. */
  downloads: string[];
  /** The paths that were asked for. */
  asked: string[];
  close(): Promise<void>;
}

type Manifest = Record<string, unknown> & { name: string; version: string };

interface Published {
  manifest: Manifest;
  data: Buffer;
}

export async function startRegistry(tarballs: readonly Tarball[], stubs: readonly Manifest[]): Promise<LocalRegistry> {
  const published = new Map<string, Published>();
  for (const manifest of stubs) published.set(manifest.name, { manifest, data: stubTarball(manifest) });
  for (const { manifest, packed } of tarballs) published.set(manifest.name, { manifest, data: packed });
  const registry = { downloads: [] as string[], asked: [] as string[] };
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://local").pathname);
    registry.asked.push(path);
    const [, name, file] = /^\/(@gme-embed\/[a-z0-9-]+)(?:\/-\/(.+))?$/.exec(path) ?? [];
    const found = published.get(name ?? "");
    const data = file === undefined ? found && packument(found, urlOf(server)) : found?.data;
    if (file !== undefined) registry.downloads.push(name);
    if (data === undefined) {
      response.writeHead(404, { "content-type": "application/json" }).end('{"error":"not found"}');
      return;
    }
    const type = file === undefined ? "application/json" : "application/octet-stream";
    response.writeHead(200, { "content-type": type, "content-length": data.length }).end(data);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => new Promise<void>((resolve) => server.close(() => resolve()).closeAllConnections());
  return { url: `${urlOf(server)}/`, ...registry, close };
}

const urlOf = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

function packument({ manifest, data }: Published, url: string): Buffer {
  const { name, version } = manifest;
  const dist = {
    tarball: `${url}/${name}/-/${name.replace(/.*\//, "")}-${version}.tgz`,
    shasum: createHash("sha1").update(data).digest("hex"),
    integrity: `sha512-${createHash("sha512").update(data).digest("base64")}`,
  };
  return Buffer.from(
    JSON.stringify({
      name,
      "dist-tags": { latest: version },
      time: { [version]: "2020-01-01T00:00:00.000Z" }, // Yarn 4 refuses what was published a moment ago
      versions: { [version]: { ...manifest, _id: `${name}@${version}`, dist } },
    }),
  );
}

/** package/package.json alone, as ustar. */
function stubTarball(manifest: Manifest): Buffer {
  const content = Buffer.from(JSON.stringify(manifest));
  const header = Buffer.alloc(512);
  const octal = (value: number, length: number) => value.toString(8).padStart(length - 1, "0");
  header.write("package/package.json", 0);
  header.write(`${octal(0o644, 8)}\0${octal(0, 8)}\0${octal(0, 8)}\0`, 100);
  header.write(`${octal(content.length, 12)}\0${octal(0, 12)}\0${" ".repeat(8)}0`, 124);
  header.write("ustar\x0000", 257);
  header.write(
    `${octal(
      header.reduce((sum, byte) => sum + byte, 0),
      7,
    )}\0 `,
    148,
  );
  const filler = Buffer.alloc(1024 + ((512 - (content.length % 512)) % 512));
  return gzipSync(Buffer.concat([header, content, filler]));
}
