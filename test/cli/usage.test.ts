import t from "tap";
import { attribution, embedOptions, loadOptions } from "../../lib/index";
import { gme } from "../helpers/cli";
import { imageFixture } from "../helpers/fixtures";
import { pairPath } from "../helpers/parity";

t.test("help and --version load no native addon, neither ours nor sharp's", async (t) => {
  const commands = [
    [],
    ["index"],
    ["search"],
    ["serve"],
    ["export"],
    ["embed"],
    ["inspect"],
    ["inspect", "model"],
    ["inspect", "tokens"],
    ["inspect", "image"],
    ["inspect", "stages"],
    ["convert"],
    ["pull"],
    ["rm"],
    ["verify"],
    ["bench"],
    ["doctor"],
    ["demo"],
  ];
  const runs = await Promise.all([
    ...commands.map((command) => gme([...command, "--help"])),
    gme(["--version"]),
    gme(["help"]),
  ]);
  for (const [i, { code, stdout, stderr, addons }] of runs.entries()) {
    const title = `gme ${[...(commands[i] ?? ["--version or help"])].join(" ")}`;
    t.equal(code, 0, title);
    t.equal(stderr, "", `${title}: nothing on stderr`);
    t.ok(stdout.length > 0, `${title}: text on stdout`);
    t.strictSame(addons, [], `${title}: no addon`);
  }
  t.match(runs[0].stdout.toString(), attribution);
  t.match(runs[commands.length].stdout.toString(), /^gme-embed \d+\.\d+\.\d+\nBuilt with GME\n$/);
});

t.test("the same check sees the addons of a command that needs them", async (t) => {
  const { addons } = await gme(["embed", "--model", pairPath("tiny-a"), "--image", imageFixture("one-pixel.png")]);
  t.ok(
    addons.some((file) => file.includes("gme_embed")) && addons.some((file) => file.includes("sharp")),
    addons.join(" "),
  );
  const text = await gme(["embed", "--model", pairPath("tiny-a"), "--text", "a"]);
  t.notOk(
    text.addons.some((file) => file.includes("sharp")),
    "a text needs no sharp",
  );
});

t.test("wrong usage ends with 2, says why on stderr, and loads no addon", async (t) => {
  const rows: [string[], RegExp][] = [
    [[], /Usage: gme/],
    [["imbed"], /unknown command.*\n?.*embed/s],
    [["embed"], /--text/],
    [["embed", "--txet", "a"], /--text/],
    [["embed", "--text"], /argument missing/],
    [["embed", "--text", "a", "--format", "xml"], /json, jsonl, npy, base64/],
    [["embed", "--text", "a", "--threads", "two"], /integer/],
    [["embed", "--text", "a", "--positions", "grid"], /sequential, mrope/],
    [["embed", "--text", "a", "--loader-resize", "maybe"], /on or off/],
    [["embed", "--text", "-", "--image", "-"], /stdin/],
    [["embed", "--jsonl", "--text", "a"], /--jsonl/],
    [["embed", "surplus", "--text", "a"], /too many arguments/],
    [["index"], /--db/],
    [["index", "--db", "x"], /nothing to index/],
    [["index", "a", "--db", "x", "--check"], /takes the whole index/],
    [["index", "--db", "x", "--check", "--stats"], /exclude each other/],
    [["index", "a", "--db", "x", "--force"], /--prune/],
    [["index", "a", "--db", "x", "--poll"], /--watch/],
    [["index", "a", "--db", "x", "--passage-length", "many"], /integer/],
    [["search", "--db", "x"], /no query/],
    [["search", "a"], /--db/],
    [["search", "a", "--db", "x", "--kind", "video"], /image, text, page/],
    [["search", "a", "--db", "x", "--min-score", "7"], /-1 to 1/],
    [["export", "--db", "x", "--format", "xml"], /parquet/],
    [["bench", "--synthetic", "3b"], /tiny, 2b, 7b/],
    [["bench", "--synthetic", "tiny", "--model", "x"], /exclude each other/],
    [["bench", "--type", "f16"], /--synthetic/],
    [["bench", "--rounds", "0"], /1 to 1000/],
    [["bench", "--only", "films"], /nothing to measure/],
    [["inspect"], /Usage: gme inspect/],
    [["inspect", "model"], /missing required argument/],
    [["inspect", "image"], /missing required argument/],
    [["inspect", "stages", "--text", "a"], /--out/],
  ];
  const runs = await Promise.all(rows.map(([args]) => gme(args)));
  for (const [i, { code, stdout, stderr, addons }] of runs.entries()) {
    const title = `gme ${rows[i][0].join(" ")}`;
    t.equal(code, 2, `${title}: exit code`);
    t.match(stderr, rows[i][1], `${title}: ${stderr.split("\n")[0]}`);
    t.equal(stdout.length, 0, `${title}: nothing on stdout`);
    t.strictSame(addons, [], `${title}: no addon`);
  }
});

t.test("every load and embed option is a flag in kebab-case", async (t) => {
  const help = (await gme(["embed", "--help"])).stdout.toString();
  for (const { name, kind, isFlag } of [...loadOptions, ...embedOptions]) {
    if (kind === "function" || kind === "signal" || isFlag === false) continue;
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    t.match(help, new RegExp(`^  ${flag}\\b`, "m"), flag);
  }
});
