// What of a text reaches messages and output: nothing that breaks a line, nothing that turns it around, and never the text itself.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import t from "tap";
import { type GmeInput, load } from "../../lib/index";
import { gme, jsonLines } from "../helpers/cli";
import { imageFixture, root } from "../helpers/fixtures";
import { loadReference, pairPath } from "../helpers/parity";
import { rejectsWith } from "../helpers/rejects";

const controls = /[\p{Cc}\p{Cf}\u2028\u2029]/u;
const names = [
  "\u202egnp.exe",
  "a\u2066b\u2069",
  "\u200f\u061c",
  'x\n{"level":"fatal"}',
  "\r\u001b[2Jgone",
  "\u001b]0;title\u0007",
  "tab\tbell\u0007",
  "\u0085\u2028\u2029",
  "nul\0",
  "\ud800",
];

t.test("T05, T09, T29 names and values in messages are escaped to one line without controls", async (t) => {
  const model = await loadReference(pairPath("tiny-a"));
  let messages = 0;
  const raw: string[] = [];
  for (const name of names) {
    const calls: [call: () => unknown, code: string][] = [
      [() => model.embed({ text: "a", [name]: 1 } as GmeInput), "GME_INPUT_INVALID"],
      [() => model.embed("a", { [name]: 1 }), "GME_OPTION_INVALID"],
      [() => model.embed("a", { overflow: name as "error" }), "GME_OPTION_INVALID"],
      [() => model.embed({ text: Symbol(name) as unknown as string }), "GME_INPUT_INVALID"],
      [() => model.embed({ image: `${name.replaceAll("\0", "")}.png` }), "GME_IO_ERROR"],
      [() => load(`${name.replaceAll("\0", "")}.gguf`), "GME_IO_ERROR"],
      [() => load(pairPath("tiny-a"), { device: name }), "GME_OPTION_INVALID"],
    ];
    for (const [call, code] of calls) {
      const error = await rejectsWith(t, call, code, code);
      for (const text of [error.message, String(error), error.field ?? "", String(error.value ?? "")])
        if (controls.test(text)) raw.push(`${code}: ${Buffer.from(text).toString("latin1")}`);
      messages++;
    }
  }
  await model.close();
  t.strictSame(raw, []);
  t.comment(`T05: ${messages} messages with control characters in names, none of them raw`);
  t.comment(`T09: ${messages} messages with bidirectional controls in names, none of them raw`);
});

t.test("T29 a log line forged in a text or an id stays inside its own line of output", async (t) => {
  const forged = '\n{"level":"fatal","message":"forged"}\n';
  const items = [
    { id: forged, text: forged },
    { id: "\u2028\u0085\r", text: "\u001b[2J" },
    { id: forged, text: 5 },
    { id: 4, text: "a", [forged]: 1 },
    { id: 5, text: `${forged} `.repeat(50_000) },
    { id: 6, image: `missing${forged}.png` },
  ];
  const lines = [...items.map((item) => JSON.stringify(item)), '{"text": "a"', forged.trim(), "[1]", "\u001b[2J"];
  const args = ["embed", "--jsonl", "--model", pairPath("tiny-a")];
  const { stdout, stderr, code } = await gme(args, { stdin: `${lines.join("\n")}\n` });
  const results = jsonLines(stdout);
  t.equal(results.length, lines.length, "one line of output per line of input");
  t.equal(results[0].id, forged, "an id comes back as it was given");
  t.strictSame(
    results.map((result) => (result.error as { code: string } | undefined)?.code ?? "embedded"),
    [
      "embedded",
      "embedded",
      "GME_INPUT_INVALID",
      "GME_INPUT_INVALID",
      "GME_TEXT_TOO_LONG",
      "GME_IO_ERROR",
      ...Array(4).fill("GME_INPUT_INVALID"),
    ],
  );
  t.notOk(/^\{"level"/m.test(stdout.toString()) || /^\{"level"/m.test(stderr), "no line is forged");
  t.notOk(controls.test(stderr.replaceAll("\n", "")), "no controls on stderr");
  t.not(code, null);
  const texts = await gme(["embed", "--model", pairPath("tiny-a"), "--text", forged, "--format", forged], {});
  t.not(texts.code, 0);
  t.notOk(/^\{"level"/m.test(texts.stderr), `a wrong flag: ${JSON.stringify(texts.stderr.slice(0, 200))}`);
  t.comment(
    `T29: ${lines.length} lines with forged log lines in ids, texts, keys and paths give ${results.length} lines of output`,
  );
});

t.test("T30 a secret in a text is in no message, no error's property and no output", async (t) => {
  const secret = "s3cr3t-0f-a-t3xt";
  const script = join(root, "test", "hostile", "children", "text-secret.ts");
  const tsx = pathToFileURL(require.resolve("tsx")).href;
  const image = imageFixture("tiny-28x28.png");
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ["--import", tsx, script, pairPath("tiny-a"), secret, image],
    { encoding: "utf8" },
  );
  t.equal(status, 0, stderr);
  const [, calls, failed] = /(\d+) calls, (\d+) failed/.exec(stdout) as RegExpExecArray;
  t.ok(Number(failed) >= 15 && Number(calls) - Number(failed) >= 8, `${failed} of ${calls} fail`);
  t.strictSame(
    stdout.split("\n").filter((line) => line.includes(secret)),
    [],
  );
  t.equal(stderr, "");
  const input = [
    { text: secret },
    { text: secret, image: "missing.png" },
    { text: [secret] },
    { text: `${secret} `.repeat(20_000) },
  ];
  const lines = [...input.map((item) => JSON.stringify(item)), `{"text": "${secret}`, `${secret}`, `["${secret}"]`];
  const runs = [
    await gme(["embed", "--jsonl", "--model", pairPath("tiny-a")], { stdin: lines.join("\n") }),
    await gme(["embed", "--model", pairPath("tiny-a"), "--text", secret, "--instruction", secret], {}),
    await gme(["inspect", "tokens", "--jsonl", "--model", pairPath("tiny-a")], { stdin: lines.join("\n") }),
  ];
  let bytes = stdout.length;
  for (const run of runs) {
    bytes += run.stdout.length + run.stderr.length;
    t.ok(run.stdout.length > 100, "it ran");
    t.notOk(run.stdout.includes(secret) || run.stderr.includes(secret), run.stderr.slice(0, 300));
  }
  t.comment(
    `T30: ${calls} calls and ${runs.length} commands with a secret in their texts, 0 occurrences in ${bytes} bytes of output`,
  );
});
