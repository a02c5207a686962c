import swagger from "@fastify/swagger";
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from "fastify";
import { attribution, type GmeError, version } from "../index";
import { BatchingService } from "./batching-service";
import { type EmbedRouteSettings, embedRoute, type RequestUsage } from "./embed-route";
import type { EmbedService } from "./embed-service";
import { statusFor } from "./error-status";
import { infoRoutes } from "./info-routes";
import { ServerMetrics } from "./metrics";
import { ModelNames } from "./model-names";
import { requestError } from "./request-errors";
import { type ReadServerOptions, readServerOptions, type ServerOptions } from "./server-options";
import { dialects, openaiDialect } from "./wire";
import type { Dialect, WireRules } from "./wire/dialect";

declare module "fastify" {
  interface FastifyRequest {
    /** What an embedding request cost, once it is answered. */
    embedded: RequestUsage | undefined;
    /** Code of the error it was answered with. */
    refusal: string | undefined;
  }
  interface FastifyContextConfig {
    dialect?: Dialect;
  }
}

/** The routes as a fastify plugin, for an application's own server. Rejects with GME_OPTION_INVALID. */
export const gmeServer: FastifyPluginAsync<ServerOptions> = async (app, given) => {
  const options = readServerOptions(given);
  await addRoutes(app, options);
};

/** Everything below the app's prefix; the service, so that whoever owns the server can stop it. */
export async function addRoutes(app: FastifyInstance, options: ReadServerOptions): Promise<EmbedService> {
  const { model, index } = options;
  const names = new ModelNames(model.info, options.modelAliases, options.anyModel);
  const metrics = new ServerMetrics();
  const service = new BatchingService(model, { queueTokens: options.queueTokens, metrics, log: app.log });
  app.decorateRequest("embedded", undefined);
  app.decorateRequest("refusal", undefined);
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply));
  app.addHook("onResponse", async (request, reply) => noteAnswer(request, reply, metrics));
  app.addHook("onClose", async () => service.stop(options.stopTimeout * 1000));
  await app.register(swagger, { openapi: openapiHead() });
  app.get("/openapi.json", { schema: { hide: true } }, async () => app.swagger());
  await app.register(infoRoutes, { ...{ model, names, service, metrics }, maxItems: options.maxItems, hasPage: index !== undefined }); // biome-ignore format: one line says it
  const settings: EmbedRouteSettings = {
    rules: wireRules(options),
    ...{ names, service, requestTimeout: options.requestTimeout },
    clientOf: (request) => request.ip,
    prepare: async () => ({ items: [], ignoredInstructions: 0 }),
  };
  for (const dialect of dialects) {
    const schema = { body: dialect.bodySchema, response: { 200: dialect.answerSchema } };
    app.post(dialect.path, { schema, config: { dialect } }, (request, reply) =>
      embedRoute(request, reply, dialect, settings),
    );
  }
  return service;
}

function wireRules({ model, maxItems, maxImages, allowTruncation }: ReadServerOptions): WireRules {
  const { minImageTokens, maxImageTokens } = model.info.defaults;
  return { maxItems, maxImages, allowTruncation, dimensions: model.dimensions, minImageTokens, maxImageTokens };
}

function openapiHead() {
  return {
    openapi: "3.0.3",
    info: { title: "gme-embed", version, description: `Vectors of texts, pictures and both. ${attribution}.` },
    components: { securitySchemes: { key: { type: "http" as const, scheme: "bearer" } } },
  };
}

/** In the dialect of the route that was asked; the log has what the client is not told. */
export function sendError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const error = requestError(thrown);
  const { status, body } = errorAnswer(error, request);
  request.refusal = error.code;
  if (status >= 500 && error.code === "GME_INTERNAL") request.log.error({ err: error.cause ?? error }, "internal error");
  const { retryAfterSeconds } = error as GmeError & { retryAfterSeconds?: number };
  if (status === 429 || status === 503) reply.header("retry-after", Math.max(1, Math.ceil(retryAfterSeconds ?? 1)));
  return reply.code(status).type("application/json; charset=utf-8").send(JSON.stringify(body));
}

function errorAnswer(error: GmeError, request: FastifyRequest) {
  const dialect = request.routeOptions?.config?.dialect ?? openaiDialect;
  return dialect.writeError(error, statusFor(error));
}

/** One line per request: the route's pattern, never its address, body or key. */
function noteAnswer(request: FastifyRequest, reply: FastifyReply, metrics: ServerMetrics): void {
  const route = request.routeOptions?.url ?? "none";
  const { statusCode: status, elapsedTime } = reply;
  const { embedded, refusal, method } = request;
  metrics.answered({ route, status, seconds: elapsedTime / 1000, ...(refusal !== undefined && { code: refusal }) });
  request.log.info({ method, route, status, ms: Math.round(elapsedTime * 10) / 10, ...embedded, ...(refusal !== undefined && { code: refusal }) }, "answered"); // biome-ignore format: one line says it
}
