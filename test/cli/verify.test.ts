import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import t from "tap";
import { type CardScores, cardExample } from "../../lib/cli/card-example";
import { judgeMode, type ModeReport, verdictOf } from "../../lib/cli/verify-scores";
import { bundledModelPath, cosine, load, type Positions } from "../../lib/index";
import { gme, jsonLines } from "../helpers/cli";
import { imageFixture } from "../helpers/fixtures";
import { pairPath } from "../helpers/parity";
import { serve } from "../helpers/remote-servers";

const pictures = [imageFixture("photo-1600x1200.jpg"), imageFixture("exif6-480x360.jpg")];
const small = ["--min-image-tokens", "4", "--max-image-tokens", "16"];
const { texts, instruction } = cardExample;

async function expectedScores(path: string, positions: Positions): Promise<CardScores> {
  const model = await load(path, { positions, threads: 1, minImageTokens: 4, maxImageTokens: 16 });
  const plain = await Promise.all(texts.map((text) => model.embed(text)));
  const query = await Promise.all(texts.map((text) => model.embed(text, { instruction })));
  const images = await Promise.all(pictures.map((image) => model.embed({ image })));
  const fused = await Promise.all(texts.map((text, i) => model.embed({ text, image: pictures[i] })));
  await model.close();
  const table = (rows: Float32Array[]) => rows.map((row) => images.map((image) => cosine(row, image)));
  return { plain: table(plain), instructed: table(query), fused: [[cosine(fused[0], fused[1])]] };
}

t.test("verify --json gives the cosines of the example's embeddings for both position modes", async (t) => {
  const { code, stdout, stderr } = await gme(["verify", "--images", ...pictures, ...small, "--json"]);
  t.equal(code, 1, stderr);
  const [report] = jsonLines(stdout) as { modes: ModeReport[]; pictures: { sha256: string }[] }[];
  t.match(report, { verdict: "not a GME model", pass: false, tolerance: 0.005, model: { file: bundledModelPath } });
  t.strictSame(
    report.modes.map(({ positions, decides }) => [positions, decides]),
    [
      ["sequential", true],
      ["mrope", false],
    ],
  );
  t.equal(report.pictures[0].sha256, createHash("sha256").update(readFileSync(pictures[0])).digest("hex"));
  for (const mode of report.modes) {
    const expected = await expectedScores(bundledModelPath, mode.positions);
    for (const name of ["plain", "instructed", "fused"] as const) {
      const { scores, against } = mode.tables[name];
      const ours = scores.flat();
      for (const [i, score] of expected[name].flat().entries()) {
        t.ok(Math.abs(score - ours[i]) < 1e-5, `${mode.positions} ${name} ${i}: ${ours[i]}`);
        for (const { published, differences } of Object.values(against))
          t.equal(differences.flat()[i], ours[i] - published.flat()[i]);
      }
    }
  }
  const [first, second] = report.modes.map(({ tables }) => JSON.stringify(tables.plain.scores));
  t.not(first, second, "the modes differ");
});

t.test("verify prints every cell beside both published sets and says what the model is not", async (t) => {
  const args = ["verify", "--model", pairPath("tiny-a"), "--positions", "mrope", "--images", ...pictures, ...small];
  const { code, stdout, stderr } = await gme(args);
  t.equal(code, 1, stderr);
  const text = stdout.toString();
  t.match(text, /positions mrope \(in force for this model, decides\)\n.*ours +transformers +sentence-transformers/);
  t.match(text, /positions sequential \(for comparison\)/);
  for (const score of ["0.3596", "0.3562", "0.0418", "0.4255", "0.4094", "0.0551", "0.0557"])
    t.ok(text.includes(score));
  t.match(text, /verdict: not a GME model\. GME has vectors of 1536 or 3584 numbers/);
  t.equal(text.match(/ (pass|fail) +(pass|fail)$/gm)?.length, 6, "a result per table and set");
});

t.test("verify without its two pictures is wrong usage, and fetches nothing unasked", async (t) => {
  const server = await serve((_request, response) => void response.end(readFileSync(pictures[0])));
  t.teardown(() => server.close());
  const address = `http://127.0.0.1:${server.port}/a.jpg`;
  const [none, one, off, on, listed] = await Promise.all([
    gme(["verify"]),
    gme(["verify", "--images", pictures[0]]),
    gme(["verify", "--images", address, address]),
    gme(["verify", "--images", address, address, "--remote-images"]),
    gme(["verify", "--images", address, address, "--remote-images", `127.0.0.1:${server.port}`]),
  ]);
  t.equal(none.code, 2);
  t.match(none.stderr, /--images A B, or --remote-images/);
  t.strictSame(none.addons, []);
  t.equal(one.code, 2);
  t.match(one.stderr, /two pictures, 1 given/);
  t.equal(off.code, 1);
  t.match(off.stderr, /GME_URL_FETCH_DISABLED/);
  for (const { code, stderr } of [on, listed]) {
    t.equal(code, 1);
    t.match(stderr, /GME_URL_REFUSED/);
  }
  t.equal(server.connections, 0);
});

t.test("--remote-images opens embed for addresses, one item or lines, but never for local ones", async (t) => {
  const server = await serve((_request, response) => void response.end(readFileSync(pictures[0])));
  t.teardown(() => server.close());
  const address = `http://localhost:${server.port}/a.jpg`;
  const stdin = `{"id":1,"image":"${address}"}\n`;
  const [closed, item, lines] = await Promise.all([
    gme(["embed", "--image", address]),
    gme(["embed", "--image", address, "--remote-images"]),
    gme(["embed", "--jsonl", "--remote-images"], { stdin }),
  ]);
  t.match([closed.code, closed.stderr], [1, /GME_URL_FETCH_DISABLED/]);
  t.match([item.code, item.stderr], [1, /GME_URL_REFUSED/]);
  t.equal(lines.code, 3);
  t.match(jsonLines(lines.stdout), [{ id: 1, error: { code: "GME_URL_REFUSED" } }]);
  t.equal(server.connections, 0);
});

const shifted = (scores: CardScores, by: number): CardScores => {
  const move = (table: number[][]) => table.map((row) => row.map((score, j) => score + (j % 2 === 0 ? by : -by)));
  return { plain: move(scores.plain), instructed: move(scores.instructed), fused: move(scores.fused) };
};

t.test("a mode passes when one published set is met in every cell", async (t) => {
  for (const set of ["transformers", "sentence-transformers"] as const) {
    const published = cardExample.published[set] as CardScores;
    const near = judgeMode(shifted(published, 0.0049), "sequential", true);
    t.ok(near.meets.includes(set) && near.pass, `${set}: 0.0049 off`);
    t.equal(near.tables.plain.against[set].largest.toFixed(4), "0.0049");
    t.equal(judgeMode(shifted(published, 0.02), "sequential", true).pass, false, `${set}: 0.02 off`);
    for (const name of ["plain", "instructed", "fused"] as const) {
      const wrong = shifted(published, 0);
      wrong[name][0][0] += 0.02;
      const judged = judgeMode(wrong, "sequential", true);
      t.strictSame([judged.pass, judged.meets], [false, []], `${set}: one cell of ${name}`);
      const wild = shifted(published, 0);
      wild[name][0][0] = Number.NaN;
      t.equal(judgeMode(wild, "sequential", true).pass, false, `${set}: NaN in ${name}`);
    }
  }
  const [a, b] = Object.values(cardExample.published);
  const mixed = { plain: a.plain, instructed: shifted(b, 0.004).instructed, fused: shifted(a, 0.02).fused };
  t.equal(judgeMode(mixed as CardScores, "mrope", true).pass, false, "cells of different sets do not add up");
});

t.test("the mode in force decides, for a model of the published size alone", async (t) => {
  const good = cardExample.published.transformers as CardScores;
  const mode = (scores: CardScores, decides: boolean) => judgeMode(scores, decides ? "sequential" : "mrope", decides);
  const bad = shifted(good, 0.1);
  t.equal(verdictOf(1536, [mode(good, true), mode(bad, false)]), "pass");
  t.equal(verdictOf(1536, [mode(bad, true), mode(good, false)]), "fail");
  t.equal(verdictOf(3584, [mode(good, true), mode(bad, false)]), "no published scores");
  t.equal(verdictOf(192, [mode(good, true), mode(good, false)]), "not a GME model");
});
