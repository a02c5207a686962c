import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import files from "node:fs/promises";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import t from "tap";
import { decodeBase64 } from "../../../lib/server/base64-picture";
import { FetchSlots } from "../../../lib/server/fetch-slots";
import { ItemPictures, warningOf } from "../../../lib/server/item-pictures";
import { openMediaRoot, readMediaFile } from "../../../lib/server/media-root";
import { likelyTokens, requestLimits } from "../../../lib/server/request-limits";
import type { WireItem } from "../../../lib/server/wire/dialect";
import { imageFixture } from "../../helpers/fixtures";
import { rejectsWith } from "../../helpers/rejects";
import { info, startApp } from "./guard-app";

const picture = readFileSync(imageFixture("one-pixel.png"));
const base64 = picture.toString("base64");
const dataUrl = `data:image/png;base64,${base64}`;
const never = new AbortController().signal;

t.test("a picture is decoded, looked at and counted", async (t) => {
  const { post } = await startApp(t);
  const found = await post({ input: [{ image: dataUrl, text: "a" }, { text: "b" }] });
  t.match(found, { status: 200, body: { items: [{ pixels: 1, bytes: picture.length }, { pixels: 0 }] } });
  for (const [image, code] of [
    ["data:text/html;base64,PGI+YTwvYj4=", "GME_IMAGE_FORMAT"],
    ["data:image/png;base64,", "GME_INPUT_INVALID"],
    [`data:image/png;base64,${base64.slice(0, -1)}`, "GME_INPUT_INVALID"],
    [`data:image/png;base64,${base64.slice(0, 40)}`, "GME_IMAGE_TRUNCATED"],
    [`data:image/png;base64, ${base64}`, "GME_INPUT_INVALID"],
    [base64.slice(0, 41), "GME_INPUT_INVALID"],
  ]) {
    const { status, body } = await post({ input: [{ text: "a" }, { image }] });
    t.match({ status, ...body.error }, { status: 400, code, param: "input[1]" }, image.slice(0, 40));
    t.notMatch(body.error?.message, /<buffer>|\/lib\//);
  }
});

t.test("S43 base64 is standard, padded, and decoded in slices", async (t) => {
  for (const size of [1, 2, 3, 4, 100, 3 * 2 ** 20 - 1, 3 * 2 ** 20, 3 * 2 ** 20 + 1, 9 * 2 ** 20 + 2]) {
    const bytes = Buffer.alloc(size, "picture");
    const decoded = await decodeBase64(bytes.toString("base64"), "x", 2 ** 26);
    if (Buffer.compare(decoded, bytes) !== 0) t.fail(`${size} bytes`);
  }
  const long = Buffer.alloc(6 * 2 ** 20, "p").toString("base64");
  const at = 5 * 2 ** 20;
  const bad = [
    "",
    "a",
    "ab",
    "abc",
    "ab=c",
    "a===",
    "====",
    "=abc",
    "ab-_",
    "ab+\n",
    "ab c",
    "ab\u00e9c",
    "abc\u{1f600}",
    "abcd====",
    "ab==abcd",
    "%41bc",
    "ab\0c",
    `${long.slice(0, at)}!${long.slice(at + 1)}`,
    `${long.slice(0, at)}=${long.slice(at + 1)}`,
    `${long.slice(0, at)}\n${long.slice(at + 1)}`,
    `${long.slice(0, at)}_${long.slice(at + 1)}`,
  ];
  for (const text of bad)
    await rejectsWith(
      t,
      () => decodeBase64(text, "input[0]", 2 ** 26),
      "GME_INPUT_INVALID",
      JSON.stringify(text.slice(0, 20)),
    );
  await rejectsWith(
    t,
    () => decodeBase64("!".repeat(4_000), "x", 2_000),
    "GME_IMAGE_TOO_LARGE",
    "the length comes first",
  );
  t.equal((await decodeBase64(Buffer.alloc(300).toString("base64"), "x", 300)).length, 300, "the limit itself");
  let turns = 0;
  let on = true;
  const count = () => {
    turns++;
    if (on) setImmediate(count);
  };
  setImmediate(count);
  await decodeBase64(Buffer.alloc(30 * 2 ** 20).toString("base64"), "x", 2 ** 26);
  on = false;
  t.ok(turns >= 9, `others had ${turns} turns`);
});

t.test("S12 pictures of one request have limits together", async (t) => {
  const sides = [8_000, 8_000] as [number, number];
  const inspect = async () => ({ size: sides }) as never;
  const items = (count: number): WireItem[] =>
    Array.from({ length: count }, (_, i) => ({ field: `input[${i}]`, image: { kind: "base64", base64 } }));
  const pictures = new ItemPictures({ limits: requestLimits, inspect }, info);
  t.equal((await pictures.ready(items(2), never)).items.length, 2, "128 million pixels");
  t.match(await rejectsWith(t, () => pictures.ready(items(3), never), "GME_IMAGE_TOO_LARGE"), {
    value: 192e6,
    expected: /128000000 pixels/,
  });
  const small = new ItemPictures({ limits: { ...requestLimits, maxImageBytes: picture.length * 2 }, inspect }, info);
  t.match(await rejectsWith(t, () => small.ready(items(3), never), "GME_IMAGE_TOO_LARGE"), {
    expected: /bytes in a request/,
  });
  t.equal(likelyTokens("a text of words", 0, info), 4);
  t.equal(likelyTokens(undefined, 64e6, info), 1280);
  t.equal(likelyTokens("a", 1, info), 257);
});

t.test("queries and documents have the instruction that is theirs", async (t) => {
  const { post } = await startApp(t, { pictures: { queryInstruction: "Find it." } });
  const document = "You are a helpful assistant.";
  const cases: [object, string | undefined][] = [
    [{ input_type: "query", instruction: "Mine." }, "Mine."],
    [{ input_type: "query" }, "Find it."],
    [{ instruction: "Mine." }, "Mine."],
    [{}, document],
    [{ input_type: "document" }, document],
    [{ input_type: "document", instruction: "Mine." }, document],
  ];
  const { body, headers } = await post({ input: cases.map(([given]) => ({ text: "a", ...given })) });
  t.strictSame(
    body.items?.map(({ prompt }) => prompt),
    cases.map(([, prompt]) => prompt),
  );
  t.match(headers.get("warning"), /^299 - "instruction of input\[5\] ignored: documents .*"$/);
  const plain = await startApp(t);
  const absent = await plain.post({ input: [{ text: "a", input_type: "query" }] });
  t.equal(absent.body.items?.[0].prompt, undefined, "a query has the model's own where none was set");
  t.notOk(absent.headers.has("warning"));
  t.match(
    warningOf({ items: [], ignoredInstructions: ['a"\n\u00e9', "b", "c"] }),
    /^299 - "instruction of a and 2 more ignored/,
  );
});

t.test("S17 without leave no address is read, whatever its scheme", async (t) => {
  const { post } = await startApp(t);
  const addresses = [
    "http://127.0.0.1/a.png",
    "https://example.org/a.png",
    "HTTP://example.org",
    " http://example.org/",
    "http:example.org",
    "ht\ntp://example.org/",
    "file:///etc/passwd",
    "file://server/share",
    "file:/etc/passwd",
    "FILE:///etc/passwd",
    "ftp://example.org/a.png",
    "gopher://example.org/_x",
    "blob:http://example.org/1",
    "ws://example.org/",
    "javascript:alert(1)",
    "dict://example.org/",
    "ldap://example.org/",
    "jar:file:///a!/b",
    "unix:/run/x.sock",
    "about:blank",
    "view-source:http://a",
    "data:text/plain,hello",
    "DATA:image/png,x",
  ];
  for (const image of addresses)
    t.match(
      await post({ input: [{ image }] }),
      { status: 400, body: { error: { code: "GME_URL_FETCH_DISABLED", param: "input[0]" } } },
      image,
    );
});

t.test("S22 paths are never read without a media root", async (t) => {
  const { post } = await startApp(t);
  for (const image of [
    "/etc/passwd",
    "etc/passwd",
    "./a.png",
    "../a.png",
    "C:\\a.png",
    "\\\\server\\share",
    "//server/share",
    "~/a.png",
    "a\0b",
    "",
    imageFixture("one-pixel.png"),
    "%2fetc%2fpasswd",
    "/proc/self/environ",
    "/dev/zero",
  ]) {
    const found = await post({ input: [{ image }] });
    t.match(found, { status: 400, body: { error: { code: /GME_INPUT_INVALID|GME_URL_FETCH_DISABLED/ } } }, image);
  }
});

/** root/a.png, root/sub/b.png, links of all kinds, and what lies beside the root. */
function mediaTree(t: { testdir(): string }) {
  const base = t.testdir();
  const root = join(base, "root");
  for (const folder of ["root/sub", "root-2", "outside"]) mkdirSync(join(base, folder), { recursive: true });
  for (const file of ["root/a.png", "root/sub/b.png", "root/ü ö.png", "root-2/a.png", "outside/secret.png"])
    writeFileSync(join(base, file), picture);
  symlinkSync(join(base, "outside"), join(root, "away"));
  symlinkSync("../outside/secret.png", join(root, "away.png"));
  symlinkSync("a.png", join(root, "inside.png"));
  symlinkSync("sub", join(root, "inside"));
  symlinkSync("loop", join(root, "loop"));
  symlinkSync("/etc/passwd", join(root, "passwd"));
  symlinkSync(root, join(base, "link-to-root"));
  return { base, root };
}

const posix = { skip: process.platform === "win32" && "links and devices of POSIX" };

t.test("S22 with a media root files below it are read, and nothing else", posix, async (t) => {
  const { base, root } = mediaTree(t);
  execFileSync("mkfifo", [join(root, "fifo")]);
  const { post } = await startApp(t, { pictures: { mediaRoot: await openMediaRoot(join(base, "link-to-root")) } });
  const url = (path: string) => pathToFileURL(path).href;
  const good = [
    "a.png",
    "./a.png",
    "sub/b.png",
    "sub/../a.png",
    "inside.png",
    "inside/b.png",
    join(root, "a.png"),
    join(base, "link-to-root", "a.png"),
    url(join(root, "a.png")),
    url(join(root, "ü ö.png")),
    "ü ö.png",
    `${root}//a.png`,
    `${root}/../root/a.png`,
  ];
  for (const image of good)
    t.match(
      await post({ input: [{ image }] }),
      { status: 200, body: { items: [{ pixels: 1 }] } },
      image.replace(base, ""),
    );
  const closed = [
    "../outside/secret.png",
    "../root-2/a.png",
    join(base, "root-2", "a.png"),
    join(base, "outside/secret.png"),
    "away.png",
    "away/secret.png",
    "away/missing.png",
    "passwd",
    "/etc/passwd",
    "/etc/nothing",
    "..",
    "../../../../../../etc/passwd",
    url("/etc/passwd"),
    url(join(base, "outside/secret.png")),
    `file://${root}/../outside/secret.png`,
    "/proc/self/environ",
    "/dev/zero",
    root,
    `${root}/.`,
    `sub/../../outside/secret.png`,
    "file:///proc/self/fd/0",
  ];
  for (const image of closed) {
    const { status, body } = await post({ input: [{ image }] });
    t.match(
      { status, code: body.error?.code },
      { status: 400, code: /GME_URL_REFUSED|GME_URL_FETCH_FAILED/ },
      image.replace(base, ""),
    );
    if (image !== "away/missing.png")
      t.equal(body.error?.code, "GME_URL_REFUSED", `${image.replace(base, "")}: refused, not missing`);
    if (!image.includes("outside")) t.notMatch(body.error?.message, /outside/, "where it leads is not told");
  }
  for (const image of [
    "sub",
    "fifo",
    "loop",
    "missing.png",
    "a.png/b",
    "file://server/a.png",
    "file:///a%2f..%2fb",
    "a\0.png",
    "x".repeat(5_000),
  ])
    t.match(
      await post({ input: [{ image }] }),
      { status: 400, body: { error: { code: /GME_URL_FETCH_FAILED|GME_URL_REFUSED|GME_INPUT_INVALID/ } } },
      image.slice(0, 20),
    );
  t.match(
    await post({ input: [{ image: "http://example.org/a.png" }] }),
    { body: { error: { code: "GME_URL_FETCH_DISABLED" } } },
    "still no fetch",
  );
  writeFileSync(join(root, "large"), Buffer.alloc(2_000));
  await rejectsWith(
    t,
    async () => readMediaFile(await openMediaRoot(root), "large", { field: "x", maxBytes: 1_999 }),
    "GME_IMAGE_TOO_LARGE",
  );
  for (const folder of [join(root, "a.png"), join(root, "missing")])
    await rejectsWith(t, () => openMediaRoot(folder), "GME_IO_ERROR");
});

/** Swaps a folder and a file for links that lead out, and back, without waiting for the reader; each state stays for some microseconds. */
const swapper = `
  const fs = require("node:fs"), { join } = require("node:path");
  const [base, root] = process.argv.slice(1);
  const outside = join(base, "outside"), folder = join(root, "swapped"), file = join(root, "swapped.png");
  fs.mkdirSync(join(root, "real"));
  for (const name of ["b.png", "c.png"]) fs.copyFileSync(join(root, "a.png"), join(root, "real", name));
  fs.symlinkSync(outside, join(root, "link"));
  const pause = () => { const end = process.hrtime.bigint() + BigInt(Math.floor(Math.random() * 150_000)); while (process.hrtime.bigint() < end); };
  for (let round = 0; ; round++) {
    fs.renameSync(join(root, "real"), folder); pause();
    fs.renameSync(folder, join(root, "real"));
    fs.renameSync(join(root, "link"), folder); pause();
    fs.renameSync(folder, join(root, "link"));
    fs.symlinkSync(join(outside, "b.png"), file + round); fs.renameSync(file + round, file); pause();
    fs.linkSync(join(root, "a.png"), file + round); fs.renameSync(file + round, file); pause();
    if (round === 0) console.log("swapping");
  }`;

t.test("S22 what becomes a link between the look and the opening leads nowhere", posix, async (t) => {
  const { base, root } = mediaTree(t);
  for (const file of ["b.png", "c.png"]) writeFileSync(join(base, "outside", file), "what lies outside");
  const media = await openMediaRoot(root);
  const child = spawn(process.execPath, ["-e", swapper, base, root], { stdio: ["ignore", "pipe", "inherit"] });
  t.teardown(() => child.kill());
  await once(child.stdout, "data");
  for (const file of ["swapped/b.png", "swapped.png"]) {
    const outcomes = { read: 0, refused: 0, missing: 0 };
    for (let round = 0; round < 500 || (round < 20_000 && outcomes.read * outcomes.refused === 0); round++) {
      const found = await readMediaFile(media, file, { field: "x", maxBytes: 1e6 }).catch((error) => error);
      if (!(found instanceof Uint8Array)) outcomes[found.code === "GME_URL_REFUSED" ? "refused" : "missing"]++;
      else if (Buffer.compare(found, picture) === 0) outcomes.read++;
      else t.fail(`round ${round}: ${file} led outside`);
    }
    t.equal(child.exitCode, null, "it was swapped all the time");
    t.comment(`S22: ${file}: ${JSON.stringify(outcomes)}, none of them outside`);
    t.ok(outcomes.read > 0 && outcomes.refused > 0, "both happened");
  }
  child.kill();
  await once(child, "exit");
});

t.test("S22 a swap exactly at the opening, undone before the second look, leads nowhere", posix, async (t) => {
  const { base, root } = mediaTree(t);
  writeFileSync(join(base, "outside", "b.png"), "what lies outside");
  const media = await openMediaRoot(root);
  const { open, readlink } = files;
  t.teardown(() => Object.assign(files, { open, readlink }));
  const swap = (...[from, to]: [string, string]) => {
    renameSync(join(root, "sub"), join(root, from));
    renameSync(join(root, to), join(root, "sub"));
  };
  for (const isUndone of [true, false]) {
    files.open = async (...given) => {
      swap("kept", "away");
      const handle = await open(...given);
      if (isUndone) swap("away", "kept");
      return handle;
    };
    for (let round = 0; round < (isUndone ? 1_000 : 1); round++) {
      if (isUndone && process.platform !== "linux") break; // without /proc a second look is all there is
      const error = await readMediaFile(media, "sub/b.png", { field: "x", maxBytes: 1e6 }).catch((error) => error);
      if (error.code !== "GME_URL_REFUSED") t.fail(`round ${round}: ${error}`);
    }
    if (isUndone) continue;
    swap("away", "kept");
    files.readlink = (async () => Promise.reject(new Error("no /proc"))) as unknown as typeof readlink;
    await rejectsWith(
      t,
      () => readMediaFile(media, "sub/b.png", { field: "x", maxBytes: 1e6 }),
      "GME_URL_REFUSED",
      "without /proc",
    );
    swap("away", "kept");
  }
  Object.assign(files, { open });
  t.equal(
    (await readMediaFile(media, "sub/b.png", { field: "x", maxBytes: 1e6 })).length,
    picture.length,
    "without /proc and swaps",
  );
});

t.test("fetches have a limit of places, of one request and of all, and are looked at before any begins", async (t) => {
  let now = 0;
  let most = 0;
  let begun = 0;
  const fetch = async (_address: string, { signal }: { signal?: AbortSignal }) => {
    begun++;
    most = Math.max(most, ++now);
    try {
      await new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, 30);
        signal?.addEventListener("abort", () => {
          clearTimeout(timer);
          reject(signal.reason);
        });
      });
    } finally {
      now--;
    }
    return new Uint8Array(picture);
  };
  const pictures = new ItemPictures(
    { limits: requestLimits, remoteImages: true, fetch, fetches: 6, fetchesPerRequest: 4 },
    info,
  );
  const items = (count: number, address = "http://a.example/"): WireItem[] =>
    Array.from({ length: count }, (_, i) => ({ field: `input[${i}]`, image: { kind: "address", address } }));
  await pictures.ready(items(12), never);
  t.equal(most, 4, "of one request");
  await Promise.all([1, 2, 3].map(() => pictures.ready(items(8), never)));
  t.equal(most, 6, "of all");
  begun = 0;
  await rejectsWith(
    t,
    () => pictures.ready([...items(5), ...items(1, "ftp://a.example/")], never),
    "GME_URL_FETCH_DISABLED",
  );
  t.equal(begun, 0);
  const gone = new AbortController();
  const lost = pictures.ready(items(16), gone.signal);
  const reason = new Error("gone");
  setTimeout(() => gone.abort(reason), 10);
  t.equal(
    await lost.then(
      () => undefined,
      (error) => error,
    ),
    reason,
    "the signal's own reason",
  );
  t.equal(now, 0, "and nothing goes on");
  begun = 0;
  const bad = [...items(1), { field: "input[1]", image: { kind: "base64", base64: "!" } } as WireItem, ...items(10)];
  await rejectsWith(t, () => pictures.ready(bad, never), "GME_INPUT_INVALID", "the first error ends the others");
  t.ok(begun <= 4 && now === 0);
  const slots = new FetchSlots(1);
  t.equal(await slots.run(never, async () => 1), 1);
  t.equal(await slots.run(AbortSignal.abort(reason), async () => 1).catch((error) => error), reason);
  t.equal(await slots.run(never, async () => 2), 2, "a place that was not used is given back");
});
