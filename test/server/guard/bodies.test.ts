import { connect, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import t from "tap";
import { type JsonLimits, jsonLimits, parseJsonBody } from "../../../lib/server/json-body";
import { rejectsWith } from "../../helpers/rejects";
import { startApp } from "./guard-app";
import { closedAfter, exchange, openSocket, request, statuses } from "./raw-http";

const good = { input: [{ text: "a" }] };
const head = (port: number, ...lines: string[]) => [
  "POST /v1/embeddings HTTP/1.1",
  `Host: 127.0.0.1:${port}`,
  "Content-Type: application/json",
  ...lines,
];
const megabyte = 2 ** 20;

/** [what, body]: none of them is what the route takes. */
function brokenBodies(): [string, string | Buffer][] {
  const text = JSON.stringify({ input: [{ text: 'a "quoted" \\ text', image: "x" }], model: "m" });
  const cut = Array.from({ length: text.length - 1 }, (_, i): [string, string] => [`cut at ${i}`, text.slice(0, i)]);
  const inString = (bytes: number[]) =>
    Buffer.concat([Buffer.from('{"input":[{"text":"'), Buffer.from(bytes), Buffer.from('"}]}')]);
  const wrongUtf8 = [
    [0xff],
    [0xc0, 0x80],
    [0xc3],
    [0xed, 0xa0, 0x80],
    [0xf4, 0x90, 0x80, 0x80],
    [0xe2, 0x82],
    [0x80],
    [0xfe, 0xff],
  ];
  const controls = Array.from({ length: 32 }, (_, i): [string, Buffer] => [`control ${i} in a text`, inString([i])]);
  const values = [
    "NaN",
    "Infinity",
    "-Infinity",
    "undefined",
    "'a'",
    "01",
    "+1",
    ".5",
    "1.",
    "0x1",
    "1e",
    "tru",
    "nul",
    "[1,]",
    "{a:1}",
    '{"a":1,}',
    "[,1]",
    "//c\n1",
    "/**/1",
    "1 2",
    '"a',
    '"\\x"',
    '"\\u12"',
    "--1",
    "`a`",
    "]",
    "}",
    "[}",
    "{]",
    "\\",
    "\u00a01",
    '{"a"}',
    '{"a":}',
    "{:1}",
    '{"a" 1}',
    "[1 2]",
    "{,}",
    "-",
    '"\u2028',
    "\ufeff{}",
  ];
  const wrongTypes = [
    "null",
    "1",
    '"text"',
    "true",
    "[]",
    "{}",
    '{"input":null}',
    '{"input":{}}',
    '{"input":"a"}',
    '{"input":[null]}',
    '{"input":[1]}',
    '{"input":[[1]]}',
    '{"input":[{"text":1}]}',
    '{"input":[{"text":null}]}',
    '{"input":[{"text":{"length":3}}]}',
    '{"input":[{"image":["a"]}]}',
    '{"input":[{"text":"a","input_type":"QUERY"}]}',
    '{"input":[{"text":"a"}],"extra":1}',
    '{"input":[{"text":"a","extra":1}]}',
  ];
  const numbers = ["0", "-1", "1e999", "-1e999", "1.5", "1e9999999999", '"64"', "true", "[64]"].map(
    (n): [string, string] => [`dimensions ${n}`, `{"input":[{"text":"a"}],"dimensions":${n}}`],
  );
  const poison = [
    '{"__proto__":{"x":1},"input":[{"text":"a"}]}',
    '{"input":[{"text":"a","__proto__":{"x":1}}]}',
    '{"constructor":{"prototype":{"x":1}},"input":[{"text":"a"}]}',
    '{"\\u005f_proto__":{"x":1},"input":[{"text":"a"}]}',
    '{"input":[{"__proto__":null}]}',
  ];
  return [
    ...cut,
    ...controls,
    ...wrongUtf8.map((bytes): [string, Buffer] => [`bytes ${bytes}`, inString(bytes)]),
    ...values.map((value): [string, string] => [value, value]),
    ...values.map((value): [string, string] => [`${value} as text`, `{"input":[{"text":${value}}]}`]),
    ...[...wrongTypes, ...poison].map((value): [string, string] => [value, value]),
    ...numbers,
    ["empty", ""],
    ["blank", "   "],
    ["a byte order mark", Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(JSON.stringify(good))])],
    ["UTF-16", Buffer.from(JSON.stringify(good), "utf16le")],
    ["UTF-16 with its mark", Buffer.from(`\ufeff${JSON.stringify(good)}`, "utf16le")],
    ["100,000 deep", "[".repeat(100_000)],
    ["100,000 deep and closed", `${"[".repeat(100_000)}${"]".repeat(100_000)}`],
    ["objects 100,000 deep", '{"a":'.repeat(100_000)],
    ["65 deep inside", `{"input":${"[".repeat(64)}${"]".repeat(64)}}`],
    ["a million keys", `{${Array.from({ length: 1e6 }, (_, i) => `"${i}":1`).join()}}`],
    ["a million values", `{"input":[${Array.from({ length: 1e6 }, () => 1).join()}]}`],
    ["a million texts", `{"input":[${Array.from({ length: 1e6 }, () => '"a"').join()}]}`],
    ["a key of a megabyte", `{"${"k".repeat(megabyte)}":1}`],
    ["blanks without end", `{"input":[${" ".repeat(8 * megabyte)}`],
    ["a number of a megabyte", `{"input":[${"1".repeat(megabyte)}]}`],
    ["a long text with a line break", `{"input":[{"text":"${"a".repeat(200_000)}\n"}]}`],
    ["a long text and no end", `{"input":[{"text":"${"a".repeat(200_000)}`],
    ["a long text with a wrong escape", `{"input":[{"text":"${"a".repeat(200_000)}\\x"}]}`],
    ["a long text where a number stands", `{"input":[{"text":"a"}],"dimensions":"${"1".repeat(200_000)}"}`],
  ];
}

t.test("S07 broken bodies are answered with 400, quickly, and change nothing else", async (t) => {
  const { port, post } = await startApp(t);
  const bodies = brokenBodies();
  t.ok(bodies.length >= 200, `${bodies.length} bodies`);
  const times: number[] = [];
  for (const [what, body] of bodies) {
    const bytes = Buffer.from(body as string);
    const start = performance.now();
    const text = await exchangeToEnd(
      port,
      Buffer.concat([Buffer.from(request(head(port, `Content-Length: ${bytes.length}`, "Connection: close"))), bytes]),
    );
    times.push(performance.now() - start);
    const status = statuses(text)[0];
    if (status !== 400 || !/"code":"GME_(REQUEST_UNREADABLE|INPUT_INVALID)"/.test(text))
      t.fail(`${what}: ${text.slice(0, 300)}`);
    if (/0x[0-9a-f]{6}|\n\s+at |SyntaxError|node_modules/.test(text)) t.fail(`${what}: says too much: ${text}`);
  }
  times.sort((a, b) => a - b);
  const median = times[times.length >> 1];
  t.comment(`S07: ${bodies.length} bodies, median ${median.toFixed(1)} ms, slowest ${times.at(-1)?.toFixed(0)} ms`);
  t.ok(median < 50, "the median is under 50 ms");
  t.ok(times[Math.floor(times.length * 0.95)] < 100, "19 of 20 within 100 ms on a busy machine");
  t.equal(({} as { x?: unknown }).x, undefined, "nothing is polluted");
  t.equal(
    (await post('{"input":[{"text":"first"}],"input":[{"text":"a"},{"text":"b"}]}')).body.items?.length,
    2,
    "of two keys the last wins",
  );
  t.equal((await post(good)).status, 200);
});

function exchangeToEnd(port: number, bytes: Uint8Array): Promise<string> {
  return exchange(port, bytes, 5_000);
}

t.test("S07 what is counted on the bytes is what the parser then sees", async (t) => {
  const parse = (text: string, hasControls = false) =>
    parseJsonBody({ bytes: Buffer.from(text), hasControls }, jsonLimits, JSON.parse);
  const pieces = ['\\"', "\\\\", "a", "\\u0022", "é", "文", "[", "{", ",", ":", "]", "😀", "\\n"];
  let seed = 7;
  const random = (n: number) => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % n;
  };
  for (let round = 0; round < 300; round++) {
    const long = [10, 300, 70_000][random(3)];
    const strings = Array.from({ length: 1 + random(4) }, () => {
      const plain = random(2) === 0;
      let text = "";
      while (text.length < random(long)) text += plain ? "abcdefgh" : pieces[random(pieces.length)];
      return `"${plain ? "b".repeat(random(long)) : ""}${text}${["", "\\\\", '\\"'][random(3)]}"`;
    });
    const text = `{"input": [${strings.join(", ")}],"o":{"k":${strings[0]}},"n":[1,[2]]}`;
    if (JSON.stringify(parse(text)) !== JSON.stringify(JSON.parse(text)))
      t.fail(`round ${round}: ${text.slice(0, 100)}`);
  }
  const long = "x".repeat(100_000);
  t.strictSame(parse(`"${long}"`), long, "a body that is one long text");
  t.strictSame(parse(`[\n"${long}"]`, true), [long], "in lines");
  const odd = `{"a":"${long}é"}`;
  t.strictSame(parse(odd), JSON.parse(odd), "not ASCII");
  for (let offset = 0; offset < 8; offset++)
    for (const bad of ["\u0001", "\u001f", "\n", "\t"])
      await rejectsWith(
        t,
        () => parse(`["${"y".repeat(offset)}${long}${bad}${"z".repeat(offset)}"]`, true),
        "GME_REQUEST_UNREADABLE",
      );
  for (const [change, text] of [
    [{ maxDepth: 2 }, "[[[]]]"],
    [{ maxValues: 3 }, "[1,2,3,4]"],
    [{ maxBareBytes: 5 }, "[      ]"],
  ] as [Partial<JsonLimits>, string][])
    await rejectsWith(
      t,
      () => parseJsonBody({ bytes: Buffer.from(text), hasControls: false }, { ...jsonLimits, ...change }, JSON.parse),
      "GME_REQUEST_UNREADABLE",
    );
});

t.test("S06 no more of a body is read than allowed, whatever its length says", async (t) => {
  const limit = 4 * megabyte;
  const { port, post } = await startApp(t, { limits: { maxBodyBytes: limit, lingerMs: 300 } });
  const chunk = Buffer.alloc(65_536, "a");
  const sendOn = async (lines: string[], piece: Buffer) => {
    const socket = await openSocket(port);
    let answer = "";
    let sent = 0;
    const got = new Promise<void>((resolve) => {
      socket.on("data", (part) => {
        answer += part;
        if (answer.includes("}")) resolve();
      });
      socket.on("error", () => resolve()).on("close", () => resolve());
    });
    socket.write(request(head(port, ...lines), lines[0].startsWith("T") ? "" : '{"input":"'));
    const feed = () => {
      while (!socket.destroyed && answer === "" && sent < 40 * limit) {
        sent += piece.length;
        if (!socket.write(piece)) return void socket.once("drain", feed);
      }
    };
    feed();
    await got;
    socket.destroy();
    return { answer, sent };
  };
  const before = process.memoryUsage().rss;
  for (const [what, lines, piece] of [
    ["an announced length over the limit", [`Content-Length: ${limit + 1}`], chunk],
    ["a length of 8 exabytes", ["Content-Length: 9000000000000000000"], chunk],
    [
      "chunks without end",
      ["Transfer-Encoding: chunked"],
      Buffer.concat([Buffer.from("10000\r\n"), chunk, Buffer.from("\r\n")]),
    ],
  ] as const) {
    const { answer, sent } = await sendOn([...lines], piece);
    t.equal(statuses(answer)[0], 413, what);
    t.match(answer, /GME_BODY_TOO_LARGE/);
    t.match(answer, /connection: close/i);
    t.comment(`S06: ${what}: ${(sent / megabyte).toFixed(1)} MiB were taken of a limit of ${limit / megabyte}`);
    t.ok(sent < limit + 16 * megabyte, `${sent} bytes were sent, those in the system's buffers among them`);
  }
  const growth = process.memoryUsage().rss - before;
  t.comment(`S06: resident memory grew by ${(growth / megabyte).toFixed(0)} MiB, client included`);
  t.ok(growth < 64 * megabyte);
  const large = JSON.stringify({ input: [{ text: "a".repeat(2 * limit) }] });
  t.equal((await post(large)).status, 413, "an ordinary client that sends all of it reads the answer");
  for (const lie of [10, 1e6]) {
    const text = await exchange(
      port,
      request(head(port, `Content-Length: ${lie}`), JSON.stringify(good).slice(0, 9)),
      300,
    );
    t.equal(text, "", `${lie} bytes announced, fewer sent: it waits`);
  }
});

t.test("S06 compressed bodies are refused unread", async (t) => {
  const { port, post } = await startApp(t);
  const bomb = gzipSync(Buffer.alloc(100 * megabyte));
  for (const encoding of [
    "gzip",
    "deflate",
    "br",
    "zstd",
    "gzip, gzip",
    "GZIP",
    "x-gzip",
    "identity, gzip",
    "compress",
  ]) {
    const found = await post(new Uint8Array(bomb), { "content-encoding": encoding });
    t.match(
      found,
      { status: 415, body: { error: { code: "GME_BODY_FORMAT", param: "headers.content-encoding" } } },
      encoding,
    );
  }
  t.equal((await post(good, { "content-encoding": "identity" })).status, 200);
  const chunked = await exchange(port, request(head(port, "Transfer-Encoding: gzip, chunked"), "0\r\n\r\n"));
  t.match(statuses(chunked)[0], /^(400|415)$/, "a transfer encoding");
});

t.test("S06 the bodies of all requests in progress have a limit together", async (t) => {
  const { port, post, app } = await startApp(t, { limits: { maxHeldBytes: 3 * megabyte } });
  const part = `{"input":[{"text":"${"a".repeat(megabyte)}`;
  const sockets = await Promise.all([0, 1].map(() => openSocket(port)));
  for (const socket of sockets) socket.write(request(head(port, `Content-Length: ${2 * megabyte}`), part));
  await new Promise((resolve) => setTimeout(resolve, 300));
  const large = { input: [{ text: "b".repeat(1.5 * megabyte) }] };
  t.match(await post(large), { status: 429, body: { error: { code: "GME_QUEUE_FULL" } } });
  t.equal((await post(good)).status, 200, "small ones are served");
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, 100));
  for (let i = 0; i < 5; i++) {
    const inject = { method: "POST", url: "/v1/embeddings", headers: { host: "localhost" }, payload: large } as const;
    t.equal((await app.inject(inject)).statusCode, 400, "without a network");
    t.match(
      await post(large),
      { status: 400, body: { error: { code: "GME_TEXT_TOO_LONG" } } },
      "what was held is given back",
    );
  }
});

t.test("S08 multipart and forms are not offered", async (t) => {
  const { url, post } = await startApp(t);
  const part = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\nx\r\n';
  const bodies: [string, string][] = [
    ["multipart/form-data; boundary=b", `${part}--b--`],
    ["multipart/form-data; boundary=b", part],
    ["multipart/form-data", part],
    [`multipart/form-data; boundary=${"b".repeat(252)}`, `--${"b".repeat(252)}\r\n\r\nx`],
    ["multipart/form-data; boundary=__proto__", "--__proto__\r\n__proto__: x\r\n\r\nx\r\n--__proto__--"],
    ["multipart/mixed; boundary=b", part],
    ["multipart/", part],
    ["multipart/form-data; boundary=b", part.repeat(100_000)],
    ["application/x-www-form-urlencoded", "input=a&__proto__[x]=1"],
  ];
  for (const [type, body] of bodies)
    t.match(
      await post(body, { "content-type": type }),
      { status: 415, body: { error: { code: "GME_BODY_FORMAT" } } },
      type.slice(0, 50),
    );
  const form = new FormData();
  form.set("input", "a");
  t.equal((await fetch(`${url}/v1/embeddings`, { method: "POST", body: form })).status, 415, "a real form");
  t.equal((await post(good)).status, 200);
});

t.test("S12 too many items, pictures and texts are refused before anything is made of them", async (t) => {
  const { post } = await startApp(t);
  const many = (count: number, item: object) => ({ input: Array.from({ length: count }, () => item) });
  t.equal((await post(many(256, { text: "a" }))).status, 200);
  t.match(await post(many(257, { text: "a" })), {
    status: 400,
    body: { error: { code: "GME_INPUT_INVALID", message: /257.*256/ } },
  });
  t.match(await post(many(17, { image: "data:image/png;base64,!" })), {
    status: 400,
    body: { error: { message: /17 pictures.*16/ } },
  });
  t.match(await post({ input: [] }), { status: 400, body: { error: { code: "GME_INPUT_INVALID", param: "input" } } });
  t.match(await post(many(1, { text: "a".repeat(1_048_577) })), {
    status: 400,
    body: { error: { code: "GME_TEXT_TOO_LONG", message: /1048577.*1048576/ } },
  });
  t.match(await post(many(1, { text: "a", instruction: "a".repeat(1_048_577) })), {
    status: 400,
    body: { error: { param: "input[0].instruction" } },
  });
  t.match(await post(many(200, { text: "a ".repeat(65_000) })), {
    status: 400,
    body: { error: { code: "GME_TEXT_TOO_LONG", message: /tokens/ } },
  });
  for (const dimensions of [0, -1, 1.5, "64"])
    t.match(await post({ ...good, dimensions }), {
      status: 400,
      body: { error: { code: "GME_INPUT_INVALID", param: "dimensions" } },
    });
  for (const extra of ["n", "best_of", "stream", "logprobs", "constructor", "toString"])
    t.match(await post({ ...good, [extra]: 1e9 }), { status: 400, body: { error: { param: extra } } }, extra);
  t.match(await post({ input: [{ text: "a", n: 3 }] }), { status: 400, body: { error: { param: "input[0].n" } } });
});

t.test("S06 a connection whose body nobody wants is closed after a while", async (t) => {
  const { app, port } = await startApp(t, { guard: { apiKeys: ["a-key-of-some-length"] }, limits: { lingerMs: 200 } });
  const closed = new Promise<number>((resolve) => {
    app.server.on("connection", (socket: Socket) => void closedAfter(socket).then(resolve));
  });
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true }).on("error", () => undefined);
  socket.resume().write(request(head(port, "Transfer-Encoding: chunked")));
  const timer = setInterval(() => void (socket.writable && socket.write("1\r\na\r\n")), 20);
  const ms = await closed;
  clearInterval(timer);
  socket.destroy();
  t.ok(ms > 150 && ms < 2_000, `${ms.toFixed(0)} ms`);
});
