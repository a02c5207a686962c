import { randomUUID } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { GmeError } from "../index";
import { answerBody } from "./answer-body";
import type { EmbeddedItem, EmbedService, ReadyItem } from "./embed-service";
import type { ModelNames } from "./model-names";
import { requestSignal } from "./request-signal";
import type { Dialect, WireAnswer, WireItem, WireRequest, WireRules } from "./wire/dialect";

export interface EmbedRouteSettings {
  readonly rules: WireRules;
  readonly names: ModelNames;
  readonly service: EmbedService;
  readonly requestTimeout: number;
  /** Whose turn a request takes. */
  clientOf(request: FastifyRequest): string;
  /** Pictures fetched or decoded from base64 and looked at, instructions in force. */
  prepare(items: readonly WireItem[], signal: AbortSignal): Promise<{ items: ReadyItem[]; ignoredInstructions: number }>;
}

/** RFC 9110's successor of `Warning: 299`, as http.md has it: a document's own instruction has no effect. */
const ignoredWarning = '299 - "an instruction of a document is ignored: documents have the default one"';

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
  const { signal, settle } = requestSignal(reply, settings.requestTimeout);
  try {
    const { items, ignoredInstructions } = await settings.prepare(asked.items, signal);
    if (ignoredInstructions > 0) reply.header("warning", ignoredWarning);
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
