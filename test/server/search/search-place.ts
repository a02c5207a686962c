import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Fastify, { type FastifyInstance } from "fastify";
import sharp from "sharp";
import type { Test } from "tap";
import { bundledModelPath, GmeError, type GmeModel, load } from "../../../lib/index";
import { type GmeIndex, openIndex } from "../../../lib/index-store/index";
import { statusFor } from "../../../lib/server/error-status";
import { pageRoutes, type PageRoutesOptions } from "../../../lib/server/search/page-routes";
import { type SearchRoutesOptions, searchRoutes } from "../../../lib/server/search/search-routes";
import { root, temporaryFolder } from "../../helpers/fixtures";
import { pdfWithPages } from "../../helpers/pdf-writer";

export const samples = join(root, "models", "emoji-tiny", "samples");
export const sample = (name: string) => join(samples, `${name}.png`);
export const pageNames = ["castle", "rocket", "bicycle"];

export const notes = `The snowman melts in the sun, so it is kept in the shade.

Bananas are yellow when they are ripe. A locomotive pulls the train.
`;

/** The demonstration pictures, one with a caption, two short texts and a PDF of three pages. */
export async function writeCollection(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(samples).filter((name) => name.endsWith(".png")))
    copyFileSync(join(samples, name), join(folder, name));
  writeFileSync(join(folder, "umbrella.txt"), "an umbrella in the rain\n");
  writeFileSync(join(folder, "notes.md"), notes);
  const long = Array.from({ length: 60 }, (_, i) => `Sentence ${i} tells of the owl that sat in the palm tree.`);
  writeFileSync(join(folder, "story.txt"), long.join("\n"));
  const pages = pageNames.map(async (name) => {
    const jpeg = await sharp(sample(name)).flatten({ background: "#fff" }).resize(448, 448).jpeg().toBuffer();
    return { image: { jpeg, width: 448, height: 448 }, width: 400, height: 400 };
  });
  writeFileSync(join(folder, "report.pdf"), pdfWithPages(await Promise.all(pages)));
}

export interface Place {
  readonly folder: string;
  readonly db: string;
  readonly model: GmeModel;
}

/** A collection and its index, made with the demonstration model. */
export async function indexedPlace(t: Test, folder = join(temporaryFolder(), "pictures")): Promise<Place> {
  await writeCollection(folder);
  const db = join(temporaryFolder(), "index");
  const model = await load(bundledModelPath);
  t.teardown(() => model.close());
  const index = await openIndex(db, { model });
  await index.addFiles([folder]);
  await index.close();
  return { folder, db, model };
}

export interface ServerSettings extends PageRoutesOptions, Partial<SearchRoutesOptions> {
  /** What requests must carry, but for the page's own files. */
  readonly apiKey?: string;
}

/** The routes on a bare server; the embedding runs in this process. */
export async function startServer(
  t: Test,
  { db, model }: Place,
  { apiKey, folder, ...others }: ServerSettings = {},
): Promise<{ app: FastifyInstance; index: GmeIndex }> {
  const index = await openIndex(db, { readOnly: true });
  index.checkModel(model.info);
  const app = Fastify({ bodyLimit: 32 << 20 });
  app.setErrorHandler((error, _request, reply) => {
    const found = error instanceof GmeError ? error : undefined;
    const { message, field, code } = found ?? { message: String(error), field: undefined, code: "GME_INTERNAL" };
    const status = found === undefined ? ((error as { statusCode?: number }).statusCode ?? 500) : statusFor(found);
    void reply.code(status).send({ error: { message, param: field ?? null, code } });
  });
  app.addHook("onRequest", async (request) => {
    if (apiKey === undefined || (request.routeOptions.config as { public?: boolean }).public) return;
    if (request.headers.authorization !== `Bearer ${apiKey}`)
      throw new GmeError("GME_KEY_REFUSED", "the server wants a key");
  });
  await app.register(pageRoutes, { folder });
  await app.register(searchRoutes, {
    index,
    embedQuery: ({ instruction, ...item }, { signal }) =>
      model.embed(item, { signal, ...(instruction !== undefined && { instruction }) }),
    readImage: async (image) => Uint8Array.from(Buffer.from(image.replace(/^data:[^,]*,/, ""), "base64")),
    ...others,
  });
  t.teardown(async () => {
    await app.close();
    await index.close();
  });
  return { app, index };
}

export const base64 = (file: string) => readFileSync(file).toString("base64");
