import type { FastifyPluginAsync, FastifyReply } from "fastify";
import { attribution, version } from "../index";
import type { BatchingService } from "./service/batching-service";
import type { ServedModel } from "./service/embed-service";
import type { ServerMetrics } from "./service/metrics";
import type { ModelNames } from "./model-names";
import { serverName } from "./server-options";

export interface InfoSettings {
  readonly model: ServedModel;
  readonly names: ModelNames;
  readonly service: BatchingService;
  readonly metrics: ServerMetrics;
  readonly maxItems: number;
  /** The page that GET / shows is served by others. */
  readonly hasPage: boolean;
}

/** What the server says of itself: models, health, figures. */
export const infoRoutes: FastifyPluginAsync<InfoSettings> = async (app, settings) => {
  const { model, names, service, metrics } = settings;
  const { info } = model;
  const started = Math.floor(Date.now() / 1000);

  app.get("/health", { schema: { summary: "200 while the engine answers, 503 while it does not" } }, (_, reply) =>
    sendHealth(reply, service),
  );

  app.get("/v1/models", { schema: { summary: "The model, as OpenAI lists models" } }, async () => ({
    object: "list",
    data: names.all.map((id) => ({
      ...{ id, object: "model", created: started, owned_by: "Alibaba-NLP", attribution },
      ...{ dimensions: info.dimensions, max_tokens: info.limits.maxTokens, vision: info.vision },
    })),
  }));

  app.get(
    "/info",
    { schema: { summary: "The model and the limits, in the manner of text-embeddings-inference" } },
    async () => ({
      ...{ model_id: names.own, model_dtype: info.type, model_type: { embedding: { pooling: "last_token" } } },
      ...{ max_input_length: info.limits.maxTokens, max_client_batch_size: settings.maxItems },
      ...{ dimensions: info.dimensions, vision: info.vision, device: info.device, fingerprint: info.fingerprint },
      ...{ version, attribution },
    }),
  );

  app.get("/metrics", { schema: { summary: "Figures for Prometheus" } }, async (_, reply) => {
    reply.type(metrics.contentType);
    return metrics.text();
  });

  if (!settings.hasPage)
    app.get("/", { schema: { hide: true } }, async () => ({ name: serverName, attribution, model: names.own }));
};

function sendHealth(reply: FastifyReply, { health, state }: BatchingService): FastifyReply {
  if (health.healthy) return reply.code(200).send({ status: "ok" });
  return reply.code(503).send({ status: state === "ready" ? "silent" : state, reason: health.reason });
}
