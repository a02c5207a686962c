import { type GmeModel, type ImageSource, type Positions, similarity } from "../index";
import { type CardScores, cardExample } from "./card-example";

/** Our table beside one published one. */
export interface Comparison {
  published: readonly (readonly number[])[];
  /** Ours minus published. */
  differences: number[][];
  largest: number;
  pass: boolean;
}

export type SetName = keyof typeof cardExample.published;

export interface TableReport {
  scores: number[][];
  against: Record<SetName, Comparison>;
}

export interface ModeReport {
  positions: Positions;
  /** This mode holds for the model and decides the verdict; the other is for comparison. */
  decides: boolean;
  tables: Record<keyof CardScores, TableReport>;
  /** The published sets of which every cell is met. */
  meets: SetName[];
  pass: boolean;
}

export type Verdict = "pass" | "fail" | "not a GME model" | "no published scores";

export const setNames = Object.keys(cardExample.published) as SetName[];
export const tableNames = ["plain", "instructed", "fused"] as const satisfies readonly (keyof CardScores)[];

/** The card's calls on a model. Pictures stand as documents throughout: they have the default instruction either way. */
export async function cardScores(
  model: GmeModel,
  images: readonly ImageSource[],
  signal: AbortSignal,
  onProgress: (done: number) => void,
): Promise<CardScores> {
  const { texts, instruction } = cardExample;
  const plain = await model.getTextEmbeddings({ texts, signal });
  onProgress(2);
  const query = await model.getTextEmbeddings({ texts, instruction, signal });
  onProgress(4);
  const pictures = await model.getImageEmbeddings({ images, isQuery: false, signal });
  onProgress(6);
  const fused = await model.getFusedEmbeddings({ texts, images, signal });
  onProgress(8);
  const rows = (matrix: readonly Float32Array[]) => matrix.map((row) => Array.from(row));
  return {
    plain: rows(similarity(plain, pictures)),
    instructed: rows(similarity(query, pictures)),
    fused: rows(similarity([fused[0]], [fused[1]])),
  };
}

/** Every table against both published sets. A mode passes when one set is met in every cell of every table. */
export function judgeMode(scores: CardScores, positions: Positions, decides: boolean): ModeReport {
  const tables = Object.fromEntries(
    tableNames.map((name) => [name, judgeTable(name, scores[name])]),
  ) as ModeReport["tables"];
  const meets = setNames.filter((set) => tableNames.every((name) => tables[name].against[set].pass));
  return { positions, decides, tables, meets, pass: meets.length > 0 };
}

function judgeTable(name: keyof CardScores, scores: number[][]): TableReport {
  const against = Object.fromEntries(
    setNames.map((set) => [set, compare(scores, cardExample.published[set][name])]),
  ) as TableReport["against"];
  return { scores, against };
}

function compare(scores: number[][], published: Comparison["published"]): Comparison {
  const differences = scores.map((row, i) => row.map((score, j) => score - published[i][j]));
  const largest = Math.max(...differences.flat().map(Math.abs));
  return { published, differences, largest, pass: largest <= cardExample.tolerance };
}

/** The deciding mode's result, where the model is one that the published scores are of. */
export function verdictOf(dimensions: number, modes: readonly ModeReport[]): Verdict {
  if (!(cardExample.gmeDimensions as readonly number[]).includes(dimensions)) return "not a GME model";
  if (dimensions !== cardExample.dimensions) return "no published scores";
  return modes.some(({ decides, pass }) => decides && pass) ? "pass" : "fail";
}
