// Texts of every length: refused before they are looked at, cut in linear time, counted without overflow.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import t from "tap";
import type { GmeInput, GmeModel } from "../../lib/index";
import { root } from "../helpers/fixtures";
import { loadReference, maxDelta, pairPath } from "../helpers/parity";
import { rejectsWith } from "../helpers/rejects";

interface Measured {
  name: string;
  code: string;
  milliseconds: number;
  growthMiB: number;
  textMiB: number;
}

/** Runs the calls of children/text-memory.ts, one after the other in one process. */
function measure(...names: string[]): Promise<Measured[]> {
  const script = join(root, "test", "hostile", "children", "text-memory.ts");
  const tsx = pathToFileURL(require.resolve("tsx")).href;
  const child = spawn(process.execPath, ["--import", tsx, script, pairPath("tiny-a"), ...names], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let stdout = "";
  child.stdout.on("data", (data) => {
    stdout += data;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0)
        resolve(
          stdout
            .trim()
            .split("\n")
            .map((line) => JSON.parse(line)),
        );
      else reject(new Error(`the process ended with ${signal ?? code} after ${stdout}`));
    });
  });
}

const worst = (all: readonly Measured[], key: "milliseconds" | "growthMiB") =>
  Math.max(...all.map((each) => each[key]));

t.test("T13 a string of 512 MB is refused in every place without being written out", async (t) => {
  const [after, ...measured] = (
    await measure(
      "embed 512 MB",
      "embed { text } of 512 MB",
      "embedBatch with 512 MB",
      "embedMany with 512 MB",
      "countTokens 512 MB",
      "tokenize 512 MB",
      "inspectStages 512 MB",
      "instruction of 512 MB",
      "prompt of 512 MB",
      "a list that is 512 MB of text",
      "a picture's path of 512 MB",
      "a model's path of 512 MB",
    )
  ).reverse();
  const others: Record<string, string> = {
    "a list that is 512 MB of text": "GME_INPUT_INVALID",
    "a picture's path of 512 MB": "GME_IMAGE_TOO_LARGE",
    "a model's path of 512 MB": "GME_IO_ERROR",
  };
  for (const { name, code, milliseconds, growthMiB } of measured) {
    t.equal(code, others[name] ?? "GME_TEXT_TOO_LONG", name);
    t.ok(milliseconds <= 100, `${name}: ${milliseconds} ms`);
    t.ok(growthMiB <= 16, `${name}: memory grew by ${growthMiB} MiB`);
  }
  t.equal(measured.length, 12);
  t.equal(after.code, "ok", "the model embeds as before");
  t.comment(
    `T13: ${measured.length} calls with 536,870,888 characters, at most ${worst(measured, "milliseconds").toFixed(1)} ms and ${worst(measured, "growthMiB").toFixed(1)} MiB`,
  );
});

t.test("T12 10 MB are refused at once, and cut in memory that does not follow the text's length", async (t) => {
  const measured = await measure(
    "embed 10 MB",
    "embed 10 MB in UTF-16",
    "truncate 10 MB of words",
    "truncate one word of 10 MB",
    "truncate one lone surrogate, 134 million times",
  );
  const [plain, wide, words, word, lone, after] = measured;
  for (const { name, code, milliseconds, growthMiB, textMiB } of [plain, wide]) {
    t.equal(code, "GME_TEXT_TOO_LONG", name);
    t.ok(milliseconds <= 50, `${name}: ${milliseconds} ms`);
    t.ok(growthMiB <= 2 * textMiB, `${name}: ${growthMiB} MiB`);
  }
  for (const { name, code, milliseconds, growthMiB, textMiB } of [words, word]) {
    t.equal(code, "ok", name);
    t.ok(milliseconds <= 4_000, `${name}: ${milliseconds} ms`);
    t.ok(growthMiB <= 12 * textMiB, `${name}: ${growthMiB} MiB`);
  }
  t.equal(lone.code, "ok", "a text that only replacing its surrogates could make too large");
  t.equal(after.code, "ok");
  t.comment(
    `T12: 10 MB refused in ${worst([plain, wide], "milliseconds").toFixed(1)} ms and ${worst([plain, wide], "growthMiB").toFixed(1)} MiB`,
  );
  t.comment(
    `T12: 10 MB cut in ${words.milliseconds.toFixed(0)} ms (words) and ${word.milliseconds.toFixed(0)} ms (one word), ${worst([words, word], "growthMiB").toFixed(0)} MiB`,
  );
});

const stopWatch = async (work: () => Promise<unknown>) => {
  const start = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1_000;
};

t.test("T11, T19 a million of one character, and other worst cases, through the public API", async (t) => {
  const gme = await loadReference(pairPath("tiny-a"), { maxTokens: 200 });
  const texts: [string, string][] = [
    ["T11", "A".repeat(43_000)],
    ["T11", "Z".repeat(131_072)],
    ["T11", ".".repeat(1_000_000)],
    ["T11", " ".repeat(1_000_000)],
    ["T11", "\n".repeat(1_000_000)],
    ["T11", "字".repeat(1_000_000)],
    ["T11", "7".repeat(1_000_000)],
    ["T11", "'us'".repeat(250_000)],
    ["T19", "qzxj".repeat(250_000)],
    ["T19", "the station ".repeat(80_000)],
    ["T19", Array.from({ length: 500_000 }, (_, i) => String.fromCharCode(97 + ((i * i * 31 + i * 7) % 26))).join("")],
  ];
  const worstTime: Record<string, number> = { T11: 0, T19: 0 };
  for (const [row, text] of texts) {
    let ids: Int32Array = new Int32Array();
    const perMegabyte =
      (await stopWatch(async () => {
        ids = await gme.tokenize(text);
      })) / Math.max(1, Buffer.byteLength(text) / 1e6);
    t.ok(
      ids.length > 300 && perMegabyte <= 2_000,
      `${row} ${text.slice(0, 4).trim()}… ${perMegabyte.toFixed(0)} ms per MB`,
    );
    const { text: counted, total } = await gme.countTokens(text);
    t.equal(total, counted + 27);
    await rejectsWith(t, () => gme.embed(text), "GME_TEXT_TOO_LONG", "over 200 tokens");
    t.ok((await gme.embed(text, { overflow: "truncate" })).every(Number.isFinite));
    worstTime[row] = Math.max(worstTime[row], perMegabyte);
  }
  await gme.close();
  for (const [row, time] of Object.entries(worstTime)) {
    const count = texts.filter(([each]) => each === row).length;
    t.comment(
      `${row}: ${count} texts of up to 3 MB tokenised, counted, refused and cut, at most ${time.toFixed(0)} ms of CPU per MB`,
    );
  }
});

t.test("T14 an item at the limit of tokens is taken, one token more names both numbers", async (t) => {
  const gme = await loadReference(pairPath("tiny-a"), { maxTokens: 100 });
  const words = (n: number) => `${"0123456789".repeat(10)}`.slice(0, n);
  t.equal((await gme.countTokens(words(73))).total, 100);
  t.ok((await gme.embed(words(73))).every(Number.isFinite));
  const error = await rejectsWith(t, () => gme.embed(words(74)), "GME_TEXT_TOO_LONG");
  t.match(error, { message: /101/, expected: /100/, field: "text" });
  t.match(error.message, /100/);
  const cut = await gme.embed(words(74), { overflow: "truncate" });
  t.equal(maxDelta(cut, await gme.embed(words(73))), 0, "cut by one token");
  await gme.close();
  t.comment(
    "T14: 100 of 100 tokens taken, 101 refused with both numbers; cutting gives the vector at the limit to the bit",
  );
});

t.test("T26 text and picture over the limit are refused before the picture goes through the tower", async (t) => {
  const gme = await loadReference(pairPath("tiny-a"), { maxTokens: 1_400 });
  const side = 980; // 1,225 image tokens
  const image = { data: new Uint8Array(side * side * 3).fill(90), width: side, height: side };
  const good: GmeInput = { text: "a photo", image };
  const bad: GmeInput = { text: "0".repeat(1_000), image };
  await gme.embed("warm");
  const [encoded, refused] = [
    await stopWatch(() => gme.embed(good)),
    await stopWatch(() => rejectsWith(t, () => gme.embed(bad), "GME_TEXT_TOO_LONG")),
  ];
  t.ok(refused < encoded / 3, `${refused} ms against ${encoded} ms`);
  const error = await rejectsWith(t, () => gme.embed(bad, { overflow: "error" }), "GME_TEXT_TOO_LONG");
  t.match(error.expected, /1400/);
  const batch = await rejectsWith(t, () => gme.embedBatch([good, bad, good]), "GME_TEXT_TOO_LONG", "in a batch");
  t.equal(batch.item, 1);
  const small = await loadReference(pairPath("tiny-a"), { maxTokens: 200 });
  await rejectsWith(
    t,
    () => small.embed(good, { overflow: "truncate" }),
    "GME_TEXT_TOO_LONG",
    "a picture alone over the limit",
  );
  await Promise.all([gme.close(), small.close()]);
  t.comment(`T26: refused in ${refused.toFixed(0)} ms of CPU, embedded in ${encoded.toFixed(0)} ms`);
});

t.test("T32 under a limit of 1,000 tokens every count is positive and every refusal typed", async (t) => {
  const gme: GmeModel = await loadReference(pairPath("tiny-a"), { maxTokens: 1_000 });
  let counts = 0;
  for (const n of [0, 1, 972, 973, 974, 1_000, 32_768, 1_048_576]) {
    const text = "7".repeat(n);
    const count = await gme.countTokens(text);
    t.strictSame(count, { text: n, image: 0, total: n + 27 });
    t.equal((await gme.tokenize(text)).length, n);
    counts += 2;
    if (count.total <= 1_000) t.ok((await gme.embed(text)).every(Number.isFinite));
    else {
      const error = await rejectsWith(t, () => gme.embed(text), "GME_TEXT_TOO_LONG", `${n} digits`);
      t.equal(Number(error.value), n + 27);
    }
    for (const overflow of ["truncate", "reference"] as const)
      t.ok((await gme.embed(text, { overflow })).every(Number.isFinite), `${overflow} ${n}`);
  }
  for (const maxTokens of [1, 2, 26, 27, 28]) {
    const tiny = await loadReference(pairPath("tiny-a"), { maxTokens });
    const error = maxTokens < 27 ? "GME_TEXT_TOO_LONG" : "fulfilled";
    for (const overflow of ["truncate", "error"] as const) {
      const code = await tiny.embed("", { overflow }).then(
        () => "fulfilled",
        (reason) => reason.code,
      );
      t.equal(code, error, `${maxTokens} tokens, ${overflow}`);
    }
    t.ok((await tiny.embed("abc", { overflow: "reference" })).every(Number.isFinite), `${maxTokens} tokens, reference`);
    await tiny.close();
  }
  await gme.close();
  t.comment(
    `T32: ${counts} counts of up to 1,048,603 tokens under a limit of 1,000, and limits of 1, 2, 26, 27 and 28`,
  );
});
