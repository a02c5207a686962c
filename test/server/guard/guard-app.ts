// A bare app with everything between the network and the engine, and one route that uses it.
import type { FastifyInstance } from "fastify";
import fastify from "fastify";
import { type ModelInfo, printable } from "../../../lib/index";
import { answerErrors, type WriteError } from "../../../lib/server/error-answers";
import { statusFor } from "../../../lib/server/error-status";
import {
  addBodyReader,
  addConnectionRules,
  type ConnectionLimits,
  connectionLimits,
  fastifySettings,
  logSerializers,
} from "../../../lib/server/fastify-settings";
import { ItemPictures, type PictureSettings, warningOf } from "../../../lib/server/item-pictures";
import { type GuardSettings, guardRequests } from "../../../lib/server/request-guard";
import { onceOver } from "../../../lib/server/request-end";
import { checkRequest, requestLimits } from "../../../lib/server/request-limits";
import type { WireImage, WireItem } from "../../../lib/server/wire/dialect";

export interface AppSettings {
  readonly limits?: Partial<ConnectionLimits>;
  readonly guard?: Partial<GuardSettings>;
  readonly pictures?: Partial<PictureSettings>;
  readonly log?: (line: string) => void;
  /** Further routes. */
  readonly routes?: (app: FastifyInstance) => void;
}

/** What the parts look at of a model. */
export const info = {
  vision: true,
  dimensions: 64,
  limits: {
    maxTokens: 8192,
    maxImagePixels: 64e6,
    maxImageSide: 32_768,
    maxImageBytes: 64 * 2 ** 20,
    maxTextLength: 1_048_576,
  },
  defaults: { instruction: "You are a helpful assistant.", minImageTokens: 256, maxImageTokens: 1280 },
} as unknown as ModelInfo;

/** The OpenAI shape. */
export const writeError: WriteError = (_request, error) => ({
  status: statusFor(error),
  body: {
    error: { message: error.message, type: "invalid_request_error", param: error.field ?? null, code: error.code },
  },
});

const item = {
  type: "object",
  additionalProperties: false,
  properties: {
    text: { type: "string" },
    image: { type: "string" },
    instruction: { type: "string" },
    input_type: { enum: ["query", "document"] },
  },
};

const schema = {
  body: {
    type: "object",
    additionalProperties: false,
    required: ["input"],
    properties: {
      input: { type: "array", items: item },
      model: { type: "string" },
      dimensions: { type: "integer", minimum: 1 },
    },
  },
};

interface Body {
  input: { text?: string; image?: string; instruction?: string; input_type?: "query" | "document" }[];
}

function wireImage(image: string): WireImage {
  const label = /^data:[^,]*;base64,/i.exec(image)?.[0];
  if (label !== undefined) return { kind: "base64", base64: image.slice(label.length) };
  return { kind: "address", address: image };
}

export function makeApp({ limits: given, guard, pictures, log, routes }: AppSettings = {}): FastifyInstance {
  const limits = { ...connectionLimits, ...given };
  const app = fastify({
    ...fastifySettings(limits, writeError),
    ...(log && { logger: { level: "info", serializers: logSerializers, stream: { write: log } } }),
  }) as unknown as FastifyInstance;
  answerErrors(app, writeError);
  addConnectionRules(app, limits);
  guardRequests(app, { apiKeys: [], allowHosts: [], allowOrigins: [], openRoutes: ["/health"], ...guard });
  addBodyReader(app, limits);
  const all = new ItemPictures({ limits: requestLimits, ...pictures }, info);
  app.get("/health", async () => ({ status: "ok" }));
  app.get("/v1/models", async () => ({ data: [] }));
  app.get("/thumbnails/:key", async () => ({}));
  app.post<{ Body: Body }>("/v1/embeddings", { schema }, async (request, reply) => {
    const items = request.body.input.map(
      ({ text, image, instruction, input_type }, i): WireItem => ({
        field: `input[${i}]`,
        text,
        ...(image !== undefined && { image: wireImage(image) }),
        instruction,
        inputType: input_type,
      }),
    );
    checkRequest({ items, overflow: "error" }, requestLimits, info);
    const gone = new AbortController();
    onceOver(request, reply, () => gone.abort(new Error("gone")));
    const ready = await all.ready(items, gone.signal);
    const warning = warningOf(ready);
    if (warning !== undefined) reply.header("warning", warning);
    return {
      items: ready.items.map(({ pixels, prompt, text, image }) => ({
        pixels,
        prompt,
        text: text && printable(text),
        bytes: image?.length,
      })),
    };
  });
  routes?.(app);
  return app;
}

export interface RunningApp {
  readonly app: FastifyInstance;
  readonly port: number;
  readonly url: string;
  post(body: unknown, headers?: Record<string, string>): Promise<{ status: number; body: Answer; headers: Headers }>;
}

export interface Answer {
  readonly items?: { pixels: number; prompt?: string; bytes?: number }[];
  readonly error?: { message: string; code: string; param: string | null };
}

/** Listening on 127.0.0.1 until the test ends. */
export async function startApp(
  t: { teardown(end: () => unknown): void },
  settings: AppSettings = {},
): Promise<RunningApp> {
  const app = makeApp(settings);
  await app.listen({ port: 0, host: "127.0.0.1" });
  t.teardown(() => {
    app.server.closeAllConnections();
    return app.close();
  });
  const { port } = app.server.address() as { port: number };
  const url = `http://127.0.0.1:${port}`;
  return {
    app,
    port,
    url,
    post: async (body, headers = {}) => {
      const response = await fetch(`${url}/v1/embeddings`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body),
      });
      return { status: response.status, headers: response.headers, body: (await response.json()) as Answer };
    },
  };
}
