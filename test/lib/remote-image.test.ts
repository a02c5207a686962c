import { readFileSync } from "node:fs";
import type { RequestListener } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { gzipSync } from "node:zlib";
import t, { type Test } from "tap";
import { DecodeAhead } from "../../lib/decode-ahead";
import { decodeImage } from "../../lib/image-decode";
import { readInput } from "../../lib/input";
import { fetchImage, fetchRemoteImage, type RemotePolicy, remotePolicy } from "../../lib/remote-image";
import { bundledModelPath, load } from "../../lib/index";
import { closedAddresses } from "../helpers/closed-addresses";
import { imageFixture } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import { type RunningServer, serve, testPolicy } from "../helpers/remote-servers";

const picture = readFileSync(imageFixture("one-pixel.png"));
const decode = { orientation: "exif" as const, maxImagePixels: 64e6 };

/** Where a canary listens; macOS has but one loopback address, and no connection to another can reach it. */
const elsewhere = process.platform === "darwin" ? "127.0.0.1" : "127.0.0.2";

const sendPicture: RequestListener = (_request, response) => response.end(picture);

async function served(t: Test, answer: RequestListener, address?: string): Promise<RunningServer> {
  const server = await serve(answer, address);
  t.teardown(() => server.close());
  return server;
}

function get(address: string, policy: RemotePolicy = testPolicy(), signal?: AbortSignal): Promise<Uint8Array> {
  return fetchRemoteImage(new URL(address), policy, { field: "input.image", signal });
}

t.test("a picture at an address is fetched, decoded and told by its bytes", async (t) => {
  const server = await served(t, (_request, response) => {
    response.setHeader("content-type", "text/html"); // labels never count
    response.end(picture);
  });
  const address = `http://pictures.example:${server.port}/a.png?key=secret`;
  t.strictSame(Buffer.from(await get(address)), picture);
  t.strictSame(server.hosts, [`pictures.example:${server.port}`], "Host is the name's");
  for (const image of [address, new URL(address)]) {
    const { image: checked } = readInput({ image }, "input", false, testPolicy());
    t.match(checked, { kind: "remote", name: `http://pictures.example:${server.port}/a.png` });
    t.match(await decodeImage(checked as NonNullable<typeof checked>, decode), { width: 1, height: 1 });
  }
});

t.test("S21: what is no picture is refused by its bytes, whatever its label", async (t) => {
  const server = await served(t, (_request, response) => {
    response.setHeader("content-type", "image/png");
    response.end("<html>no picture</html>");
  });
  const { image } = readInput(
    { image: `http://a.example:${server.port}/x.png?key=secret` },
    "input",
    false,
    testPolicy(),
  );
  const error = await rejectsWith(t, () => decodeImage(image as NonNullable<typeof image>, decode), "GME_IMAGE_FORMAT");
  t.notMatch(JSON.stringify([error.message, error]), /secret/, "queries stay out of messages");
});

t.test("S17: without remoteImages nothing is fetched", async (t) => {
  const server = await served(t, sendPicture);
  for (const scheme of ["http", "https", "HTTP"]) {
    const image = `${scheme}://127.0.0.1:${server.port}/a.png`;
    await rejectsWith(t, () => readInput({ image }), "GME_URL_FETCH_DISABLED", image);
    await rejectsWith(t, () => readInput({ image: new URL(image) }), "GME_URL_FETCH_DISABLED", `URL ${image}`);
  }
  t.equal(server.connections, 0);
  t.equal(remotePolicy(undefined), undefined);
  t.equal(remotePolicy(false), undefined);
});

t.test("S18: no spelling of a closed address is dialled", async (t) => {
  const servers = [await served(t, sendPicture)];
  const port = servers[0].port;
  const policy = { ...(remotePolicy(true) as RemotePolicy), resolve: testPolicy().resolve };
  let canParse = 0;
  for (const variant of closedAddresses) {
    const address = variant.replace("%p", String(port));
    if (!URL.canParse(address)) {
      t.pass(`${JSON.stringify(variant)} is no address`);
      continue;
    }
    canParse++;
    const error = await rejectsWith(t, () => get(address, policy), "GME_URL_REFUSED", JSON.stringify(variant));
    t.notMatch(error.message, /secret/);
  }
  t.ok(canParse >= 60, `${canParse} addresses were tried`);
  t.equal(servers[0].connections, 0, "no connection was opened");
});

t.test("S18: with a list only its hosts and ports are fetched from", async (t) => {
  const server = await served(t, sendPicture);
  const rules = (hosts: unknown) => testPolicy({ rules: remotePolicy(hosts)?.rules as RemotePolicy["rules"] });
  const { port } = server;
  for (const [hosts, address] of [
    [[`pictures.example:${port}`], `http://pictures.example:${port}/`],
    [[`Pictures.Example:${port}`], `http://PICTURES.example.:${port}/`],
    [[`b\u00fccher.example:${port}`], `http://xn--bcher-kva.example:${port}/`],
    [[`127.1:${port}`], `http://127.0.0.1:${port}/`],
  ] as const)
    t.ok(await get(address, rules(hosts)), `${hosts} ${address}`);
  const before = server.connections;
  for (const [hosts, address] of [
    [[], `http://pictures.example:${port}/`],
    [["pictures.example"], `http://pictures.example:${port}/`],
    [["pictures.example:80"], `http://pictures.example:${port}/`],
    [["pictures.example"], `http://a.pictures.example/`],
    [["pictures.example"], `http://pictures.example.evil.example/`],
    [["pictures.example"], `http://evil.example/pictures.example`],
    [["pictures.example"], `http://pictures.example@evil.example/`],
    [["pictures.example"], `http://evil.example#pictures.example`],
    [["pictures.example"], `http://p\u0456ctures.example/`],
    [["pictures.example:80"], `https://pictures.example/`],
  ] as const)
    await rejectsWith(t, () => get(address, rules(hosts)), "GME_URL_REFUSED", `[${hosts}] ${address}`);
  t.equal(server.connections, before, "nothing else was dialled");
  const listed = { ...(remotePolicy(["pictures.example"]) as RemotePolicy), resolve: testPolicy().resolve };
  await rejectsWith(t, () => get("http://pictures.example/", listed), "GME_URL_REFUSED", "a listed name at 127.0.0.1");
});

t.test("a list is checked, and copied", async (t) => {
  const bad = [
    "",
    "*.example.org",
    "http://a.example",
    "a.example/b",
    "u@a.example",
    "a b",
    "a.example:99999",
    3,
    null,
    "%61",
  ];
  for (const entry of bad)
    await rejectsWith(t, () => remotePolicy([entry]), "GME_OPTION_INVALID", JSON.stringify(entry));
  for (const value of ["a.example", 1, null, {}]) await rejectsWith(t, () => remotePolicy(value), "GME_OPTION_INVALID");
  const list = ["a.example"];
  const policy = remotePolicy(list);
  list.push("b.example");
  t.strictSame(policy?.rules, [{ host: "a.example", port: 0 }]);
});

t.test("S20: every address of a name is checked and a checked one is dialled", async (t) => {
  const server = await served(t, sendPicture);
  const canary = await served(t, sendPicture, elsewhere);
  const address = `http://pictures.example:${server.port}/`;
  const canaryAddress = `http://pictures.example:${canary.port}/`;
  const answers = (...lists: string[][]) => {
    let asked = 0;
    const resolve = async () => lists[Math.min(asked++, lists.length - 1)].map((a) => ({ address: a, family: 4 }));
    return { policy: testPolicy({ resolve }), asked: () => asked };
  };
  for (const mixed of [
    ["127.0.0.1", "127.0.0.2"],
    ["127.0.0.2", "127.0.0.1"],
    ["127.0.0.1", "::1"],
    ["::1"],
    ["no address"],
  ])
    await rejectsWith(t, () => get(address, answers(mixed).policy), "GME_URL_REFUSED", mixed.join(" "));
  const rebound = answers(["127.0.0.1"], ["127.0.0.2"]);
  t.ok(await get(address, rebound.policy), "the first answer counts");
  t.equal(rebound.asked(), 1, "a name is asked once");
  await rejectsWith(t, () => get(canaryAddress, rebound.policy), "GME_URL_REFUSED", "then it points elsewhere");
  await rejectsWith(t, () => get(address, answers([]).policy), "GME_URL_FETCH_FAILED", "no address at all");
  const missing = testPolicy({ resolve: () => Promise.reject(Object.assign(new Error("no"), { code: "ENOTFOUND" })) });
  const error = await rejectsWith(t, () => get(address, missing), "GME_URL_FETCH_FAILED", "an unknown name");
  t.equal(error.errno, "ENOTFOUND");
  t.equal(canary.connections, 0);
});

t.test("S19: each redirect is checked like the address itself", async (t) => {
  const canary = await served(t, sendPicture, elsewhere);
  const server = await served(t, (request, response) => {
    const to = decodeURIComponent((request.url ?? "").slice(1));
    if (to === "picture") return void response.end(picture);
    const [status, location] = /^\d/.test(to) ? [Number(to.slice(0, 3)), to.slice(4)] : [302, to];
    response.writeHead(status, { location }).end();
  });
  const address = (to: string) => `http://pictures.example:${server.port}/${encodeURIComponent(to)}`;
  for (const status of [301, 302, 303, 307, 308]) t.ok(await get(address(`${status} /picture`)), `${status}, relative`);
  t.ok(await get(address(address("301 /picture"))), "301 after 302");
  t.ok(await get(address(`//other.example:${server.port}/picture`)), "another host, same scheme");
  const closed = [
    `http://127.0.0.2:${canary.port}/`,
    `http://2130706434:${canary.port}/`,
    `//127.0.0.2:${canary.port}/`,
    `http://[::1]:${canary.port}/`,
    `http://u:p@pictures.example:${server.port}/picture`,
    "file:///etc/passwd",
    "ftp://pictures.example/a.png",
    "gopher://pictures.example/",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "http://",
    `http://pictures.example:25/`,
  ];
  for (const to of closed) await rejectsWith(t, () => get(address(to)), "GME_URL_REFUSED", to);
  const listed = testPolicy({ rules: [{ host: "pictures.example", port: server.port }] });
  for (const to of [`http://other.example:${server.port}/picture`, `http://pictures.example:${canary.port}/`])
    await rejectsWith(t, () => get(address(to), listed), "GME_URL_REFUSED", `off the list: ${to}`);
  t.equal(canary.connections, 0);
});

t.test("S19: five redirects are followed, a sixth is not", async (t) => {
  const server = await served(t, (request, response) => {
    const left = Number((request.url ?? "").slice(1));
    if (left === 0) response.end(picture);
    else response.writeHead(302, { location: `/${left - 1}` }).end("a body that nobody reads");
  });
  t.ok(await get(`http://pictures.example:${server.port}/5`));
  for (const hops of [6, 11])
    await rejectsWith(
      t,
      () => get(`http://pictures.example:${server.port}/${hops}`),
      "GME_URL_FETCH_FAILED",
      `${hops}`,
    );
  t.equal(server.hosts.length, 6 + 6 + 6);
});

t.test("S21: no body goes over the limit of bytes", async (t) => {
  const chunk = Buffer.alloc(16_384, 1);
  let sent = 0;
  const answers: Record<string, RequestListener> = {
    endless: (_request, response) => {
      const more = () => {
        while (!response.destroyed && response.write(chunk)) sent += chunk.length;
      };
      response.on("drain", more);
      more();
    },
    announced: (_request, response) => void response.writeHead(200, { "content-length": 3e9 }).write("x"),
  };
  for (const [name, answer] of Object.entries(answers)) {
    const server = await served(t, answer);
    const error = await rejectsWith(t, () => get(`http://a.example:${server.port}/`), "GME_IMAGE_TOO_LARGE", name);
    t.match(error.expected, /100000 bytes/);
  }
  t.ok(sent < 20e6, `${sent} bytes were sent of an endless body`);
  const exact = await served(t, (_request, response) => response.end(Buffer.alloc(100_000)));
  t.equal((await get(`http://a.example:${exact.port}/`)).length, 100_000, "the limit itself is allowed");
});

t.test("S21: slow, broken, encoded and lying answers are refused in time", async (t) => {
  const raw =
    (text: string): RequestListener =>
    (request) =>
      void request.socket.end(text);
  const answers: Record<string, [RequestListener, string]> = {
    "a byte now and then": [
      (_request, response) => {
        const timer = setInterval(() => response.write("x"), 50);
        response.on("close", () => clearInterval(timer));
      },
      "ETIMEDOUT",
    ],
    "no answer at all": [() => undefined, "ETIMEDOUT"],
    "headers that never end": [
      (request) => {
        const timer = setInterval(() => request.socket.write("x"), 50);
        request.socket.write("HTTP/1.1 200 OK\r\nx: ");
        request.socket.on("close", () => clearInterval(timer));
      },
      "ETIMEDOUT",
    ],
    "less than announced": [raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort"), ""],
    "a chunk that does not end": [raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nshort"), ""],
    "no HTTP": [raw("SSH-2.0-OpenSSH\r\n"), ""],
    "a closed connection": [raw(""), ""],
    "two lengths": [raw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx"), ""],
    "an upgrade": [raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), ""],
    gzip: [
      (_request, response) => void response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(picture)),
      "",
    ],
    "a gzip bomb": [
      (_request, response) =>
        void response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(Buffer.alloc(10e6))),
      "",
    ],
    "404": [(_request, response) => void response.writeHead(404).end(picture), ""],
    "204": [(_request, response) => void response.writeHead(204).end(), ""],
    "500": [(_request, response) => void response.writeHead(500).end(picture), ""],
    "a redirect to nowhere": [(_request, response) => void response.writeHead(302).end(picture), ""],
  };
  await Promise.all(
    Object.entries(answers).map(async ([name, [answer, errno]]) => {
      const server = await served(t, answer);
      const start = Date.now();
      const error = await rejectsWith(t, () => get(`http://a.example:${server.port}/`), "GME_URL_FETCH_FAILED", name);
      if (errno !== "") t.equal(error.errno, errno, name);
      t.ok(Date.now() - start < 5_000, `${name}: in time`);
    }),
  );
});

t.test("a longer body than announced is cut at its announced end", async (t) => {
  const head = `HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ${picture.length}\r\n\r\n`;
  const server = await served(t, (request) => {
    request.socket.end(Buffer.concat([Buffer.from(head), picture, Buffer.alloc(5_000)]));
  });
  const bytes = await get(`http://a.example:${server.port}/`).catch((error) => error);
  if (bytes instanceof Uint8Array) t.strictSame(Buffer.from(bytes), picture);
  else t.match(bytes, { code: "GME_URL_FETCH_FAILED" });
});

t.test("a connection that does not come up is given up, and a closed port is said to be closed", async (t) => {
  const server = await serve(sendPicture);
  const address = `http://a.example:${server.port}/`;
  await server.close();
  t.equal((await rejectsWith(t, () => get(address), "GME_URL_FETCH_FAILED")).errno, "ECONNREFUSED");
  const stuck = testPolicy({ resolve: () => new Promise(() => undefined), totalMs: 200 });
  t.equal(
    (await rejectsWith(t, () => get(address, stuck), "GME_URL_FETCH_FAILED", "a stuck resolver")).errno,
    "ETIMEDOUT",
  );
});

t.test("a handshake that does not end is given up, and the next checked address is tried", async (t) => {
  const silent = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  t.teardown(() => silent.close());
  const { port } = silent.address() as AddressInfo;
  const policy = testPolicy({ connectMs: 200, totalMs: 5_000 });
  const error = await rejectsWith(t, () => get(`https://a.example:${port}/`, policy), "GME_URL_FETCH_FAILED");
  t.match([error.message, error.errno], [/no connection after 0\.2 s/, "ETIMEDOUT"]);
  const server = await served(t, sendPicture);
  const addresses = ["127.0.0.3", "127.0.0.1"].map((address) => ({ address, family: 4 }));
  const two = testPolicy({ resolve: async () => addresses, isAllowedAddress: (address) => address.startsWith("127.") });
  t.ok(await get(`http://a.example:${server.port}/`, two), "nothing listens at the first");
});

t.test("an AbortSignal stops a fetch, before and in the middle", async (t) => {
  let asked: () => void = () => undefined;
  const wasAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const server = await served(t, (_request, response) => {
    response.writeHead(200, { "content-length": 50 }).write("x");
    asked();
  });
  const address = `http://a.example:${server.port}/`;
  await rejectsWith(t, () => get(address, testPolicy(), AbortSignal.abort()), "GME_ABORTED", "before");
  t.equal(server.connections, 0);
  const controller = new AbortController();
  const middle = get(address, testPolicy(), controller.signal);
  void wasAsked.then(() => setTimeout(() => controller.abort(), 20));
  const error = await rejectsWith(t, () => middle, "GME_ABORTED", "in the middle");
  t.equal(error.name, "AbortError");
});

t.test("pictures that are no longer wanted are not fetched to their end", async (t) => {
  const signals: AbortSignal[] = [];
  const ahead = new DecodeAhead([{ image: "a.png" }][Symbol.iterator](), {
    read: (value) => readInput(value),
    decode: (_input, signal) => {
      signals.push(signal);
      return new Promise(() => undefined);
    },
    batchSize: 1,
    patienceMs: 1,
  });
  await new Promise((resolve) => setTimeout(resolve, 5));
  t.strictSame(
    signals.map(({ aborted }) => aborted),
    [false],
  );
  await ahead.stop();
  t.strictSame(
    signals.map(({ aborted }) => aborted),
    [true],
  );
});

t.test("a model with remoteImages takes addresses in every call and dials no local one", async (t) => {
  const server = await served(t, sendPicture);
  const gme = await load(bundledModelPath, { remoteImages: ["localhost", `localhost:${server.port}`], threads: 1 });
  t.teardown(() => gme.close());
  const image = new URL(`http://localhost:${server.port}/a.png`);
  const calls: Record<string, () => unknown> = {
    embed: () => gme.embed({ image }),
    embedBatch: () => gme.embedBatch([{ image: image.href }]),
    getImageEmbeddings: () => gme.getImageEmbeddings({ images: [image] }),
    countTokens: () => gme.countTokens({ image }),
    inspectStages: () => gme.inspectStages({ image }),
  };
  for (const [name, call] of Object.entries(calls)) await rejectsWith(t, call, "GME_URL_REFUSED", name);
  for await (const result of gme.embedMany([{ id: 1, image }, "a text"])) {
    if (result.index === 0) t.match(result, { id: 1, error: { code: "GME_URL_REFUSED" } });
    else t.equal(result.embedding?.length, gme.dimensions);
  }
  await rejectsWith(t, () => gme.embed({ image: "http://a.example/" }), "GME_URL_REFUSED", "off the list");
  t.equal(server.connections, 0);
});

t.test("fetchImage is the guard for a caller's own use", async (t) => {
  const server = await served(t, sendPicture);
  await rejectsWith(t, () => fetchImage(`http://127.0.0.1:${server.port}/`), "GME_URL_REFUSED");
  await rejectsWith(t, () => fetchImage(`http://localhost:${server.port}/`), "GME_URL_REFUSED", "a real lookup");
  await rejectsWith(t, () => fetchImage("http://b.example/", { hosts: ["a.example"] }), "GME_URL_REFUSED");
  await rejectsWith(t, () => fetchImage("a.png"), "GME_INPUT_INVALID");
  await rejectsWith(t, () => fetchImage("http://a.example/", { hosts: ["*"] }), "GME_OPTION_INVALID");
  for (const options of [
    { host: ["a.example"] },
    { signal: 3 },
    { hosts: "a.example" },
    { hosts: false },
    { maxBytes: 0 },
    { maxBytes: 2 ** 30 },
    3,
  ])
    await rejectsWith(t, () => fetchImage("http://a.example/", options as never), "GME_OPTION_INVALID");
  t.equal(server.connections, 0);
});
