// Whatever the other side does, a pull ends in the right file or in a typed error, and the next one goes on from there.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { GmeErrorCode } from "../../lib/errors";
import { HubServer, type Visit } from "../helpers/hub-server";
import { rejectsWith } from "../helpers/rejects";
import {
  blobPath,
  blobs,
  cacheProblems,
  checkpointHub,
  freshStore,
  pullFrom,
  repository,
  weights,
  weightsDigest,
} from "./pull-setup";

const isWeights = (visit: Visit) => visit.where === "cdn" && visit.method === "GET" && visit.path.endsWith(weights);
const ranges = (hub: HubServer) => hub.take().flatMap(({ where, range }) => (where === "cdn" ? [range ?? "all"] : []));

async function endsRight(t: Test, place: ReturnType<typeof freshStore>, hub: HubServer, title: string) {
  const model = await pullFrom(hub);
  t.equal(readFileSync(model.file).toString("latin1", 0, 4), "GGUF", title);
  t.same(cacheProblems(place, hub), [], title);
}

t.test("a connection that breaks is gone on with by range", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  hub.intercept = async (visit) => {
    if (!isWeights(visit) || visit.before > 2) return false;
    await visit.answer({ breakAfter: 700_000 });
    return true;
  };
  await endsRight(t, place, hub, "after three breaks");
  const seen = ranges(hub);
  t.equal(seen.length, 4);
  t.equal(seen[0], "all");
  const starts = seen.slice(1).map((range) => Number(range.match(/^bytes=(\d+)-$/)?.[1]));
  t.ok(
    starts.every((start, i) => start > (starts[i - 1] ?? 0)),
    `each range starts later: ${starts}`,
  );
});

t.test("a download that breaks too often is an error, and the next pull goes on where it ended", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  hub.intercept = async (visit) => {
    if (!isWeights(visit)) return false;
    if (visit.before === 0) await visit.answer({ breakAfter: 1_000_000 });
    else visit.response.destroy();
    return true;
  };
  await rejectsWith(t, () => pullFrom(hub), "GME_DOWNLOAD_FAILED");
  const part = blobPath(place, `${weightsDigest(hub)}.incomplete`);
  const { size, mode } = statSync(part);
  t.ok(size > 0 && size <= 1_000_000, `${size} bytes are kept`);
  t.equal(mode & 0o777, 0o600);
  hub.take();
  hub.intercept = () => false;
  await endsRight(t, place, hub, "the next pull");
  t.same(ranges(hub), [`bytes=${size}-`]);
});

t.test("a silent connection is given up and gone on with", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  hub.intercept = (visit) => {
    if (!isWeights(visit) || visit.before > 0) return false;
    const content = visit.content as Buffer;
    visit.response.writeHead(200, { "content-length": content.length });
    visit.response.write(content.subarray(0, 500_000)); // and nothing more
    return true;
  };
  const model = await pullFrom(hub, {}, { idleMs: 300 });
  t.ok(existsSync(model.file));
  t.same(cacheProblems(place, hub), []);
});

t.test("a slow server is waited for", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  hub.pace = { bytes: 200_000, ms: 20 };
  await endsRight(t, place, hub, "200 kB at a time");
});

t.test("one flipped bit is GME_HASH_MISMATCH, and the next pull gets it right", async (t) => {
  for (const name of [weights, "tokenizer.json"]) {
    const place = freshStore();
    const hub = await checkpointHub();
    hub.intercept = async (visit) => {
      if (visit.content === undefined || visit.method !== "GET" || !visit.path.endsWith(`/${name}`)) return false;
      if (visit.where === "hub" && name === weights) return false;
      const content = Buffer.from(visit.content);
      content[content.length >> 1] ^= 1;
      await visit.answer({ content });
      return true;
    };
    const error = await rejectsWith(t, () => pullFrom(hub), "GME_HASH_MISMATCH", name);
    t.match(error, { file: name, field: name === weights ? "sha256" : "git-sha1" });
    t.not(error.value, error.expected);
    t.notOk(
      blobs(place).some((blob) => blob.startsWith(String(error.expected))),
      "nothing of it is kept",
    );
    hub.intercept = () => false;
    await endsRight(t, place, hub, name);
  }
});

t.test("what an earlier run left and somebody damaged is begun anew", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  const content = Buffer.from(hub.files.get(weights) as Buffer).subarray(0, 600_000);
  content[5_000] ^= 1;
  const part = blobPath(place, `${weightsDigest(hub)}.incomplete`);
  mkdirSync(join(part, ".."), { recursive: true });
  writeFileSync(part, content);
  await endsRight(t, place, hub, "damaged part");
  t.same(ranges(hub), ["bytes=600000-", "all"]);
});

t.test("a file that ends early or goes on too long is an error, and the next pull gets it right", async (t) => {
  const rows: [string, (visit: Visit) => Promise<unknown> | unknown][] = [
    ["a shorter length is announced", ({ answer, content }) => answer({ content: content?.subarray(0, 1_000_000) })],
    [
      "a longer length is announced",
      ({ answer, content }) => answer({ content: Buffer.concat([content as Buffer, Buffer.alloc(9)]) }),
    ],
    [
      "no length, more bytes",
      ({ response, content }) => response.writeHead(200).end(Buffer.concat([content as Buffer, Buffer.alloc(9)])),
    ],
    [
      "no length, fewer bytes, never more",
      ({ response, content, range }) =>
        range
          ? response
              .writeHead(206, {
                "content-range": `bytes ${range.slice(6)}${(content as Buffer).length - 1}/${(content as Buffer).length}`,
              })
              .end()
          : response.writeHead(200).end(content?.subarray(0, 1_000_000)),
    ],
    ["compressed", ({ answer }) => answer({ headers: { "content-encoding": "gzip" } })],
  ];
  for (const [title, act] of rows) {
    const place = freshStore();
    const hub = await checkpointHub();
    hub.intercept = async (visit) => {
      if (!isWeights(visit)) return false;
      await act(visit);
      return true;
    };
    await rejectsWith(t, () => pullFrom(hub), "GME_DOWNLOAD_FAILED", title);
    t.notOk(existsSync(blobPath(place, weightsDigest(hub))), `${title}: no blob`);
    hub.intercept = () => false;
    await endsRight(t, place, hub, title);
  }
});

t.test("a server without ranges sends the file anew", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  hub.intercept = async (visit) => {
    if (!isWeights(visit)) return false;
    if (visit.before === 0) await visit.answer({ breakAfter: 900_000 });
    else visit.response.writeHead(200, { "content-length": visit.content?.length }).end(visit.content);
    return true;
  };
  await endsRight(t, place, hub, "200 instead of 206");
});

t.test("another range than the one asked for is refused", async (t) => {
  freshStore();
  const hub = await checkpointHub();
  hub.intercept = async (visit) => {
    if (!isWeights(visit)) return false;
    if (visit.before === 0) await visit.answer({ breakAfter: 900_000 });
    else await visit.answer({ headers: { "content-range": "bytes 5-10/2913144" } });
    return true;
  };
  t.equal((await rejectsWith(t, () => pullFrom(hub), "GME_DOWNLOAD_FAILED")).field, "Content-Range");
});

t.test("416 on going on begins the file anew, and is an error when it stays", async (t) => {
  for (const isLasting of [false, true]) {
    const place = freshStore();
    const hub = await checkpointHub();
    hub.intercept = async (visit) => {
      if (!isWeights(visit)) return false;
      if (visit.before === 0) await visit.answer({ breakAfter: 900_000 });
      else if (visit.range !== undefined || isLasting) visit.response.writeHead(416).end();
      else return false;
      return true;
    };
    if (isLasting) t.equal((await rejectsWith(t, () => pullFrom(hub), "GME_DOWNLOAD_FAILED")).value, 416);
    else await endsRight(t, place, hub, "416 once");
  }
});

t.test("a file that changes on the hub between two requests is begun anew", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  const before = Buffer.from(hub.files.get(weights) as Buffer);
  const digestBefore = weightsDigest(hub);
  hub.intercept = async (visit) => {
    if (!isWeights(visit) || visit.before > 0) return false;
    await visit.answer({ breakAfter: 900_000 });
    const after = Buffer.from(before);
    after[after.length - 4] ^= 1; // a number, not the header
    hub.files.set(weights, after);
    return true;
  };
  const notes: string[] = [];
  await pullFrom(hub, { onNote: (note) => notes.push(note) });
  t.match(notes, [/changed on the hub/]);
  t.not(weightsDigest(hub), digestBefore);
  t.ok(existsSync(blobPath(place, weightsDigest(hub))));
  t.notOk(existsSync(blobPath(place, digestBefore)), "no mixture under the old name");
});

t.test("each refusal of the hub has its code and says what to do", async (t) => {
  const rows: [number, Record<string, string>, GmeErrorCode, RegExp][] = [
    [401, {}, "GME_DOWNLOAD_DENIED", /private or does not exist: set HF_TOKEN/],
    [401, { "x-error-code": "GatedRepo" }, "GME_DOWNLOAD_DENIED", /gated: accept its terms at .*someone\/tiny-a/],
    [403, { "x-error-code": "GatedRepo" }, "GME_DOWNLOAD_DENIED", /gated/],
    [403, {}, "GME_DOWNLOAD_DENIED", /no right/],
    [404, { "x-error-code": "RepoNotFound" }, "GME_MODEL_NOT_FOUND", /no such repository/],
    [404, { "x-error-code": "RevisionNotFound" }, "GME_MODEL_NOT_FOUND", /no such revision/],
    [416, {}, "GME_DOWNLOAD_FAILED", /416/],
    [429, { "retry-after": "999" }, "GME_DOWNLOAD_FAILED", /too many requests.*999 s/],
    [500, {}, "GME_DOWNLOAD_FAILED", /the server failed \(500\)/],
    [302, {}, "GME_DOWNLOAD_FAILED", /302/],
  ];
  const hub = await checkpointHub();
  for (const [status, headers, code, message] of rows) {
    const place = freshStore();
    for (const where of ["api", "resolve"]) {
      hub.intercept = ({ path, response }) => {
        if (!path.includes(where)) return false;
        response.writeHead(status, headers).end();
        return true;
      };
      const error = await rejectsWith(t, () => pullFrom(hub), code, `${status} at ${where}`);
      t.match(error.message, message);
      t.equal(error.value, status);
    }
    hub.intercept = () => false;
    if (status === 403) await endsRight(t, place, hub, "and then it works");
  }
});

t.test("429 and 503 are tried again, after the time that Retry-After asks for", async (t) => {
  for (const [status, headers] of [
    [429, { "retry-after": "1" }],
    [503, {}],
  ] as const) {
    const place = freshStore();
    const hub = await checkpointHub();
    const times: number[] = [];
    hub.intercept = (visit) => {
      if (!isWeights(visit)) return false;
      times.push(Date.now());
      if (visit.before > 0) return false;
      visit.response.writeHead(status, headers).end();
      return true;
    };
    await endsRight(t, place, hub, String(status));
    t.equal(times.length, 2);
    if (status === 429) t.ok(times[1] - times[0] >= 990, `waited ${times[1] - times[0]} ms`);
  }
});

t.test("a hub that is not there, a page instead of an answer, and a listing without commit are errors", async (t) => {
  freshStore();
  const hub = await checkpointHub();
  await rejectsWith(t, () => pullFrom(hub, {}, { endpoint: "http://127.0.0.1:9" }), "GME_DOWNLOAD_FAILED");
  for (const body of ["<html>", "{}", JSON.stringify({ sha: "../../x", siblings: [] }), "[]"]) {
    hub.intercept = ({ response }) => {
      response.writeHead(200).end(body);
      return true;
    };
    await rejectsWith(t, () => pullFrom(hub), "GME_DOWNLOAD_FAILED", body);
  }
  for (const endpoint of ["ftp://x", "http://user:pass@x", "nothing", "http://x/?a=b"])
    await rejectsWith(t, () => pullFrom(hub, {}, { endpoint }), "GME_OPTION_INVALID", endpoint);
});

t.test("a file without a digest is not taken on trust", async (t) => {
  freshStore();
  const hub = await checkpointHub();
  hub.intercept = async (visit) => {
    if (!visit.path.endsWith("/config.json")) return false;
    await visit.answer({ headers: { etag: '"7-an-odd-tag"' } });
    return true;
  };
  await rejectsWith(t, () => pullFrom(hub), "GME_DOWNLOAD_FAILED");
});

t.test("a disk without room is GME_DISK_FULL before the weights are asked for", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  const size = (hub.files.get(weights) as Buffer).length;
  // Room for the download, but not for the conversion too: both lie on one disk.
  const measureSpace = async () => ({ bytes: size + 1000, device: 1 });
  const error = await rejectsWith(t, () => pullFrom(hub, {}, { measureSpace }), "GME_DISK_FULL");
  t.match(error.message, /are needed, .* are free/);
  t.same(ranges(hub), []);
  await endsRight(t, place, hub, "with room");
});

t.test("a disk that fills up on the way is GME_DISK_FULL, and the next pull goes on", async (t) => {
  const place = freshStore();
  const small = join(place.hub, "..", "small");
  mkdirSync(small, { recursive: true });
  if (spawnSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", small]).status !== 0)
    return t.pass("a full disk", { skip: "a small disk can be mounted by root on Linux only" });
  try {
    process.env.HF_HUB_CACHE = small;
    const hub = await checkpointHub();
    const measureSpace = async () => undefined; // a system that does not say what is free
    await rejectsWith(t, () => pullFrom(hub, {}, { measureSpace }), "GME_DISK_FULL");
    await rejectsWith(t, () => pullFrom(hub), "GME_DISK_FULL", "and where the system says it, at once");
    spawnSync("mount", ["-o", "remount,size=16m", small]);
    hub.take();
    await endsRight(t, { ...place, hub: small }, hub, "with more room");
    t.match(ranges(hub), [/^bytes=[1-9]/]);
  } finally {
    spawnSync("umount", ["-l", small]);
  }
});

t.test("names that would lead out of the cache are refused, wherever the hub says them", async (t) => {
  const names = [
    "../x.gguf",
    "/x.gguf",
    "a/../../x.gguf",
    "a\\x.gguf",
    "a//x.gguf",
    "./x.gguf",
    "a\u0000.gguf",
    "nul.gguf",
    "C:x.gguf",
    "x.gguf.",
    "",
  ];
  for (const name of names) {
    const place = freshStore();
    const hub = await HubServer.start(repository, new Map([[name, Buffer.from("x")]]));
    await rejectsWith(t, () => pullFrom(hub), "GME_DOWNLOAD_FAILED", JSON.stringify(name));
    t.same(blobs(place), []);
  }
  for (const shard of ["../../../out.safetensors", "/etc/passwd", "a\\b.safetensors", "not-there.safetensors", 7]) {
    freshStore();
    const hub = await checkpointHub();
    hub.files.set("model.safetensors.index.json", Buffer.from(JSON.stringify({ weight_map: { x: shard } })));
    await rejectsWith(t, () => pullFrom(hub), "GME_DOWNLOAD_FAILED", String(shard));
  }
});

t.test("a poisoned cache: links and wrong contents under a blob's name are replaced, never followed", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  const victim = join(place.hub, "..", "victim");
  const blob = blobPath(place, weightsDigest(hub));
  mkdirSync(join(blob, ".."), { recursive: true });
  writeFileSync(victim, "mine");
  symlinkSync(victim, blob);
  symlinkSync(victim, `${blob}.incomplete`);
  await endsRight(t, place, hub, "links");
  t.equal(readFileSync(victim, "utf8"), "mine");

  const wrong = Buffer.from(hub.files.get(weights) as Buffer);
  wrong[wrong.length - 1] ^= 1;
  const again = freshStore();
  mkdirSync(join(blobPath(again, "x"), ".."), { recursive: true });
  writeFileSync(blobPath(again, weightsDigest(hub)), wrong);
  await endsRight(t, again, hub, "another content of the same size");

  const linked = freshStore();
  mkdirSync(join(linked.hub, "models--someone--tiny-a"), { recursive: true });
  mkdirSync(join(linked.hub, "elsewhere"));
  symlinkSync(join(linked.hub, "elsewhere"), join(linked.hub, "models--someone--tiny-a", "blobs"));
  await rejectsWith(t, () => pullFrom(hub), "GME_IO_ERROR", "blobs is a link");

  const moved = freshStore();
  mkdirSync(join(moved.hub, "..", "other-disk"), { recursive: true });
  symlinkSync(join(moved.hub, "..", "other-disk"), moved.hub);
  await endsRight(t, moved, hub, "the whole cache behind a link");
});

t.test("the token goes to the hub alone, and into no message", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  const token = "hf_verySecretToken";
  process.env.HF_TOKEN = token;
  await endsRight(t, place, hub, "with a token");
  const seen = hub.take();
  t.ok(seen.filter(({ where }) => where === "hub").every(({ authorization }) => authorization === `Bearer ${token}`));
  const cdn = seen.filter(({ where }) => where === "cdn");
  t.ok(cdn.length > 0 && cdn.every(({ authorization }) => authorization === undefined));

  freshStore();
  process.env.HF_TOKEN = token;
  for (const status of [401, 403, 500]) {
    hub.intercept = ({ response }) => {
      response.writeHead(status).end();
      return true;
    };
    const error = await rejectsWith(
      t,
      () => pullFrom(hub),
      status === 500 ? "GME_DOWNLOAD_FAILED" : "GME_DOWNLOAD_DENIED",
    );
    t.notMatch(JSON.stringify([error.message, error, String(error.cause)]), token);
  }
  process.env.HF_TOKEN = "two\nlines";
  t.notMatch((await rejectsWith(t, () => pullFrom(hub), "GME_OPTION_INVALID")).message, "lines");
  delete process.env.HF_TOKEN;
});

t.test("a redirect to another path of the hub is followed with the token", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  process.env.HF_TOKEN = "hf_token";
  hub.intercept = ({ path, before, response }) => {
    if (!path.endsWith("/config.json") || before % 2 === 1) return false;
    response.writeHead(307, { location: `${path}?from=cache` }).end();
    return true;
  };
  await endsRight(t, place, hub, "relative redirect");
  const seen = hub.take().filter(({ path }) => path.endsWith("/config.json"));
  t.equal(seen.length, 4);
  t.ok(seen.every(({ authorization }) => authorization === "Bearer hf_token"));
  delete process.env.HF_TOKEN;
});

t.test("redirects: signatures stay out of messages, no other scheme, no circles", async (t) => {
  freshStore();
  const hub = await checkpointHub();
  const rows: [string, RegExp][] = [
    ["https://127.0.0.1:9/x?X-Signature=secret", /from http: to https: is not followed/],
    ["file:///etc/passwd", /not followed/],
    ["http://user:secret@127.0.0.1:9/", /password/],
    ["/api/models/someone/tiny-a/revision/main?secret", /more than 5 redirects/],
    ["http://[secret", /no address/],
  ];
  for (const [location, message] of rows) {
    hub.intercept = ({ response }) => {
      response.writeHead(302, { location }).end();
      return true;
    };
    const error = await rejectsWith(t, () => pullFrom(hub), "GME_DOWNLOAD_FAILED", location);
    t.match(error.message, message);
    t.notMatch(error.message, "secret");
  }
  hub.intercept = (visit) => {
    if (!isWeights(visit)) return false;
    visit.response.writeHead(403).end();
    return true;
  };
  t.notMatch((await rejectsWith(t, () => pullFrom(hub), "GME_DOWNLOAD_DENIED")).message, "secret");
});

t.test("an abort at any moment leaves what the next pull goes on with", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  hub.pace = { bytes: 300_000, ms: 5 };
  for (const limit of [0, 1_000_000, 2_000_000]) {
    const controller = new AbortController();
    const onProgress = ({ done }: { done: number }) => {
      if (done >= limit) controller.abort();
    };
    if (limit === 0) controller.abort();
    const error = await rejectsWith(t, () => pullFrom(hub, { signal: controller.signal, onProgress }), "GME_ABORTED");
    t.equal(error.name, "AbortError");
  }
  const controller = new AbortController();
  const onProgress = ({ step }: { step: string }) => {
    if (step === "convert") controller.abort();
  };
  await rejectsWith(t, () => pullFrom(hub, { signal: controller.signal, onProgress }), "GME_ABORTED", "converting");
  t.ok(
    ranges(hub).some((range) => /^bytes=[1-9]/.test(range)),
    "by range",
  );
  await endsRight(t, place, hub, "after the aborts");
});
