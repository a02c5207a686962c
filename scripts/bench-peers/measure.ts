// Rounds of the same work on every lane in turn; load-to-first-vector and memory in fresh processes.
import { markCpu, othersBetween } from "./cpu-share";
import { type Answer, cosine, type Item, type Lane } from "./lane";
import { LlamaServer } from "./llama-server";
import { type PeakMemory, watchMemory } from "./memory";
import { fileBytes, type ModelFiles, modelFiles, serverOptions, type Settings, Sides, startGme } from "./sides";
import { type Spread, spreadOf } from "./spread";
import { memoryCalls, type Work } from "./works";

export interface LaneResult {
  readonly lane: string;
  readonly ms: Spread;
  /** CPUs that other programs kept busy meanwhile, of the rounds. */
  readonly others?: Spread;
  /** Its time divided by ours of the same round; absent for ours. */
  readonly ratio?: Spread;
  /** Of the last round's first vector to ours; absent where the prompts differ (cache off). */
  readonly cosine?: number;
}

export interface WorkResult {
  readonly work: string;
  readonly title: string;
  readonly type: string;
  readonly rounds: number;
  readonly lanes: readonly LaneResult[];
}

export interface MemoryResult {
  readonly lane: string;
  readonly type: string;
  readonly files: number;
  readonly memory: PeakMemory;
}

interface Timed {
  readonly ms: number;
  readonly others: number;
  readonly answer: Answer;
}

const slowMs = 20_000;

async function runCalls(lane: Lane, calls: readonly Item[][]): Promise<Timed> {
  const mark = markCpu(lane.pid);
  const start = performance.now();
  let answer: Answer | undefined;
  let done = 0;
  for (const items of calls) {
    if (performance.now() - start > slowMs) break; // enough of a very slow side: the time is per call
    answer = await lane.embed(items);
    done++;
    if (answer.vectors !== items.length) throw new Error(`${lane.name}: ${answer.vectors} vectors of ${items.length}`);
  }
  const ms = (performance.now() - start) / done;
  return { ms, others: othersBetween(mark, markCpu(lane.pid)), answer: answer as Answer };
}

/** Every side must work on the same number of tokens. */
async function checkTokens(lanes: readonly Lane[], calls: readonly Item[][]): Promise<void> {
  const texts = calls.flat().flatMap((item) => ("text" in item ? [item.text] : []));
  if (texts.length === 0) return;
  const ours = await lanes[0].countTokens?.(texts);
  for (const lane of lanes.slice(1)) {
    const theirs = await lane.countTokens?.(texts);
    if (theirs === undefined || ours === undefined) continue;
    const wrong = theirs.findIndex((count, i) => count !== ours[i]);
    if (wrong >= 0) throw new Error(`${lane.name}: ${theirs[wrong]} tokens, ours ${ours[wrong]}: ${texts[wrong]}`);
  }
}

function textLength(items: readonly Item[]): number {
  return items.reduce((sum, item) => sum + ("text" in item ? item.text.length : 0), 0);
}

/** Warms the sides up; leaves out those that would take too long for one call, going by a short text's time. */
async function readyLanes(work: Work, all: readonly Lane[], sides: Sides, patienceMs: number): Promise<Lane[]> {
  const lanes: Lane[] = [];
  for (const lane of all) {
    const calls = await work.calls(sides.inputs);
    await runCalls(lane, [await firstCall(sides)]);
    const short = await firstCall(sides);
    const { ms } = await runCalls(lane, [short]);
    if ((ms * Math.max(...calls.map(textLength))) / textLength(short) > patienceMs) {
      console.log(`left out ${lane.name}: ${(ms / 1000).toFixed(1)} s for one short text`);
      continue;
    }
    if (work.isWarmedUp) await runCalls(lane, calls);
    lanes.push(lane);
  }
  return lanes;
}

/** The first lane is ours. */
export async function measureWork(
  work: Work,
  type: string,
  all: readonly Lane[],
  sides: Sides,
  { rounds, patienceMs }: Settings,
): Promise<WorkResult> {
  await checkTokens(all, await work.calls(sides.inputs));
  const lanes = await readyLanes(work, all, sides, patienceMs);
  const times: number[][] = lanes.map(() => []);
  const others: number[][] = lanes.map(() => []);
  let answers: Answer[] = [];
  for (let round = 0; round < rounds; round++) {
    const calls = await work.calls(sides.inputs);
    const answered: Answer[] = new Array(lanes.length);
    for (let turn = 0; turn < lanes.length; turn++) {
      const at = (turn + round) % lanes.length;
      const timed = await runCalls(lanes[at], calls);
      times[at].push(timed.ms);
      others[at].push(timed.others);
      answered[at] = timed.answer;
    }
    answers = answered;
  }
  const results = lanes.map((lane, i) => ({
    lane: lane.name,
    ms: spreadOf(times[i]),
    others: spreadOf(others[i]),
    ...(i > 0 && {
      ratio: spreadOf(times[i].map((ms, round) => ms / times[0][round])),
      ...(lane.isSamePrompt && { cosine: cosine(answers[i].first, answers[0].first) }),
    }),
  }));
  return { work: work.name, title: work.title, type, rounds, lanes: results };
}

async function firstCall(sides: Sides): Promise<Item[]> {
  return [{ text: (await sides.inputs.captions(1))[0] }];
}

interface Starter {
  readonly name: string;
  start(): Promise<Lane>;
}

function starters(settings: Settings, files: ModelFiles, kinds: readonly (readonly string[])[]): Starter[] {
  return [
    { name: "gme", start: () => startGme(settings, files) },
    ...kinds.map((more) => {
      const name = ["llama-server", ...more].join(" ");
      const start = async () => (await LlamaServer.start(serverOptions(settings, files, 1, more))).lane(true, name);
      return { name, start };
    }),
  ];
}

/** From the start of the process to the first short text's vector; the files lie in the system's cache. */
export async function measureLoad(settings: Settings, type: string): Promise<WorkResult> {
  const files = modelFiles(settings, type);
  const sides = await Sides.start(settings, type);
  const texts = await sides.inputs.captions(settings.rounds + 1).finally(() => sides.close());
  const contenders = starters(settings, files, [[], ["--no-warmup"]]);
  const times: number[][] = contenders.map(() => []);
  for (let round = 0; round <= settings.rounds; round++) {
    for (const [at, { start }] of contenders.entries()) {
      const begin = performance.now();
      const lane = await start();
      await lane.embed([{ text: texts[round] }]);
      const ms = performance.now() - begin;
      await lane.close();
      if (round > 0) times[at].push(ms); // the first one fills the file cache
    }
  }
  const lanes = contenders.map(({ name }, i) => ({
    lane: name,
    ms: spreadOf(times[i]),
    ...(i > 0 && { ratio: spreadOf(times[i].map((ms, round) => ms / times[0][round])) }),
  }));
  const title = "load to the first vector";
  return { work: "load", title, type, rounds: settings.rounds, lanes };
}

export async function measureMemory(settings: Settings, type: string): Promise<MemoryResult[]> {
  const files = modelFiles(settings, type);
  const sides = await Sides.start(settings, type);
  const calls = await memoryCalls(sides.inputs).finally(() => sides.close());
  const results: MemoryResult[] = [];
  for (const { name, start } of starters(settings, files, [[]])) {
    const lane = await start();
    const memory = await watchMemory(lane.pid, async () => {
      for (const items of calls) await lane.embed(items);
    });
    await lane.close();
    const bytes = name === "gme" ? fileBytes(files.own) : fileBytes(files.decoder, files.mmproj);
    results.push({ lane: name, type, files: bytes, memory });
  }
  return results;
}
