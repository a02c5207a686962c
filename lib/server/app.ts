import swagger from "@fastify/swagger";
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from "fastify";
import { attribution, version } from "../index";
import { BatchingService } from "./service/batching-service";
import { type EmbedRouteSettings, embedRoute, type RequestUsage } from "./embed-route";
import { answerErrors, type WriteError } from "./error-answers";
import { statusFor } from "./error-status";
import { addBodyReader, addConnectionRules, connectionLimits } from "./fastify-settings";
import { infoRoutes } from "./info-routes";
import { ItemPictures } from "./item-pictures";
import { openMediaRoot } from "./media-root";
import { ServerMetrics } from "./service/metrics";
import { ModelNames } from "./model-names";
import { clientOf, guardRequests } from "./request-guard";
import { requestLimits } from "./request-limits";
import { pageRoutes } from "./search/page-routes";
import { queryEmbedding } from "./search/query-embedding";
import { searchRoutes } from "./search/search-routes";
import { type ReadServerOptions, readServerOptions, type ServerOptions } from "./server-options";
import { dialects, openAiError } from "./wire";
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
export const gmeServer: FastifyPluginAsync<ServerOptions> = async (
  app,
  { prefix: _, ...given }: ServerOptions & { prefix?: string },
) => {
  await addRoutes(app, readServerOptions(given));
};

/** Everything below the app's prefix; the service, so that whoever owns the server can stop it. */
export async function addRoutes(app: FastifyInstance, options: ReadServerOptions): Promise<BatchingService> {
  const { model, index } = options;
  const names = new ModelNames(model.info, options.modelAliases, options.anyModel);
  const metrics = new ServerMetrics();
  const service = new BatchingService(model, {
    ...{ maxWaitSeconds: options.maxWait, metrics },
    onCrash: (entry) => app.log.error({ crash: entry }, "the engine's process ended"),
  });
  app.addHook("onClose", async () => service.stop(options.stopTimeout * 1000));
  addDoor(app, options, metrics);
  await app.register(swagger, { openapi: openapiHead() });
  app.get("/openapi.json", { schema: { hide: true } }, async () => app.swagger());
  const hasPage = index !== undefined;
  await app.register(infoRoutes, { ...{ model, names, service, metrics }, maxItems: options.maxItems, hasPage });
  const settings = await embedSettings(options, names, service);
  for (const dialect of dialects) {
    const schema = { body: dialect.bodySchema, response: { 200: dialect.answerSchema } };
    // The dialect's `read` checks the body: its errors name the field, a schema of unions cannot.
    const validatorCompiler = () => () => true;
    app.post(dialect.path, { schema, validatorCompiler, config: { dialect } }, (request, reply) =>
      embedRoute(request, reply, dialect, settings),
    );
  }
  if (index !== undefined) {
    index.checkModel(model.info);
    await app.register(pageRoutes, {});
    await app.register(searchRoutes, { index, clientOf, ...queryEmbedding(settings.pictures, service) });
  }
  return service;
}

/** What every request passes before its route, and every answer after it. */
function addDoor(app: FastifyInstance, options: ReadServerOptions, metrics: ServerMetrics): void {
  const limits = { ...connectionLimits, maxBodyBytes: options.bodyLimit };
  const openRoutes = ["/health", ...(options.index === undefined ? [] : ["/", "/assets/*"])].map(
    (path) => `${app.prefix}${path}`,
  );
  app.decorateRequest("embedded", undefined);
  app.decorateRequest("refusal", undefined);
  app.addHook("onResponse", async (request, reply) => noteAnswer(request, reply, metrics));
  answerErrors(app, writeError);
  addBodyReader(app, limits);
  addConnectionRules(app, limits);
  guardRequests(app, { apiKeys: options.apiKeys, allowHosts: options.allowHosts, allowOrigins: options.allowOrigins, openRoutes }); // biome-ignore format: one line says it
}

async function embedSettings(
  options: ReadServerOptions,
  names: ModelNames,
  service: BatchingService,
): Promise<EmbedRouteSettings> {
  const { model, remoteImages, mediaRoot, queryInstruction, maxItems, maxImages, requestTimeout } = options;
  const limits = { ...requestLimits, maxItems, maxImages };
  const pictures = new ItemPictures(
    {
      limits,
      ...(remoteImages !== false && { remoteImages }),
      ...(mediaRoot !== undefined && { mediaRoot: await openMediaRoot(mediaRoot) }),
      ...(queryInstruction !== undefined && { queryInstruction }),
    },
    model.info,
  );
  return {
    ...{ names, service, limits, pictures, clientOf, requestTimeout },
    info: model.info,
    rules: wireRules(options),
  };
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

/** In the dialect of the route that was asked. */
export const writeError: WriteError = (request, error) => {
  const status = statusFor(error);
  if (request !== undefined) request.refusal = error.code;
  const dialect = request?.routeOptions?.config?.dialect;
  return dialect === undefined ? openAiError(error, status) : dialect.writeError(error, status);
};

/** One line per request: the route's pattern, never its address, body or key. */
function noteAnswer(request: FastifyRequest, reply: FastifyReply, metrics: ServerMetrics): void {
  const route = request.routeOptions?.url ?? "none";
  const { statusCode: status, elapsedTime } = reply;
  const { embedded, refusal, method } = request;
  const code = refusal === undefined ? {} : { code: refusal };
  metrics.answered({ route, status, seconds: elapsedTime / 1000, ...code });
  request.log.info({ method, route, status, ms: Math.round(elapsedTime * 10) / 10, ...embedded, ...code }, "answered");
}
