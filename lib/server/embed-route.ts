import { randomUUID } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { GmeError, type ModelInfo } from "../index";
import { answerBody } from "./answer-body";
import type { EmbeddedItem, EmbedService, ReadyItem } from "./service/embed-service";
import { type ItemPictures, warningOf } from "./item-pictures";
import type { ModelNames } from "./model-names";
import { checkRequest, type RequestLimits } from "./request-limits";
import { requestSignal } from "./request-signal";
import type { Dialect, WireAnswer, WireRequest, WireRules } from "./wire/dialect";

export interface EmbedRouteSettings {
  readonly rules: WireRules;
  readonly names: ModelNames;
  readonly service: EmbedService;
  readonly requestTimeout: number;
  readonly limits: RequestLimits;
  readonly info: ModelInfo;
  readonly pictures: ItemPictures;
  /** Whose turn a request takes. */
  clientOf(request: FastifyRequest): string;
}

/** body → dialect → items → vectors → the dialect's answer. What fails is thrown: the routes' error handler answers. */
export async function embedRoute(
  request: FastifyRequest,
  reply: FastifyReply,
  dialect: Dialect,
  settings: EmbedRouteSettings,
): Promise<FastifyReply> {
  const { rules, names, service } = settings;
  const { request: asked, form } = dialect.read(request.body, rules);
  const model = names.check(asked.model);
  const dimensions = checkedDimensions(asked, rules);
  checkRequest(asked, settings.limits, settings.info);
  const { signal, settle } = requestSignal(request, reply, settings.requestTimeout);
  try {
    const ready = await settings.pictures.ready(asked.items, signal);
    const { items } = ready;
    const warning = warningOf(ready);
    if (warning !== undefined) reply.header("warning", warning);
    const call = { client: settings.clientOf(request), overflow: asked.overflow, signal, ...(dimensions !== undefined && { dimensions }) }; // biome-ignore format: one line says it
    const embedded = await service.embed(items, call);
    request.embedded = usageOf(embedded);
    reply.type("application/json; charset=utf-8");
    return reply.send(answerBody(dialect.write(answerOf(model, items, embedded), form)));
  } finally {
    settle();
  }
}

function answerOf(model: string, items: readonly ReadyItem[], embedded: readonly EmbeddedItem[]): WireAnswer {
  return {
    id: `embd-${randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model,
    embeddings: embedded.map(({ embedding }) => embedding),
    tokens: embedded.map(({ tokens }) => tokens),
    pixels: items.map(({ pixels }) => pixels),
  };
}

/** What a request cost, for the log and the metrics. */
export interface RequestUsage {
  readonly items: number;
  readonly tokens: number;
}

function usageOf(embedded: readonly EmbeddedItem[]): RequestUsage {
  return { items: embedded.length, tokens: embedded.reduce((sum, { tokens }) => sum + tokens.total, 0) };
}

/** Absent: the model's own. */
function checkedDimensions({ dimensions }: WireRequest, rules: WireRules): number | undefined {
  if (dimensions === undefined || dimensions === rules.dimensions) return undefined;
  if (Number.isSafeInteger(dimensions) && dimensions >= 1 && dimensions < rules.dimensions && rules.allowTruncation)
    return dimensions;
  const isShorter = dimensions < rules.dimensions && dimensions >= 1;
  const reason = isShorter
    ? "GME is not a Matryoshka model: cut vectors lose quality (gme serve --allow-truncation allows it)"
    : `the model's vectors have ${rules.dimensions} numbers`;
  throw new GmeError("GME_OPTION_INVALID", `dimensions ${dimensions}: ${reason}`, {
    field: "dimensions",
    value: dimensions,
    expected: `${rules.dimensions}`,
  });
}
