import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { DemoReport } from "../../lib/cli/demo-run";
import { gme } from "../helpers/cli";
import { temporaryFolder } from "../helpers/fixtures";

const folder = temporaryFolder();

t.test("demo prints the table, the figures and the answers, and writes the gallery", async (t) => {
  const { code, stdout, stderr } = await gme(["demo"], { cwd: folder });
  const text = stdout.toString();
  t.equal(code, 0, stderr);
  t.match(text, /it is not GME/);
  t.match(text, /gme pull gme-2b/);
  t.match(text, /Built with GME/);
  t.match(text, /^ {2}guitar .*0\.\d\d\*/m, "the table has a highest cosine in a row");
  t.match(text, /caption → picture +R@1 +65 % +R@5 +90 %/, "the figures of the model's report");
  t.notOk(text.includes("\u001b"), "no colours in a pipe");
  t.match(stderr, /gme-demo\.html/);
  const page = readFileSync(join(folder, "gme-demo.html"), "utf8");
  t.equal(page.match(/url\(data:image\/png;base64,/g)?.length, 51);
  t.notMatch(page, /(src|href)=|url\((?!data:)|@import/, "the page needs nothing else");
  t.match(page, /Built with GME/);
  t.match(page, /it is not GME/);
  t.match(page, /CC BY-SA 4\.0/);
});

t.test("demo --json has the same, and the clear cases are right", async (t) => {
  const out = join(folder, "gallery.html");
  const { code, stdout, stderr } = await gme(["demo", "--json", "--out", out]);
  t.equal(code, 0, stderr);
  const report = JSON.parse(stdout.toString()) as DemoReport & { html: string };
  t.equal(report.samples, 51);
  t.equal(report.html, out);
  t.ok(existsSync(out));
  const [captions, pictures, fused] = report.recall;
  t.ok(Math.abs(captions.at1 - 0.647) < 0.021 && Math.abs(captions.at5 - 0.902) < 0.021, JSON.stringify(captions));
  t.ok(pictures.at5 > 0.8 && fused.at1 > 0.9);
  for (const [i, row] of report.table.scores.entries()) t.equal(Math.max(...row), row[i], report.table.subjects[i]);
  const first = (match: { text?: string; picture?: string }) =>
    report.queries.find((query) => query.text === match.text && query.picture === match.picture)?.answers[0].caption;
  t.equal(first({ text: "flower" }), "sunflower");
  t.equal(first({ text: "music" }), "guitar");
  t.equal(first({ text: "something to eat" }), "strawberry");
  t.equal(first({ picture: "guitar.png" }), "violin");
  t.equal(first({ picture: "banana.png", text: "red fruit" }), "red apple");
  t.equal(first({ picture: "sun.png", text: "moon" }), "crescent moon");
  const pizza = report.queries.find((query) => query.text === "a slice of pizza")?.answers.slice(0, 2);
  t.ok(
    pizza?.some(({ caption }) => caption === "pizza"),
    "pizza is among the first two",
  );
});

t.test("demo ends with 1 where the gallery cannot be written, and with 2 for a wrong flag", async (t) => {
  const failed = await gme(["demo", "--out", join(folder, "nowhere", "x.html")]);
  t.equal(failed.code, 1);
  t.match(failed.stderr, /GME_IO_ERROR/);
  const wrong = await gme(["demo", "--ouput", "x"]);
  t.equal(wrong.code, 2);
  t.same(wrong.addons, []);
});

t.test("demo leaves nothing in the folder for temporary files, whether it ends by itself or by a signal", async (t) => {
  const temporary = join(folder, "temporary");
  mkdirSync(temporary);
  const env = { TMPDIR: temporary, TEMP: temporary };
  const indexes = () => readdirSync(temporary).filter((name) => name.startsWith("gme-demo-"));
  const whole = await gme(["demo", "--out", join(folder, "whole.html")], { env });
  t.equal(whole.code, 0, whole.stderr);
  t.strictSame(indexes(), []);
  const out = join(folder, "stopped.html");
  let seen = 0;
  const stopped = await gme(["demo", "--out", out], {
    env,
    during: (child) => {
      const look = setInterval(() => {
        if (child.exitCode !== null) clearInterval(look);
        seen = Math.max(seen, indexes().length);
        if (seen > 0) child.kill("SIGINT");
        if (seen > 0) clearInterval(look);
      }, 10);
    },
  });
  t.equal(seen, 1, "there was an index");
  t.equal(stopped.code, 130, stopped.stderr);
  t.strictSame(indexes(), []);
  t.notOk(existsSync(out));
});
