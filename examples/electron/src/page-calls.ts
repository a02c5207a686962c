import { isAbsolute } from "node:path";
import type { EngineClient } from "./engine-client";
import { answerOf } from "./problem";
import type { Answer } from "./protocol";

/** What the calls need of Electron. */
export interface Desktop {
  chooseFolder(): Promise<string | undefined>;
  showFile(path: string): void;
}

const maxPaths = 1_000;
const maxQuery = 10_000;

/** The page's calls by name. Arguments come from the page's process, so each is looked at before it is used. */
export function pageCalls(
  engine: EngineClient,
  desktop: Desktop,
): Record<string, (argument: unknown) => Promise<unknown>> {
  return {
    status: () => engine.call("status"),
    index: async (paths) => engine.call("index", pathsOf(paths)),
    choose: async () => {
      const folder = await desktop.chooseFolder();
      return folder === undefined ? undefined : engine.call("index", [folder]);
    },
    stop: () => engine.call("stop"),
    search: async (query) => engine.call("search", textOf(query)),
    show: async (key) => {
      const path = await engine.call("pathOf", textOf(key));
      if (path === undefined) throw new Error("This entry is not in the index");
      desktop.showFile(path);
    },
  };
}

export function answerCall(work: (argument: unknown) => Promise<unknown>, argument: unknown): Promise<Answer<unknown>> {
  return answerOf(() => work(argument));
}

function pathsOf(value: unknown): string[] {
  const isPath = (path: unknown) => typeof path === "string" && isAbsolute(path) && !path.includes("\0");
  if (!Array.isArray(value) || value.length === 0 || value.length > maxPaths || !value.every(isPath))
    throw new Error("Drop a folder or files of this computer");
  return value;
}

function textOf(value: unknown): string {
  if (typeof value !== "string" || value.length > maxQuery) throw new Error("A text is expected");
  return value;
}
