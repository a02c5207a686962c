import { homedir } from "node:os";
import { join, resolve } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

/** Where our own files lie: converted models and records. */
export function storeFolder(env: Environment = process.env): string {
  if (env.GME_HOME) return resolve(env.GME_HOME);
  return join(cacheFolder(env), "gme-embed");
}

/** The Hugging Face cache, which other tools share. */
export function hubFolder(env: Environment = process.env): string {
  const named = env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE;
  if (named) return resolve(named);
  return join(env.HF_HOME ? resolve(env.HF_HOME) : join(cacheFolder(env), "huggingface"), "hub");
}

function cacheFolder(env: Environment): string {
  return env.XDG_CACHE_HOME ? resolve(env.XDG_CACHE_HOME) : join(homedir(), ".cache");
}
