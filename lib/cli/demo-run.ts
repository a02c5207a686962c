import { rmSync } from "node:fs";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { attribution, bundledModelPath, GmeError, type GmeModel, similarity } from "../index";
import type { GmeIndex, IndexEvent, IndexProgress } from "../index-store/index";

export interface Sample {
  /** File name of the picture. */
  readonly picture: string;
  readonly caption: string;
  /** The encoded picture. */
  readonly bytes: Uint8Array;
}

export interface Answer {
  readonly picture: string;
  readonly caption: string;
  /** Cosine of query and picture. */
  readonly score: number;
}

export interface QueryResult {
  readonly text?: string;
  /** File name of the query's picture, which is left out of the answers. */
  readonly picture?: string;
  readonly answers: readonly Answer[];
}

/** Share of the queries whose own subject is first, and among the first five. */
export interface Recall {
  readonly from: string;
  readonly to: string;
  readonly at1: number;
  readonly at5: number;
}

export interface DemoReport {
  readonly notice: string;
  readonly attribution: string;
  readonly model: {
    readonly name: string;
    readonly parameters: number;
    readonly type: string;
    readonly device: string;
  };
  readonly samples: number;
  readonly dimensions: number;
  readonly embedded: number;
  readonly seconds: number;
  /** scores[i][j]: cosine of caption i and picture j. */
  readonly table: { readonly subjects: readonly string[]; readonly scores: readonly (readonly number[])[] };
  readonly chance: { readonly at1: number; readonly at5: number };
  readonly recall: readonly Recall[];
  readonly queries: readonly QueryResult[];
}

/** Both parts of a demonstration: what is reported, and the cosines between all pictures for the page. */
export interface DemoResult {
  readonly report: DemoReport;
  readonly samples: readonly Sample[];
  readonly pictureScores: readonly Float32Array[];
}

export const demoNotice =
  "This small model was trained on emoji drawings to show the machinery; it is not GME and knows far less. GME itself: gme pull gme-2b";

const tableSubjects = ["cat face", "bicycle", "elephant", "guitar", "rocket", "rose", "castle", "umbrella"];
const queries: readonly { text?: string; picture?: string }[] = [
  { text: "flower" },
  { text: "a slice of pizza" },
  { text: "music" },
  { text: "something to eat" },
  { text: "a big cat" },
  { picture: "guitar.png" },
  { picture: "banana.png", text: "red fruit" },
  { picture: "sun.png", text: "moon" },
];
const answersShown = 5;

const demoFolder = join(dirname(bundledModelPath), "emoji-tiny");
const samplesFolder = join(demoFolder, "samples");

/** The bundled pictures and captions, in the order of captions.json. */
export async function readSamples(): Promise<Sample[]> {
  const file = join(demoFolder, "captions.json");
  try {
    const captions = JSON.parse(await readFile(file, "utf8")) as { [picture: string]: { caption: string } };
    return await Promise.all(
      Object.entries(captions).map(async ([picture, { caption }]) => {
        return { picture, caption, bytes: await readFile(join(samplesFolder, picture)) };
      }),
    );
  } catch (cause) {
    const errno = (cause as NodeJS.ErrnoException).code;
    throw new GmeError("GME_IO_ERROR", `the bundled pictures cannot be read: ${(cause as Error).message}`, {
      file,
      errno,
      cause,
    });
  }
}

/** Called with the number of vectors that are done, and of all. */
type OnProgress = (done: number, total: number) => void;

/** Indexes pictures, captions and both together in a folder that is gone at the end, and searches it. */
export async function runDemo(
  model: GmeModel,
  samples: readonly Sample[],
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<DemoResult> {
  const start = performance.now();
  const folder = await mkdtemp(join(tmpdir(), "gme-demo-"));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.once("exit", remove); // a second signal ends the process at once
  try {
    const { openIndex } = await import("../index-store/index.js");
    const index = await openIndex(join(folder, "index"), { model, signal });
    try {
      const vectors = await indexSamples(index, samples, onProgress, signal);
      const answers = await searchAll(index, samples, onProgress, signal);
      return demoResult(model, samples, vectors, answers, (performance.now() - start) / 1000);
    } finally {
      await index.close();
    }
  } finally {
    remove();
    process.off("exit", remove);
  }
}

function totalOf(samples: readonly Sample[]): number {
  return samples.length * 3 + queries.length;
}

interface SampleVectors {
  readonly pictures: readonly Float32Array[];
  readonly captions: readonly Float32Array[];
  readonly fused: readonly Float32Array[];
}

const captionId = (picture: string) => `caption of ${basename(picture, ".png")}`;
const fusedId = (picture: string) => `${basename(picture, ".png")} with its caption`;

/** Three rows per sample; their vectors come back from the index. */
async function indexSamples(
  index: GmeIndex,
  samples: readonly Sample[],
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<SampleVectors> {
  const n = samples.length;
  const progressFrom =
    (first: number) =>
    ({ done }: IndexProgress) =>
      onProgress(first + done, totalOf(samples));
  const captions = samples.map(({ picture, caption }) => ({ id: captionId(picture), text: caption }));
  const fused = samples.map(({ picture, caption, bytes }) => ({ id: fusedId(picture), text: caption, image: bytes }));
  let failure: GmeError | undefined;
  const onEvent = (event: IndexEvent) => {
    if (event.type === "failed") failure ??= event.error;
  };
  await index.addFiles([samplesFolder], { onProgress: progressFrom(0), onEvent, signal });
  if (failure !== undefined) throw failure;
  await index.add([...captions, ...fused], { onProgress: progressFrom(n), signal });
  const found = new Map<string, Float32Array>();
  for await (const entries of index.entries({ vectors: true })) {
    for (const { paths, embedding } of entries)
      for (const path of paths) if (embedding !== undefined) found.set(path, embedding);
  }
  const vectorOf = (path: string): Float32Array => {
    const vector = found.get(path);
    if (vector === undefined) throw new GmeError("GME_INTERNAL", `${path} is not in the index of the demonstration`);
    return vector;
  };
  return {
    pictures: samples.map(({ picture }) => vectorOf(join(samplesFolder, picture))),
    captions: captions.map(({ id }) => vectorOf(id)),
    fused: fused.map(({ id }) => vectorOf(id)),
  };
}

/** The queries over the pictures alone: the other rows have no file. */
async function searchAll(
  index: GmeIndex,
  samples: readonly Sample[],
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<QueryResult[]> {
  const sampleOf = new Map(samples.map((sample) => [sample.picture, sample]));
  const results: QueryResult[] = [];
  for (const query of queries) {
    const image = query.picture === undefined ? undefined : sampleOf.get(query.picture)?.bytes;
    const rows = await index.search(query.text, { image, path: "*.png", limit: answersShown + 1, signal });
    const answers = rows.flatMap(({ path, score }): Answer[] => {
      const sample = sampleOf.get(basename(path));
      return sample === undefined || sample.picture === query.picture
        ? []
        : [{ picture: sample.picture, caption: sample.caption, score }];
    });
    results.push({ ...query, answers: answers.slice(0, answersShown) });
    onProgress(samples.length * 3 + results.length, totalOf(samples));
  }
  return results;
}

function demoResult(
  model: GmeModel,
  samples: readonly Sample[],
  { pictures, captions, fused }: SampleVectors,
  answers: readonly QueryResult[],
  seconds: number,
): DemoResult {
  const n = samples.length;
  const captionScores = similarity(captions, pictures);
  const { name, parameters, type, device } = model.info as unknown as DemoReport["model"];
  const report: DemoReport = {
    notice: demoNotice,
    attribution,
    model: { name, parameters, type, device },
    samples: n,
    dimensions: model.dimensions,
    embedded: totalOf(samples),
    seconds,
    table: tableOf(samples, captionScores),
    chance: { at1: 1 / n, at5: 5 / n },
    recall: [
      { from: "caption", to: "picture", ...recallOf(captionScores) },
      { from: "picture", to: "caption", ...recallOf(similarity(pictures, captions)) },
      { from: "caption", to: "picture with caption", ...recallOf(similarity(captions, fused)) },
    ],
    queries: answers,
  };
  return { report, samples, pictureScores: similarity(pictures, pictures) };
}

function tableOf(samples: readonly Sample[], scores: readonly Float32Array[]): DemoReport["table"] {
  const places = tableSubjects.map((subject) => samples.findIndex(({ caption }) => caption === subject));
  return { subjects: tableSubjects, scores: places.map((row) => places.map((column) => scores[row][column])) };
}

/** Row i's own subject is column i. */
function recallOf(scores: readonly Float32Array[]): { at1: number; at5: number } {
  const ranks = scores.map((row, i) => row.filter((score) => score > row[i]).length);
  const share = (k: number) => ranks.filter((rank) => rank < k).length / ranks.length;
  return { at1: share(1), at5: share(5) };
}
