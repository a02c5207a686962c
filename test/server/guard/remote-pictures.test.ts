// The canaries listen in a network namespace of this test's own, where the addresses of clouds and private networks are this machine's.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { RequestListener } from "node:http";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import t, { type Test } from "tap";
import { fetchRemoteImage, type RemotePolicy } from "../../../lib/remote-image";
import { imageFixture } from "../../helpers/fixtures";
import { type RunningServer, serve, testPolicy } from "../../helpers/remote-servers";
import { type RunningApp, startApp } from "./guard-app";

const picture = readFileSync(imageFixture("one-pixel.png"));

/** Why there can be no namespace here, or false. */
function noNamespace(): string | false {
  if (process.platform !== "linux") return "network namespaces are Linux's";
  const tried = spawnSync("unshare", ["-n", "-m", "--", "ip", "link", "set", "lo", "up"], { encoding: "utf8" });
  if (tried.error !== undefined) return "the command unshare is not installed";
  return tried.status === 0
    ? false
    : `no network namespace with addresses of its own can be made here: ${tried.stderr.trim()}`;
}

interface Report {
  variants: number;
  refusedDisabled: number;
  refusedOpen: number;
  refusedListed: number;
  hits: number;
  canaries: string[];
  proof: number;
  wrong: string[];
  redirects: number;
}

t.test(
  "S17, S18, S19, S20 no spelling of a closed address reaches a canary through a request",
  { skip: noNamespace() },
  async (t) => {
    const child = join(__dirname, "children", "canaries.ts");
    const ran = spawnSync("unshare", ["-n", "-m", "--", process.execPath, "--import", "tsx", child], {
      encoding: "utf8",
      env: { ...process.env, NODE_OPTIONS: "" },
      timeout: 120_000,
    });
    t.equal(ran.status, 0, ran.stderr.slice(-500));
    const report: Report = JSON.parse(ran.stdout);
    t.comment(`S17, S18: ${report.variants} variants, ${report.canaries.length} canaries, ${report.hits} hits`);
    t.strictSame(report.wrong, [], "each got the answer it should");
    t.ok(report.variants >= 200, `${report.variants} variants`);
    t.ok(report.canaries.length >= 6, report.canaries.join(" "));
    t.equal(report.proof, report.canaries.length, "each canary does hear a plain request");
    t.equal(report.hits, 0);
    t.ok(report.redirects >= 10, `S19: ${report.redirects} redirects`);
  },
);

async function served(t: Test, answer: RequestListener): Promise<RunningServer> {
  const server = await serve(answer);
  t.teardown(() => server.close());
  return server;
}

/** An app whose fetches go by this policy: names end at 127.0.0.1, which stands for the open internet. */
function appWith(t: Test, policy: RemotePolicy): Promise<RunningApp> {
  const fetch = (address: string, { signal }: { signal?: AbortSignal }) =>
    fetchRemoteImage(new URL(address), policy, { field: "address", signal });
  return startApp(t, { pictures: { remoteImages: true, fetch } });
}

async function ask({ post }: RunningApp, image: string) {
  const { status, body } = await post({ input: [{ image }] });
  return { status, code: body.error?.code, param: body.error?.param, message: body.error?.message, items: body.items };
}

t.test("a picture at an address is fetched where that is allowed", async (t) => {
  const server = await served(t, (_request, response) => response.end(picture));
  const app = await appWith(t, testPolicy());
  const found = await ask(app, `http://a.example:${server.port}/a.png?token=secret`);
  t.match(found, { status: 200, items: [{ pixels: 1, bytes: picture.length }] });
  t.equal(server.connections, 1);
});

t.test("S19 redirects to what is closed, in a circle and too many are refused in a request", async (t) => {
  const server = await served(t, (request, response) => {
    const to = decodeURIComponent((request.url ?? "").slice(1));
    if (to === "picture") return void response.end(picture);
    response.writeHead(302, { location: to === "circle" ? "/circle" : to }).end();
  });
  const app = await appWith(t, testPolicy());
  const at = (to: string) => `http://a.example:${server.port}/${encodeURIComponent(to)}`;
  t.equal((await ask(app, at("/picture"))).status, 200);
  for (const to of [
    "http://127.0.0.2/",
    "file:///etc/passwd",
    "ftp://a.example/",
    "http://[::1]/",
    "//10.0.0.1/",
    "data:image/png;base64,AAAA",
    `http://u:p@a.example:${server.port}/picture`,
  ])
    t.match(await ask(app, at(to)), { status: 400, code: "GME_URL_REFUSED", param: "input[0]" }, to);
  t.match(await ask(app, at("circle")), { status: 400, code: "GME_URL_FETCH_FAILED" });
  let chain = "/picture";
  for (let hop = 0; hop < 11; hop++) chain = `/${encodeURIComponent(chain)}`;
  t.match(
    await ask(app, `http://a.example:${server.port}${chain}`),
    { status: 400, code: "GME_URL_FETCH_FAILED" },
    "11 hops",
  );
});

t.test("S20 a name that points elsewhere the second time, or at both, is refused in a request", async (t) => {
  const server = await served(t, (_request, response) => response.end(picture));
  const answers = [["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1", "169.254.169.254"], ["127.0.0.1", "fd00::1"], ["::1"]];
  let asked = 0;
  const resolve = async () => answers[asked++ % answers.length].map((address) => ({ address, family: 4 }));
  const app = await appWith(t, testPolicy({ resolve }));
  const found: (string | number | undefined)[] = [];
  for (let i = 0; i < 10; i++) {
    const { status, code } = await ask(app, `http://a.example:${server.port}/`);
    found.push(code ?? status);
  }
  const round = [200, ...Array(4).fill("GME_URL_REFUSED")];
  t.strictSame(found, [...round, ...round]);
  t.equal(server.connections, 2, "only the allowed ones were dialled");
  t.equal(asked, 10, "each name was asked once");
});

t.test("S21 endless, slow, lying, swelling and wrong answers are errors of the request, in time", async (t) => {
  const chunk = Buffer.alloc(65_536);
  let sent = 0;
  const answers: Record<string, [RequestListener, string]> = {
    endless: [
      (_request, response) => {
        const more = () => {
          while (!response.destroyed && response.write(chunk)) sent += chunk.length;
        };
        response.on("drain", more);
        more();
      },
      "GME_IMAGE_TOO_LARGE",
    ],
    "3 GB announced": [
      (_request, response) => void response.writeHead(200, { "content-length": 3e9 }).write("x"),
      "GME_IMAGE_TOO_LARGE",
    ],
    "a byte now and then": [
      (_request, response) => {
        const timer = setInterval(() => response.write("x"), 50);
        response.on("close", () => clearInterval(timer));
      },
      "GME_URL_FETCH_FAILED",
    ],
    "no answer": [() => undefined, "GME_URL_FETCH_FAILED"],
    "less than announced": [
      (request) => void request.socket.end("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort"),
      "GME_URL_FETCH_FAILED",
    ],
    "a gzip bomb": [
      (_request, response) =>
        void response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(Buffer.alloc(1e7))),
      "GME_URL_FETCH_FAILED",
    ],
    "no picture": [
      (_request, response) => void response.writeHead(200, { "content-type": "image/png" }).end("<html>"),
      "GME_IMAGE_FORMAT",
    ],
    "nothing at all": [(_request, response) => void response.end(), "GME_IMAGE_TRUNCATED"],
    "not found": [(_request, response) => void response.writeHead(404).end(picture), "GME_URL_FETCH_FAILED"],
  };
  const app = await appWith(t, testPolicy());
  await Promise.all(
    Object.entries(answers).map(async ([what, [answer, code]]) => {
      const server = await served(t, answer);
      const start = performance.now();
      const found = await ask(app, `http://a.example:${server.port}/a.png?token=secret`);
      t.match(found, { status: 400, code, param: "input[0]" }, what);
      t.notMatch(found.message, /secret/, `${what}: the query is not repeated`);
      t.ok(performance.now() - start < 6_000, `${what}: in time`);
    }),
  );
  t.ok(sent < 20e6, `${sent} bytes of an endless body`);
});

t.test("S05 a slow picture ends with the client that asked for it", async (t) => {
  const gone = new AbortController();
  let closed: () => void = () => undefined;
  const wasClosed = new Promise<void>((resolve) => {
    closed = resolve;
  });
  const server = await served(t, (_request, response) => {
    response.on("close", closed).write("x");
    gone.abort();
  });
  const app = await appWith(t, testPolicy({ totalMs: 30_000 }));
  const body = JSON.stringify({ input: [{ image: `http://a.example:${server.port}/` }] });
  const headers = { "content-type": "application/json" };
  const asked = fetch(`${app.url}/v1/embeddings`, { method: "POST", headers, body, signal: gone.signal });
  await t.rejects(asked);
  const start = performance.now();
  await wasClosed;
  t.ok(performance.now() - start < 1_000, "the fetch was given up");
});
