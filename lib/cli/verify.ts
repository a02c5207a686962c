import { Command } from "commander";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fetchImage, GmeError, type GmeModel, type ImageSource, type ModelInfo, type Positions } from "../index";
import { type CardScores, cardExample, tableTitles } from "./card-example";
import { addModelFlags, type Flags, openModel } from "./model-flags";
import { exitCodes, print, printJson, UsageError } from "./output";
import { startProgress } from "./progress";
import { stopSignal } from "./signals";
import { cardScores, judgeMode, type ModeReport, setNames, tableNames, type Verdict, verdictOf } from "./verify-scores";

interface Picture {
  source: string;
  image: ImageSource;
}

interface VerifyReport {
  model: Pick<ModelInfo, "name" | "file" | "type" | "dimensions" | "fingerprint">;
  pictures: { source: string; bytes: number; sha256: string }[];
  tolerance: number;
  modes: ModeReport[];
  verdict: Verdict;
  pass: boolean;
}

export function verifyCommand(): Command {
  const command = new Command("verify")
    .description("the model card's example: our scores beside the published ones, for both position modes")
    .option("--images <F...>", "the example's two pictures, the truck first; else fetched, with --remote-images")
    .option("--json", "machine-readable");
  return addModelFlags(command).action(runVerify);
}

async function runVerify(flags: Flags): Promise<void> {
  const sources = readSources(flags);
  const first = await openModel(flags, stopSignal());
  try {
    const pictures = await loadPictures(sources, flags);
    const { info, modes } = await scoreBothModes(first, flags, pictures);
    const { name, file, type, dimensions, fingerprint } = info;
    const verdict = verdictOf(dimensions, modes);
    const report: VerifyReport = {
      model: { name, file, type, dimensions, fingerprint },
      pictures: await Promise.all(pictures.map(describePicture)),
      tolerance: cardExample.tolerance,
      modes,
      verdict,
      pass: verdict === "pass",
    };
    await (flags.json ? printJson(report) : print(page(report)));
    if (!report.pass) process.exitCode = exitCodes.failed;
  } finally {
    await first.close();
  }
}

/** The pictures' paths or addresses; without `--images` the card's own, which must be fetched. */
function readSources(flags: Flags): readonly string[] {
  const given = flags.images as string[] | undefined;
  if (given === undefined && flags.remoteImages === undefined) {
    throw new UsageError(
      "give the example's two pictures with --images A B, or --remote-images to fetch them from upload.wikimedia.org",
    );
  }
  if (given !== undefined && given.length !== 2)
    throw new UsageError(`--images takes two pictures, ${given.length} given`);
  return given ?? cardExample.pictures;
}

/** What is at an address is fetched once, for all that is done with it. Without `--images` only from the card's host. */
async function loadPictures(sources: readonly string[], flags: Flags): Promise<Picture[]> {
  const allowed = flags.remoteImages as true | string[] | undefined;
  const own = flags.images === undefined ? cardExample.pictureHosts : undefined;
  const hosts = Array.isArray(allowed) ? allowed : own;
  const pictures: Picture[] = [];
  for (const source of sources) {
    const isRemote = allowed !== undefined && /^https?:/i.test(source);
    pictures.push({ source, image: isRemote ? await fetchImage(source, { hosts, signal: stopSignal() }) : source });
  }
  return pictures;
}

/** The mode in force, by `--positions` or by the file, decides; the other needs a second load. */
async function scoreBothModes(
  first: GmeModel,
  flags: Flags,
  pictures: readonly Picture[],
): Promise<{ info: ModelInfo; modes: ModeReport[] }> {
  const { info } = first;
  const images = pictures.map(({ image }) => image);
  const inForce = info.defaults.positions;
  const other: Positions = inForce === "mrope" ? "sequential" : "mrope";
  const deciding = judgeMode(await scoresWithProgress(first, images), inForce, true);
  await first.close(); // two models of this size may not fit
  const mmproj = info.visionFile === null || info.visionFile === info.file ? flags.mmproj : info.visionFile;
  const second = await openModel({ ...flags, model: info.file, mmproj, positions: other }, stopSignal());
  try {
    const compared = judgeMode(await scoresWithProgress(second, images), other, false);
    return { info, modes: [deciding, compared] };
  } finally {
    await second.close();
  }
}

async function scoresWithProgress(model: GmeModel, images: readonly ImageSource[]): Promise<CardScores> {
  const progress = await startProgress("embedding", cardExample.texts.length * 4, "items");
  try {
    return await cardScores(model, images, stopSignal(), (done) => progress.update(done));
  } finally {
    progress.stop();
  }
}

async function describePicture({ source, image }: Picture): Promise<VerifyReport["pictures"][number]> {
  const bytes = image instanceof Uint8Array ? image : await readPicture(source);
  return { source, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
}

async function readPicture(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw GmeError.from(error, "GME_IO_ERROR");
  }
}

function page(report: VerifyReport): string {
  const { model, pictures } = report;
  const lines = [
    `model      ${model.name}, ${model.type}, ${model.dimensions} dimensions (${model.file})`,
    ...pictures.map(({ source, bytes, sha256 }, i) => `picture ${i + 1}  ${source}, ${bytes} bytes, sha256 ${sha256}`),
    "",
    ...report.modes.flatMap((mode) => [...modeLines(mode, report.verdict), ""]),
    `verdict: ${report.verdict}. ${reasonOf(report)}`,
  ];
  return `${lines.join("\n")}\n`;
}

const columnWidth = 25;

function modeLines(mode: ModeReport, verdict: Verdict): string[] {
  const applies = verdict === "pass" || verdict === "fail";
  const result = applies ? `: ${mode.pass ? "pass" : "fail"}` : "";
  const role = mode.decides ? "in force for this model, decides" : "for comparison";
  const head = [" ".repeat(38), "ours".padEnd(10), ...setNames.map((set) => set.padEnd(columnWidth))].join("");
  return [
    `positions ${mode.positions} (${role})${result}`,
    head,
    ...tableNames.flatMap((name) => tableLines(mode, name)),
  ].map((line) => line.trimEnd());
}

function tableLines(mode: ModeReport, name: keyof CardScores): string[] {
  const { scores, against } = mode.tables[name];
  const cells = scores.flatMap((row, i) =>
    row.map((score, j) => {
      const title = name === "fused" ? tableTitles.fused : `${tableTitles[name]} ${i + 1},${j + 1}`;
      const columns = setNames.map((set) => {
        const { published, differences } = against[set];
        return `${published[i][j].toFixed(4)}  ${signed(differences[i][j])}`.padEnd(columnWidth);
      });
      return `  ${title.padEnd(36)}${score.toFixed(4).padEnd(10)}${columns.join("")}`;
    }),
  );
  const results = setNames.map((set) => (against[set].pass ? "pass" : "fail").padEnd(columnWidth));
  return [...cells, `${" ".repeat(48)}${results.join("")}`];
}

function signed(difference: number): string {
  return `${difference < 0 ? "-" : "+"}${Math.abs(difference).toFixed(4)}`;
}

function reasonOf({ verdict, model, modes, tolerance }: VerifyReport): string {
  switch (verdict) {
    case "pass":
      return `Every cell is within ${tolerance} of the published scores of ${modes[0].meets.join(" and of ")}.`;
    case "fail":
      return `With positions ${modes[0].positions} neither published set is met within ${tolerance} in every cell.`;
    case "no published scores":
      return `The published scores are of the model of ${cardExample.dimensions} dimensions; this one has ${model.dimensions}.`;
    case "not a GME model":
      return `GME has vectors of ${cardExample.gmeDimensions.join(" or ")} numbers, this model of ${model.dimensions}: the scores say nothing about GME.`;
  }
}
