import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Test } from "tap";
import type { GmeModel } from "../../../lib/index";
import { startServer } from "../../../lib/server/index";
import { demonstrationModel, samplePicture } from "../../helpers/demonstration";

/** What every client is shown to embed. */
export const bicycle = samplePicture("bicycle");
export const banana = samplePicture("banana");
export const texts = ["a red bicycle", "", "a banana, 香蕉 🍌", "a red bicycle"];
export const instruction = "Find an image that matches the given text.";
export const apiKey = "sk-test-key";

export interface ClientServer {
  url: string;
  /** The model behind the server, for the vectors that are right. */
  model: GmeModel;
}

/** A server as `gme serve --api-key` would be, on a port of its own; it ends with the test file. */
export async function clientServer(t: Test, key = apiKey): Promise<ClientServer> {
  const model = await demonstrationModel(t);
  // LlamaIndex's class for Jina sends pictures under this one name only.
  const server = await startServer({
    model,
    port: 0,
    apiKeys: [key],
    modelAliases: ["jina-clip-v1"],
    logLevel: "silent",
  });
  t.teardown(() => server.close()); // before the model's, which was registered first
  return { url: server.url, model };
}

/** The call is refused with an error of the client's own class that says what `like` says. */
export async function refuses(
  t: Test,
  call: PromiseLike<unknown>,
  kind: abstract new (...given: never[]) => Error,
  like: object,
): Promise<void> {
  const caught = await Promise.resolve(call).then(
    () => undefined,
    (error: unknown) => error,
  );
  t.type(caught, kind, JSON.stringify(like));
  t.match(caught, like);
}

const run = promisify(execFile);

/** The arguments of a Python with the package, or why there is none. */
export async function pythonWith(name: string): Promise<{ skip: string | false; version: string }> {
  try {
    const { stdout } = await run("python3", ["-c", `import ${name}; print(${name}.__version__)`]);
    return { skip: false, version: stdout.trim() };
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    if (code === "ENOENT") return { skip: "no python3", version: "" };
    if (/ModuleNotFoundError/.test(stderr ?? "")) return { skip: `python3 has no ${name}`, version: "" };
    throw error; // one that is there and broken is no reason to skip
  }
}

/** What a program prints. */
export async function outputOf(command: string, args: string[], options: { cwd?: string } = {}): Promise<string> {
  const { stdout } = await run(command, args, { ...options, maxBuffer: 1 << 24, timeout: 120_000 });
  return stdout;
}
