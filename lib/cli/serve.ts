import { Command, InvalidArgumentError, Option } from "commander";
import { attribution, type GmeModel, loadOptions } from "../index";
import type { GmeIndex } from "../index-store/index";
import type { ListenOptions, ServerOptions } from "../server/index";
import { addOptionFlags, type Flags, openModel } from "./model-flags";
import { note, UsageError } from "./output";
import { endBySignal, stopSignal } from "./signals";

interface ServeFlags extends Flags {
  db?: string;
  host?: string;
  port?: number;
  socket?: string;
  apiKey?: string[];
  allowRemoteImages?: true | string[];
  mediaRoot?: string;
  modelAlias?: string[];
  anyModel?: boolean;
  queryInstruction?: string;
  allowTruncation?: boolean;
  allowHost?: string[];
  allowOrigin?: string[];
  maxItems?: number;
  maxWait?: number;
  requestTimeout?: number;
  stopTimeout?: number;
  logLevel?: ServerOptions["logLevel"];
}

/** What the server decides itself: its engine is always a process of its own, and pictures by address have a flag of their own. */
const ownOptions = ["isolate", "remoteImages"];
const logLevels = ["debug", "info", "warn", "error", "silent"];

export function serveCommand(): Command {
  const command = new Command("serve")
    .description(
      "an HTTP server for the clients of OpenAI, Cohere, Voyage, Jina and others; with --db search and its page",
    )
    .option("--db <DIR>", "an index made by gme index: adds POST /search and a search page at /")
    .option("--host <H>", "address to listen at (default: 127.0.0.1; another one needs a key)")
    .option("--port <n>", "port to listen at, 0 for a free one (default: 7410)", readNumber)
    .option("--socket <PATH>", "listen at a Unix socket instead")
    .option("--api-key <KEY...>", "keys that a request must have one of (default: GME_API_KEY, else none is asked for)")
    .option(
      "--allow-host <NAME...>",
      "further names that requests may address the server by, each with or without a port",
    )
    .option("--allow-origin <ORIGIN...>", "pages of other origins that may call the server")
    .option(
      "--allow-remote-images [HOST...]",
      "fetch pictures at http(s) addresses: of these hosts, or of any public one",
    )
    .option("--media-root <DIR>", "pictures below this folder may be named by path or file: address")
    .option("--model-alias <NAME...>", "further names of the model in requests")
    .option("--any-model", "accept any name of a model")
    .option("--query-instruction <T>", "instruction of queries that bring none (default: the model's)")
    .option("--allow-truncation", "allow dimensions other than the model's own, at a loss")
    .option("--max-items <n>", "most items of a request (default: 256)", readNumber)
    .option("--max-wait <s>", "seconds that a request may wait for its turn; beyond it 429 (default: 30)", readNumber)
    .option("--request-timeout <s>", "seconds until a request without an answer is given up (default: 120)", readNumber)
    .option("--stop-timeout <s>", "seconds for what runs when the server is stopped (default: 30)", readNumber)
    .addOption(
      new Option("--log-level <level>", "of the log on stderr: info has a line per request (default: info)").choices(
        logLevels,
      ),
    )
    .option(
      "--model <F>",
      "GGUF file or name of a pulled model (default: GME_MODEL, else the store's default, else the bundled demonstration model)",
    );
  addOptionFlags(command, loadOptions.filter(({ name }) => !ownOptions.includes(name))); // biome-ignore format: one line says it
  return command.action(runServe);
}

function readNumber(value: string): number {
  const number = Number(value);
  if (!/^\d{1,10}(\.\d{1,3})?$/.test(value)) throw new InvalidArgumentError("A number expected.");
  return number;
}

async function runServe(flags: ServeFlags): Promise<void> {
  if (flags.socket !== undefined && (flags.host ?? flags.port) !== undefined)
    throw new UsageError("--socket excludes --host and --port");
  const options = serverOptions(flags);
  const { checkListening, startServer } = await import("../server/index.js");
  checkListening(options); // before the model is loaded
  const signal = stopSignal();
  const model = await openModel({ ...flags, isolate: true }, signal);
  let index: GmeIndex | undefined;
  try {
    if (flags.db !== undefined) index = await openIndexOf(flags.db, model);
    const server = await startServer({ ...options, model, ...(index && { index }) });
    note(`gme-embed listens at ${server.url} (${model.info.name} on ${model.info.device}). ${attribution}`);
    endBySignal({ code: 0, seconds: (flags.stopTimeout ?? 30) + 5 });
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    note("stopping: what runs is finished, new requests are refused; a second signal ends at once");
    await server.close();
  } finally {
    await index?.close();
    await model.close();
  }
}

/** The flags by the names of the server's options; what is wrong in them the server says. */
function serverOptions(flags: ServeFlags): Omit<ServerOptions, "model"> & ListenOptions {
  const key = process.env.GME_API_KEY || undefined;
  const given = {
    ...{ host: flags.host, port: flags.port, socket: flags.socket },
    ...{ apiKeys: flags.apiKey ?? (key && [key]), allowHosts: flags.allowHost, allowOrigins: flags.allowOrigin },
    ...{ modelAliases: flags.modelAlias, anyModel: flags.anyModel, queryInstruction: flags.queryInstruction },
    ...{ remoteImages: flags.allowRemoteImages, mediaRoot: flags.mediaRoot, allowTruncation: flags.allowTruncation },
    ...{ maxItems: flags.maxItems, maxWait: flags.maxWait, logLevel: flags.logLevel },
    ...{ requestTimeout: flags.requestTimeout, stopTimeout: flags.stopTimeout },
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** Read-only: whoever indexes meanwhile is not in the way. Rejects where the rows are another model's. */
async function openIndexOf(db: string, model: GmeModel): Promise<GmeIndex> {
  const { openIndex } = await import("../index-store/index.js");
  const index = await openIndex(db, { readOnly: true, signal: stopSignal() });
  try {
    index.checkModel(model.info);
    return index;
  } catch (error) {
    await index.close();
    throw error;
  }
}
