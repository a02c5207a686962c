// Writes docs/models.md: what each type costs and loses, measured on the demonstration model and on the fixtures.
//
//   npx tsx scripts/models-table.ts
//
// Per type: the file's size, the cosine of 200 inputs to the same inputs on the f32 file (mean and worst), and on the demonstration
// model how often a caption finds its own picture among the 51 samples, first and among the first five.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConvertType, convert, convertTypes, cosine, type GmeInput, load, similarity } from "../lib/index";

const root = join(__dirname, "..");
const fixtures = join(root, "test/fixtures");
const samples = join(root, "models/emoji-tiny/samples");
const types = convertTypes as readonly ConvertType[];
const nInputs = 200;

interface Subject {
  name: string;
  checkpoint: string;
  inputs: GmeInput[];
  /** Captions and pictures of the same order, where retrieval means something. */
  pairs?: { captions: GmeInput[]; pictures: GmeInput[] };
}

/** Short, various texts: those of the tokenizer's cases that are neither long nor empty. */
function otherTexts(count: number): string[] {
  const lines = readFileSync(join(fixtures, "more/tokenizer-cases.jsonl"), "utf8").split("\n").filter(Boolean);
  const texts = lines.map((line) => (JSON.parse(line) as { text: string }).text);
  return texts.filter((text) => text.length > 8 && text.length < 200).slice(0, count);
}

function demonstration(): Subject {
  const { cases } = JSON.parse(readFileSync(join(fixtures, "emoji-tiny/cases.json"), "utf8")) as {
    cases: { image: string | null; text: string | null }[];
  };
  const captions = cases.filter((c) => c.text !== null && c.image === null).slice(0, 51);
  const pictures = cases.filter((c) => c.text === null).map(({ image }) => ({ image: join(samples, image as string) }));
  const fused = cases
    .filter((c) => c.text !== null && c.image !== null)
    .slice(0, 51)
    .map((c) => ({ text: c.text as string, image: join(samples, c.image as string) }));
  const texts = captions.map(({ text }) => ({ text: text as string }));
  const own = [...texts, ...pictures.slice(0, 51), ...fused];
  return {
    name: "demonstration model (emoji-tiny)",
    checkpoint: join(fixtures, "checkpoints/emoji-tiny"),
    inputs: [...own, ...otherTexts(nInputs - own.length)],
    pairs: { captions: texts, pictures: pictures.slice(0, 51) },
  };
}

function randomModel(name: string): Subject {
  const images = readdirSync(join(fixtures, "images")).map((file) => join(fixtures, "images", file));
  const own = images.flatMap((image) => [{ image }, { text: "a photo", image }]);
  return {
    name: `fixture ${name}, random weights`,
    checkpoint: join(fixtures, "checkpoints", name),
    inputs: [...own, ...otherTexts(nInputs - own.length)],
  };
}

async function measure(subject: Subject, folder: string): Promise<string[]> {
  const rows: string[] = [];
  let exact: Float32Array[] = [];
  for (const type of types) {
    const target = join(folder, `${type}.gguf`);
    const { fellBack } = await convert({ source: subject.checkpoint, target, type, force: true });
    const model = await load(target);
    const vectors = await model.embedBatch(subject.inputs);
    if (type === "f32") exact = vectors;
    const cosines = vectors.map((vector, i) => cosine(vector, exact[i]));
    const mean = cosines.reduce((sum, value) => sum + value, 0) / cosines.length;
    const found = subject.pairs && (await retrieval(model, subject.pairs));
    await model.close();
    const size = (statSync(target).size / 1e6).toFixed(2);
    const nWider = fellBack.reduce((sum, { tensors }) => sum + tensors, 0);
    const other = nWider > 0 ? `, ${nWider} of its matrices wider` : "";
    const recall = found ? ` ${found} |` : "";
    rows.push(`| ${type}${other} | ${size} | ${mean.toFixed(6)} | ${Math.min(...cosines).toFixed(6)} |${recall}`);
    process.stderr.write(`${subject.name}: ${type} mean ${mean.toFixed(6)}\n`);
  }
  const recall = subject.pairs ? [" R@1, R@5 |", "---|"] : ["", ""];
  return [
    `## ${subject.name}`,
    "",
    `| type | MB | mean cosine | worst |${recall[0]}`,
    `|---|---|---|---|${recall[1]}`,
    ...rows,
    "",
  ];
}

async function retrieval(
  model: Awaited<ReturnType<typeof load>>,
  { captions, pictures }: NonNullable<Subject["pairs"]>,
): Promise<string> {
  const scores = similarity(await model.embedBatch(captions), await model.embedBatch(pictures));
  const ranks = Array.from(scores, (row, i) => Array.from(row).filter((score) => score > row[i]).length);
  const share = (k: number) => ((ranks.filter((rank) => rank < k).length / ranks.length) * 100).toFixed(0);
  return `${share(1)} %, ${share(5)} %`;
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "gme-models-table-"));
  try {
    const lines = [
      "# What each type costs and loses",
      "",
      `Written by \`npx tsx scripts/models-table.ts\`. ${nInputs} inputs per model (texts, pictures, fused); cosine to the vector of the f32 file. Rows`,
      "that no block type divides fall back to a wider type ([convert.md](convert.md#types)): these models are so narrow that many do, which a",
      "model of GME's size does not. GME's own weights were not measured here.",
      "",
    ];
    for (const subject of [demonstration(), randomModel("tiny-a"), randomModel("tiny-b")])
      lines.push(...(await measure(subject, folder)));
    writeFileSync(join(root, "docs/models.md"), `${lines.join("\n").trimEnd()}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

void main();
