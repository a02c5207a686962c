import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { attribution, bundledModelPath, GmeError, type GmeInput, type GmeModel, similarity } from "../index";

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

/** The bundled pictures and captions, in the order of captions.json. */
export async function readSamples(): Promise<Sample[]> {
  const folder = join(dirname(bundledModelPath), "emoji-tiny");
  const file = join(folder, "captions.json");
  try {
    const captions = JSON.parse(await readFile(file, "utf8")) as { [picture: string]: { caption: string } };
    return await Promise.all(
      Object.entries(captions).map(async ([picture, { caption }]) => {
        return { picture, caption, bytes: await readFile(join(folder, "samples", picture)) };
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

/** Embeds pictures, captions, both together, and the queries; `onProgress` gets the number of items done. */
export async function runDemo(
  model: GmeModel,
  samples: readonly Sample[],
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<DemoResult> {
  const start = performance.now();
  const imageOf = new Map(samples.map(({ picture, bytes }) => [picture, bytes]));
  const inputs: GmeInput[] = [
    ...samples.map(({ bytes }) => ({ image: bytes })),
    ...samples.map(({ caption }) => ({ text: caption })),
    ...samples.map(({ bytes, caption }) => ({ image: bytes, text: caption })),
    ...queries.map(({ text, picture }) => ({ text, image: picture === undefined ? undefined : imageOf.get(picture) })),
  ];
  const vectors = await model.embedBatch(inputs, { signal, onProgress: ({ done }) => onProgress(done, inputs.length) });
  const seconds = (performance.now() - start) / 1000;
  const n = samples.length;
  const [pictures, captions, fused] = [0, 1, 2].map((part) => vectors.slice(part * n, (part + 1) * n));
  const captionScores = similarity(captions, pictures);
  const { name, parameters, type, device } = model.info as unknown as DemoReport["model"];
  const report: DemoReport = {
    notice: demoNotice,
    attribution,
    model: { name, parameters, type, device },
    samples: n,
    dimensions: model.dimensions,
    embedded: vectors.length,
    seconds,
    table: tableOf(samples, captionScores),
    chance: { at1: 1 / n, at5: 5 / n },
    recall: [
      { from: "caption", to: "picture", ...recallOf(captionScores) },
      { from: "picture", to: "caption", ...recallOf(similarity(pictures, captions)) },
      { from: "caption", to: "picture with caption", ...recallOf(similarity(captions, fused)) },
    ],
    queries: similarity(vectors.slice(3 * n), pictures).map((scores, i) => answersTo(queries[i], scores, samples)),
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

function answersTo(
  query: { text?: string; picture?: string },
  scores: Float32Array,
  samples: readonly Sample[],
): QueryResult {
  const answers = samples
    .map(({ picture, caption }, i) => ({ picture, caption, score: scores[i] }))
    .filter(({ picture }) => picture !== query.picture)
    .sort((a, b) => b.score - a.score)
    .slice(0, answersShown);
  return { ...query, answers };
}
