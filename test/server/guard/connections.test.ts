// Limits of time are set shorter than the server's own (10 s, 30 s), so that their tests are; with GME_TEST_LONG=1 they are the server's.
import { spawn } from "node:child_process";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import t from "tap";
import { onceOver } from "../../../lib/server/request-end";
import { startApp } from "./guard-app";
import { closedAfter, exchange, openSocket, request, statuses } from "./raw-http";

const isLong = process.env.GME_TEST_LONG === "1";
const short = { headersMs: 500, requestMs: 1_000, answerMs: 2_000, keepAliveMs: 1_000, checkMs: 100, lingerMs: 200 };
const limits = isLong ? {} : short;
const [headersMs, requestMs, answerMs] = isLong ? [10_000, 29_000, 29_500] : [500, 1_000, 2_000];
const count = isLong ? 500 : 100;
/** Over the limits: a round of checks, and the closing of all these. The long form has the server's own figures: 30 s in all, 10 s and a round. */
const slack = isLong
  ? { headers: 1_000, request: 1_000, answer: 500 }
  : { headers: 1_000, request: 1_000, answer: 1_000 };
const good = JSON.stringify({ input: [{ text: "a" }] });
const post = (port: number, ...lines: string[]) => [
  "POST /v1/embeddings HTTP/1.1",
  `Host: 127.0.0.1:${port}`,
  "Content-Type: application/json",
  ...lines,
];
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const open = (port: number, n: number) => Promise.all(Array.from({ length: n }, () => openSocket(port)));

/** Answers in a row, their times in ms, sorted. */
async function healthy(url: string, n: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < n; i++) {
    const start = performance.now();
    const response = await fetch(`${url}/v1/embeddings`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: good,
    });
    await response.text();
    if (response.status !== 200) throw new Error(`status ${response.status}`);
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b);
}

/** Sends a byte of `text` now and then until the socket is closed; how long that took. */
async function drip(socket: Socket, text: string, everyMs: number): Promise<number> {
  socket.resume();
  let at = 0;
  const send = () => void (socket.writable && socket.write(text[at++ % text.length]));
  send(); // the time of a request begins with its first byte
  const timer = setInterval(send, everyMs);
  const ms = await closedAfter(socket);
  clearInterval(timer);
  return ms;
}

t.test("S04 connections whose headers come slowly are closed, others are served meanwhile", async (t) => {
  const { port, url } = await startApp(t, { limits });
  const alone = await healthy(url, 50);
  const sockets = await open(port, count);
  const closed = Promise.all(
    sockets.map((socket) =>
      drip(socket, "GET / HTTP/1.1\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", isLong ? 1_000 : 50),
    ),
  );
  const during = await healthy(url, 50);
  const ms = await closed;
  const longest = Math.max(...ms);
  t.comment(
    `S04: ${count} sockets closed within ${Math.round(longest)} ms of a limit of ${headersMs}; median of the others ${alone[25].toFixed(1)} ms alone, ${during[25].toFixed(1)} ms meanwhile`,
  );
  t.ok(longest < headersMs + slack.headers, `${longest} ms`);
  t.ok(during[25] < alone[25] * 2 + 20, "the others are about as fast");
  const said = await exchange(port, "GET / HTTP/1.1\r\nX-Slow: a", headersMs + slack.headers);
  t.match(said, /^HTTP\/1\.1 408 [\s\S]*"code":"GME_REQUEST_UNREADABLE"/, "and told why");
});

t.test("S05 bodies that come slowly end in time, and no engine's slot is held by them", async (t) => {
  let reached = 0;
  const { port, url } = await startApp(t, {
    limits,
    routes: (app) => app.addHook("preHandler", async () => void reached++),
  });
  const sockets = await open(port, count);
  for (const socket of sockets) socket.write(request(post(port, "Content-Length: 100000")));
  const closed = Promise.all(sockets.map((socket) => drip(socket, '{"input":"aaaaaaaa', isLong ? 1_000 : 50)));
  await healthy(url, 20);
  const longest = Math.max(...(await closed));
  t.equal(reached, 20, "only whole requests reached a handler");
  t.comment(`S05: ${count} slow bodies closed within ${Math.round(longest)} ms of a limit of ${requestMs}`);
  t.ok(longest < requestMs + slack.request, `${longest} ms`);
});

t.test("S05 answers that are not taken are given up", async (t) => {
  const text = Buffer.alloc(24 * 2 ** 20, "x"); // more than the buffers of both sides hold
  let sent = 0;
  const { app, port, url } = await startApp(t, {
    limits,
    routes: (app) =>
      app.get("/large", async (_request, reply) => {
        sent++;
        return reply.type("text/plain").send(text);
      }),
  });
  const n = isLong ? count : 8;
  const closings = new Map<number | undefined, Promise<number>>();
  app.server.on("connection", (socket: Socket) => closings.set(socket.remotePort, closedAfter(socket)));
  const sockets = await open(port, n);
  for (const socket of sockets) {
    socket.pause();
    socket.write(request(["GET /large HTTP/1.1", `Host: 127.0.0.1:${port}`]));
  }
  const crawling = setInterval(() => {
    for (const socket of sockets) socket.read(1); // slower than any client
  }, 50);
  await healthy(url, 3);
  const longest = Math.max(...(await Promise.all(sockets.map(({ localPort }) => closings.get(localPort) ?? 0))));
  clearInterval(crawling);
  for (const socket of sockets) socket.destroy();
  t.equal(sent, n);
  t.comment(`S05: ${n} readers that hardly read, closed within ${Math.round(longest)} ms of a limit of ${answerMs}`);
  t.ok(longest > answerMs / 2 && longest < answerMs + slack.answer, `${longest} ms`);
  const whole = await (await fetch(`${url}/large`)).text();
  t.equal(whole.length, text.length, "who reads gets all of it");
});

t.test("S03 connections over the limit are closed at once, those that are there are served", async (t) => {
  const most = 1024;
  const { port, url } = await startApp(t, {
    limits: { maxConnections: most, headersMs: 600_000, requestMs: 600_000, checkMs: 600_000 },
  });
  const active = await open(port, 100);
  const idle = await open(port, most - 100 - 1); // one is the client's below
  await healthy(url, 1);
  const late = await open(port, 5);
  const ms = await Promise.all(late.map(closedAfter));
  t.ok(Math.max(...ms) < 1_000, "the next are closed");
  const answers = await Promise.all(
    active.map(
      (socket) =>
        new Promise<string>((resolve) => {
          socket.once("data", (part) => resolve(String(part))).once("close", () => resolve(""));
          socket.write(request(post(port, `Content-Length: ${good.length}`), good));
        }),
    ),
  );
  t.ok(
    answers.every((answer) => answer.startsWith("HTTP/1.1 200")),
    "100 that are there get their answers",
  );
  for (const socket of idle.splice(0, 20)) socket.destroy();
  await sleep(200);
  t.match(
    await exchange(port, request(["GET /health HTTP/1.1", `Host: 127.0.0.1:${port}`])),
    /^HTTP\/1\.1 200/,
    "a freed place is given",
  );
  for (const socket of [...active, ...idle]) socket.destroy();
});

t.test("S09 what is not plain HTTP/1.1 is refused before anything is made of it", async (t) => {
  let reached = 0;
  const { port, url } = await startApp(t, { routes: (app) => app.addHook("preHandler", async () => void reached++) });
  const host = `Host: 127.0.0.1:${port}`;
  const json = "Content-Type: application/json";
  const hidden = request(["GET /v1/models HTTP/1.1", host]);
  const cases: Record<string, string> = {
    "a length and chunks": request(post(port, "Content-Length: 5", "Transfer-Encoding: chunked"), `0\r\n\r\n${hidden}`),
    "chunks and a length": request(post(port, "Transfer-Encoding: chunked", "Content-Length: 5"), `0\r\n\r\n${hidden}`),
    "two lengths": request(post(port, "Content-Length: 2", "Content-Length: 3"), "{}"),
    "two lengths in one": request(post(port, "Content-Length: 2, 3"), "{}"),
    "a signed length": request(post(port, "Content-Length: +2"), "{}"),
    "a negative length": request(post(port, "Content-Length: -2"), "{}"),
    "a length in hex": request(post(port, "Content-Length: 0x2"), "{}"),
    "an encoding of chunks twice": request(post(port, "Transfer-Encoding: chunked, chunked"), "0\r\n\r\n"),
    "an encoding that is not chunks": request(post(port, "Transfer-Encoding: xchunked"), "0\r\n\r\n"),
    "an encoding with a tab": request(post(port, "Transfer-Encoding:\tchunked", "Content-Length: 1"), "0\r\n\r\n"),
    "chunks that are not last": request(post(port, "Transfer-Encoding: chunked, identity"), "0\r\n\r\n"),
    "a size that is no number": request(post(port, "Transfer-Encoding: chunked"), "zz\r\n{}\r\n0\r\n\r\n"),
    "a size that overflows": request(post(port, "Transfer-Encoding: chunked"), "fffffffffffffffff\r\n{}\r\n"),
    "a chunk without its end": request(post(port, "Transfer-Encoding: chunked"), "2\r\n{}XX0\r\n\r\n"),
    "a chunk ended by a bare line feed": request(post(port, "Transfer-Encoding: chunked"), "2\n{}\n0\n\n"),
    "a folded header": request(["GET /v1/models HTTP/1.1", host, "X-A: b\r\n c"]),
    "a folded first header": `GET /v1/models HTTP/1.1\r\n ${host}\r\n\r\n`,
    "bare line feeds": `GET /v1/models HTTP/1.1\n${host}\n\n`,
    "a bare carriage return": `GET /v1/models HTTP/1.1\r${host}\r\r`,
    "a header without a colon": request(["GET /v1/models HTTP/1.1", host, "Nonsense"]),
    "a space before the colon": request(["GET /v1/models HTTP/1.1", "Host : a", json]),
    "a header with a NUL": request(["GET /v1/models HTTP/1.1", host, "X-A: a\0b"]),
    "a name with a space": request(["GET /v1/models HTTP/1.1", host, "X A: b"]),
    "two hosts": request(["GET /v1/models HTTP/1.1", host, "Host: evil.example"]),
    "no host": request(["GET /v1/models HTTP/1.1"]),
    "a whole address": request([`GET http://127.0.0.1:${port}/v1/models HTTP/1.1`, host]),
    "a whole address elsewhere": request(["GET http://evil.example/v1/models HTTP/1.1", host]),
    "an address without a slash": request(["GET v1/models HTTP/1.1", host]),
    "an address with a space": request(["GET /v1/ models HTTP/1.1", host]),
    "HTTP/0.9": "GET /v1/models\r\n\r\n",
    "HTTP/2's preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3.0": request(["GET /v1/models HTTP/3.0", host]),
    "HTTP/1.10": request(["GET /v1/models HTTP/1.10", host]),
    "no HTTP": "SSH-2.0-OpenSSH_9.0\r\n",
    TLS: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a method nobody knows": request(["STEAL /v1/models HTTP/1.1", host]),
    "a method in small letters": request(["get /v1/models HTTP/1.1", host]),
    NULs: "\0\0\0\0\r\n\r\n",
    "an address of 64 KiB": request([`GET /${"a".repeat(65_536)} HTTP/1.1`, host]),
    "a header of 64 KiB": request(["GET /v1/models HTTP/1.1", host, `X-A: ${"a".repeat(65_536)}`]),
    "2,000 headers": request([
      "GET /v1/models HTTP/1.1",
      host,
      ...Array.from({ length: 2_000 }, (_, i) => `X-${i}: ${"a".repeat(10)}`),
    ]),
  };
  for (const [what, bytes] of Object.entries(cases)) {
    const text = await exchange(port, bytes, 300);
    const [status, ...more] = statuses(text);
    t.ok([400, 431].includes(status), `${what}: ${text.split("\r\n")[0]}`);
    t.match(text, /\r\n\r\n\{"error":\{.*"code":"GME_REQUEST_UNREADABLE"/, `${what}: in JSON`);
    t.ok(
      more.every((next) => next === 400),
      `${what}: nothing behind it was answered`,
    );
  }
  t.equal(reached, 0, "no handler was reached");
  const reply = await exchange(port, request(["CONNECT evil.example:443 HTTP/1.1", host]), 300);
  t.equal(reply, "", "CONNECT: the connection is closed");
  t.equal((await healthy(url, 3)).length, 3);
});

t.test("S09, S25 pipelined requests are answered in order, up to the limit of a connection", async (t) => {
  const { port } = await startApp(t, { limits: { maxRequestsPerSocket: 100, keepAliveMs: 500 } });
  const one = (i: number) => {
    const body = JSON.stringify({ input: Array.from({ length: (i % 3) + 1 }, () => ({ text: "a" })) });
    return request(post(port, `Content-Length: ${body.length}`), body);
  };
  const text = await exchange(port, Array.from({ length: 1_000 }, (_, i) => one(i)).join(""), 20_000);
  const answers = text.split(/(?=HTTP\/1\.1 \d{3})/);
  const served = answers.filter((answer) => answer.startsWith("HTTP/1.1 200"));
  t.equal(served.length, 100, "as many as a connection may have");
  served.forEach((answer, i) => {
    if ((answer.match(/"pixels"/g) ?? []).length !== (i % 3) + 1) t.fail(`answer ${i} is another's`);
  });
  t.ok(
    answers.slice(100).every((answer) => /^HTTP\/1\.1 503/.test(answer)),
    "the rest is not served",
  );
});

t.test("S25 a request that is given up takes nothing from the one behind it or from others", async (t) => {
  const gone: string[] = [];
  const { port, url } = await startApp(t, {
    routes: (app) => {
      app.get<{ Params: { name: string } }>("/slow/:name", async (request, reply) => {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, 400);
          onceOver(request, reply, (answered) => {
            clearTimeout(timer);
            if (!answered) gone.push(request.params.name);
            resolve();
          });
        });
        return { name: request.params.name };
      });
    },
  });
  const host = `Host: 127.0.0.1:${port}`;
  const both = exchange(port, request([`GET /slow/a HTTP/1.1`, host]) + request([`GET /slow/b HTTP/1.1`, host]), 1_000);
  const lost = connect(port, "127.0.0.1");
  lost.write(request(["GET /slow/lost HTTP/1.1", host]) + request(["GET /slow/behind HTTP/1.1", host]));
  await sleep(100);
  lost.destroy();
  const text = await both;
  t.match(text, /"name":"a"[\s\S]*"name":"b"/, "in order");
  await sleep(100);
  t.strictSame(gone.sort(), ["behind", "lost"], "only the ones of the connection that went");
  t.strictSame(await (await fetch(`${url}/slow/c`)).json(), { name: "c" });
});

t.test("S41 HTTP/1.0, Expect, Upgrade and h2c have defined answers", async (t) => {
  const { port } = await startApp(t, { limits: { maxBodyBytes: 1_000_000 } });
  const host = `Host: 127.0.0.1:${port}`;
  const old = await exchange(port, request(["GET /health HTTP/1.0", host]));
  t.match(old, /^HTTP\/1\.1 200/, "HTTP/1.0 is answered");
  t.match(old, /connection: close/i, "and closed");
  t.equal(statuses(await exchange(port, request(["GET /health HTTP/1.0"])))[0], 400, "without a host not");
  const expect = (length: number, what = "100-continue") =>
    request(post(port, `Content-Length: ${length}`, `Expect: ${what}`), length < 1_000 ? good : "");
  t.strictSame(statuses(await exchange(port, expect(good.length))), [100, 200]);
  t.strictSame(
    statuses(await exchange(port, expect(2_000_000))),
    [413],
    "a body that is too large is not even asked for",
  );
  const other = await exchange(port, expect(good.length, "200-ok"));
  t.match(other, /^HTTP\/1\.1 417[\s\S]*GME_REQUEST_UNREADABLE/);
  for (const upgrade of ["websocket", "h2c", "TLS/1.0"]) {
    const lines = ["Connection: Upgrade, HTTP2-Settings", `Upgrade: ${upgrade}`, "HTTP2-Settings: AAMAAABkAAQAAP__"];
    const text = await exchange(port, request(["GET /health HTTP/1.1", host, ...lines]));
    t.match(text, /^HTTP\/1\.1 200/, `${upgrade}: answered as if it had not been asked for`);
  }
});

t.test(
  "S39 a process without free file handles refuses connections and recovers",
  { skip: process.platform === "win32" && "ulimit is of POSIX" },
  async (t) => {
    const script = `ulimit -n 64; exec "$0" --import tsx "$1"`;
    const child = spawn("/bin/sh", ["-c", script, process.execPath, join(__dirname, "children", "listen.ts")], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, NODE_OPTIONS: "" },
    });
    t.teardown(() => child.kill());
    const port = Number(
      await new Promise((resolve) => child.stdout.once("data", (line) => resolve(String(line).trim()))),
    );
    const health = () =>
      exchange(port, request(["GET /health HTTP/1.1", `Host: 127.0.0.1:${port}`, "Connection: close"]), 1_000);
    t.match(await health(), /^HTTP\/1\.1 200/);
    const sockets = Array.from({ length: 200 }, () => connect(port, "127.0.0.1").on("error", () => undefined));
    await sleep(500);
    const left = sockets.filter((socket) => !socket.destroyed && !socket.closed).length;
    t.equal(child.exitCode, null, "it lives");
    for (const socket of sockets) socket.destroy();
    await sleep(300);
    t.match(await health(), /^HTTP\/1\.1 200/, "and serves again");
    t.comment(`S39: 64 handles, 200 connections: ${left} were kept waiting or served`);
  },
);
