// In a network and mount namespace of its own: canaries at closed addresses, apps with fetches off, open and listed, and every variant sent
// through requests. Prints a report as JSON.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closedAddresses } from "../../../helpers/closed-addresses";
import { type RunningApp, startApp } from "../guard-app";

const port = 8_080;
const addresses = [
  "127.0.0.1",
  "169.254.169.254",
  "10.0.0.1",
  "::1",
  "fe80::1",
  "fd00::1",
  "192.168.0.1",
  "172.16.0.1",
  "100.100.100.200",
  "168.63.129.16",
];
/** Public to the guard's eyes, and ours in this namespace: redirects come from here. */
const publicAddress = "198.41.0.4";
const names = [
  "pictures.example",
  "metadata.google.internal",
  "intranet",
  "localhost.localdomain",
  "a.localhost",
  "127.0.0.1.nip.example",
  "xn--e1afmkfd",
  "example.org",
  new URL("http://ex\u0430mple.org").hostname, // its a is Cyrillic

  "mixed.example",
  "six.example",
];

let hits = 0;
let proof = 0;
let isProof = true;

function ip(...words: string[]): void {
  execFileSync("ip", words);
}

function prepare(): string {
  ip("link", "set", "lo", "up");
  for (const address of [...addresses.slice(1), publicAddress]) {
    if (address === "::1") continue;
    ip(
      "addr",
      "add",
      `${address}/${address.includes(":") ? 128 : 32}`,
      "dev",
      "lo",
      ...(address.startsWith("fe80") ? ["scope", "link"] : []),
    );
  }
  const folder = mkdtempSync(join(tmpdir(), "gme-hosts-"));
  const hosts = [
    "127.0.0.1 localhost",
    "::1 localhost",
    ...names.slice(0, -2).map((name, i) => `${addresses[i % 3]} ${name}`),
  ];
  hosts.push(
    `${publicAddress} mixed.example`,
    "10.0.0.1 mixed.example",
    "fd00::1 six.example",
    `${publicAddress} redirects.example`,
  );
  writeFileSync(join(folder, "hosts"), `${hosts.join("\n")}\n`);
  writeFileSync(join(folder, "resolv.conf"), "");
  execFileSync("mount", ["--make-rprivate", "/"]);
  for (const file of ["hosts", "resolv.conf"]) execFileSync("mount", ["--bind", join(folder, file), `/etc/${file}`]);
  return folder;
}

/** Any connection is a hit, on the ports that variants name. */
async function listen(address: string, at: number): Promise<void> {
  const server = createServer((_request, response) => response.end("a canary"));
  server.on("connection", () => {
    if (isProof) proof++;
    else hits++;
  });
  const host = address.startsWith("fe80") ? `${address}%lo` : address;
  await new Promise<void>((resolve, reject) => server.on("error", reject).listen(at, host, resolve));
  server.unref();
}

function dial(address: string): Promise<void> {
  const host = address.startsWith("fe80") ? `${address}%lo` : address;
  return new Promise((resolve, reject) => {
    const socket = connect(port, host, () => socket.end(resolve));
    socket.on("error", reject);
  });
}

/** Addresses as they can be written: in other bases, shortened, mapped, after a name and with what parsers differ about. */
function variants(): string[] {
  const all = closedAddresses.map((address) => address.replace("%p", String(port)));
  for (const address of addresses) {
    if (address.includes(":")) {
      for (const path of ["", "/latest/meta-data/", "?a=@pictures.example"])
        all.push(`http://[${address}]:${port}${path}`);
      all.push(
        `http://[${address}%25lo]:${port}/`,
        `http://[${address}%lo]:${port}/`,
        `https://[${address}]:${port}/`,
        `http://u@[${address}]:${port}/`,
      );
      continue;
    }
    const bytes = address.split(".").map(Number);
    const number = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
    const hex = bytes.map((byte) => byte.toString(16).padStart(2, "0"));
    const words = `${hex[0]}${hex[1]}:${hex[2]}${hex[3]}`;
    const hosts = [
      address,
      String(number),
      `0x${number.toString(16)}`,
      `0${number.toString(8)}`,
      bytes.map((byte) => `0${byte.toString(8)}`).join("."),
      bytes.map((byte) => `0x${byte.toString(16)}`).join("."),
      `${bytes[0]}.${bytes[1]}.${bytes[2] * 256 + bytes[3]}`,
      `${bytes[0]}.${(bytes[1] * 256 + bytes[2]) * 256 + bytes[3]}`,
      `${address}.`,
      `[::ffff:${address}]`,
      `[::ffff:${words}]`,
      `[::${address}]`,
      `[64:ff9b::${address}]`,
      `[2002:${words}::1]`,
      `[::ffff:0:${words}]`,
      address.replaceAll(".", "。"),
      `user@${address}`,
      `pictures.example@${address}`,
      `pictures.example%40@${address}`,
    ];
    for (const host of hosts) all.push(`http://${host}:${port}/`);
    all.push(
      `http:\\\\${address}:${port}\\a`,
      `https://${address}:${port}/`,
      `http://${address}/`,
      `http://${address}:${port}#@pictures.example/`,
      `\thttp://${address}:${port}/`,
    );
  }
  for (const name of names)
    for (const at of ["", `:${port}`]) all.push(`http://${name}${at}/`, `https://${name}${at}/`);
  return [...new Set(all)];
}

interface Tally {
  refused: number;
}

async function sendAll(app: RunningApp, list: readonly string[], expected: RegExp, wrong: string[]): Promise<Tally> {
  let refused = 0;
  for (const image of list) {
    const { status, body } = await app.post({ input: [{ image }] });
    if (status === 400 && expected.test(body.error?.code ?? "")) refused++;
    else wrong.push(`${JSON.stringify(image)}: ${status} ${body.error?.code} ${body.error?.message}`);
  }
  return { refused };
}

/** From a public address to what is closed. */
async function serveRedirects(): Promise<void> {
  const server = createServer((request, response) => {
    response.writeHead(302, { location: decodeURIComponent((request.url ?? "").slice(1)) }).end();
  });
  await new Promise<void>((resolve) => server.listen(port, publicAddress, resolve));
  server.unref();
}

async function main(): Promise<void> {
  const folder = prepare();
  const ends: (() => unknown)[] = [];
  const test = { teardown: (end: () => unknown) => void ends.push(end) };
  for (const address of addresses) {
    await listen(address, port);
    for (const at of [80, 443]) await listen(address, at);
  }
  await serveRedirects();
  for (const address of addresses) await dial(address);
  await new Promise((resolve) => setTimeout(resolve, 100));
  isProof = false;
  const list = variants();
  const wrong: string[] = [];
  const refusals = /^GME_(URL_REFUSED|URL_FETCH_DISABLED|INPUT_INVALID|IMAGE_\w+)$/;
  const off = await sendAll(await startApp(test), list, refusals, wrong);
  const open = await sendAll(await startApp(test, { pictures: { remoteImages: true } }), list, refusals, wrong);
  const listed = [
    "pictures.example",
    `pictures.example:${port}`,
    "localhost",
    `127.0.0.1:${port}`,
    `[::1]:${port}`,
    "mixed.example",
    "metadata.google.internal",
  ];
  const listing = await startApp(test, { pictures: { remoteImages: listed } });
  const allowed = await sendAll(listing, list, refusals, wrong);
  const redirecting = await startApp(test, { pictures: { remoteImages: true } });
  const targets = list.filter((address) => /^https?:\/\/[!-~]+$/.test(address) && URL.canParse(address)).slice(0, 120);
  const chains = targets.map((to) => `http://redirects.example:${port}/${encodeURIComponent(to)}`);
  const redirects = await sendAll(redirecting, chains, /^GME_URL_REFUSED$/, wrong);
  await new Promise((resolve) => setTimeout(resolve, 200));
  for (const end of ends) await end();
  rmSync(folder, { recursive: true, force: true });
  console.log(
    JSON.stringify({
      variants: list.length,
      refusedDisabled: off.refused,
      refusedOpen: open.refused,
      refusedListed: allowed.refused,
      redirects: redirects.refused,
      hits,
      proof,
      canaries: addresses,
      wrong: wrong.slice(0, 40),
    }),
  );
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
