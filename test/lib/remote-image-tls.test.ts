import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Server } from "node:http";
import { createServer } from "node:https";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import t from "tap";
import { fetchRemoteImage } from "../../lib/remote-image";
import { temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import { serve, testPolicy } from "../helpers/remote-servers";

const folder = temporaryFolder();
const [keyFile, certFile] = [join(folder, "key.pem"), join(folder, "cert.pem")];

/** A certificate of its own for pictures.example; made by the openssl command, since Node makes none. */
function makeCertificate(): boolean {
  const request = ["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
  const name = ["-subj", "/CN=pictures.example", "-addext", "subjectAltName=DNS:pictures.example"];
  return spawnSync("openssl", [...request, ...name, "-keyout", keyFile, "-out", certFile]).status === 0;
}

const skip = makeCertificate() ? false : "no openssl command to make a certificate with";

t.test(
  "over https the checked address is dialled, and the name is in Host, SNI and certificate",
  { skip },
  async (t) => {
    const [key, cert] = [readFileSync(keyFile), readFileSync(certFile, "utf8")];
    const names: unknown[] = [];
    const plain = await serve((_request, response) => void response.end("over http"));
    const server = await serve(
      (request, response) => {
        names.push((request.socket as TLSSocket & { servername?: string }).servername);
        const to = decodeURIComponent((request.url ?? "").slice(1));
        if (to === "") response.end("bytes");
        else response.writeHead(302, { location: to }).end();
      },
      "127.0.0.1",
      createServer({ key, cert }) as unknown as Server,
    );
    t.teardown(() => Promise.all([plain.close(), server.close()]));
    const get = (address: string, ca?: string) =>
      fetchRemoteImage(new URL(address), testPolicy({ ca }), { field: "image" });
    const { port } = server;
    t.equal(Buffer.from(await get(`https://pictures.example:${port}/`, cert)).toString(), "bytes");
    t.equal(Buffer.from(await get(`https://pictures.example.:${port}/`, cert)).toString(), "bytes", "the root's dot");
    t.strictSame(names, ["pictures.example", "pictures.example"]);
    t.equal(server.hosts[0], `pictures.example:${port}`);
    await rejectsWith(t, () => get(`https://other.example:${port}/`, cert), "GME_URL_FETCH_FAILED", "another name");
    await rejectsWith(
      t,
      () => get(`https://pictures.example:${port}/`),
      "GME_URL_FETCH_FAILED",
      "an unknown authority",
    );
    await rejectsWith(t, () => get(`https://pictures.example:${plain.port}/`, cert), "GME_URL_FETCH_FAILED", "no TLS");
    t.equal(names.length, 2, "none of these was answered");
    const down = encodeURIComponent(`http://pictures.example:${plain.port}/`);
    const error = await rejectsWith(t, () => get(`https://pictures.example:${port}/${down}`, cert), "GME_URL_REFUSED");
    t.match(error.message, /from https to http/);
    t.equal(plain.hosts.length, 0, "nothing was asked over http");
  },
);
