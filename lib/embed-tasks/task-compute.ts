import { binding } from "../binding";
import type { EmbedResult } from "../embed-run";
import { GmeError, printable } from "../errors";
import type { GmeInput } from "../input";
import type { GmeModel } from "../model";
import type { EmbedOutcome, EmbedTask } from "./embed-task";
import type { CallTask } from "./task-call";
import type { PreparedPicture } from "./task-pictures";

interface DecodedTask {
  readonly input?: CallTask;
  readonly image?: PreparedPicture;
}

export interface ComputeEvents {
  /** The model has its inputs. */
  begin(): void;
  /** It has computed them. */
  end(): void;
  outcome(task: CallTask, outcome: EmbedOutcome): void;
}

const noPixels = new Uint8Array();
/** Beside the picture's own tokens: where it begins and where it ends. */
const pictureMarks = 2;

/** Documents in one run of the model, then queries. Rejects with GME_ABORTED and GME_MODEL_CLOSED only. */
export async function computeTasks(
  model: GmeModel,
  tasks: readonly DecodedTask[],
  events: ComputeEvents,
  signal: AbortSignal,
): Promise<void> {
  const isQuery = ({ input }: DecodedTask) => input?.task.query !== undefined;
  for (const wanted of [false, true]) {
    const group = tasks.filter((task) => isQuery(task) === wanted);
    if (group.length > 0) await computeGroup(model, group, wanted, events, signal);
  }
}

async function computeGroup(
  model: GmeModel,
  tasks: readonly DecodedTask[],
  isQuery: boolean,
  events: ComputeEvents,
  signal: AbortSignal,
): Promise<void> {
  const counts = Promise.all(tasks.map((task) => countTokens(model, task, isQuery).catch(() => 0))); // fails as the vector does
  const handOver = function* () {
    for (const task of tasks) {
      yield inputOf(task);
      if (task.image !== undefined) task.image.data = noPixels; // the model has its own copy
    }
    events.begin();
  };
  const results: EmbedResult[] = [];
  try {
    const options = { isQuery, signal, batchSize: tasks.length };
    for await (const result of model.embedMany(handOver(), options)) results.push(result);
  } finally {
    events.end();
  }
  const tokens = await counts;
  for (const { index, embedding, error } of results) {
    const { input, image } = tasks[index];
    const task = input as CallTask;
    if (error !== undefined) events.outcome(task, { error: namingFile(error, task.task) });
    else {
      const thumbnail = image?.thumbnail === undefined ? {} : { thumbnail: image.thumbnail };
      events.outcome(task, { embedding, tokens: tokens[index], ...image?.shown, ...thumbnail });
    }
  }
}

function inputOf({ input, image }: DecodedTask): Exclude<GmeInput, string> {
  return {
    ...textOf(input),
    ...(image !== undefined && { image: { data: image.data, width: image.width, height: image.height, channels: 3 } }),
  };
}

function textOf(input: CallTask | undefined): { text?: string; prompt?: string } {
  const { text, query } = (input as CallTask).task;
  return {
    ...(text !== undefined && { text }),
    ...(query?.instruction !== undefined && { prompt: query.instruction }),
  };
}

async function countTokens(model: GmeModel, { input, image }: DecodedTask, isQuery: boolean): Promise<number> {
  const { total } = await model.countTokens({ text: "", ...textOf(input) }, { isQuery });
  if (image === undefined) return total;
  const { loaderResize, minImageTokens, maxImageTokens } = model.info.defaults;
  const plan = binding().planImage(image.width, image.height, { loaderResize, minImageTokens, maxImageTokens });
  return total + plan.imageTokens + pictureMarks;
}

/** The path of the file that the task reads, in its lossless form. */
export function fileOf({ image, page }: EmbedTask): string | undefined {
  if (page !== undefined) return page.file.path;
  return image !== undefined && "path" in image ? image.path : undefined;
}

/** Where in its call the model found something. */
const place = /^inputs\[\d+\](?:\.(\w+))?/;

/** The model knows neither the file nor its place in the call. */
function namingFile(error: GmeError, task: EmbedTask): GmeError {
  const file = fileOf(task);
  const { code, value, expected, cause } = error;
  const page = task.page === undefined ? "" : ` page ${task.page.number}`;
  const words = error.message.replace(place, (_, part) => (part === undefined ? "the task" : `the ${part}`));
  const message = file === undefined ? words : `${printable(file)}${page}: ${words}`;
  const field = error.field?.replace(place, (_, part) => part ?? "task");
  return new GmeError(code, message, { file, field, value, expected, cause });
}
