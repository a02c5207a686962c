// The example app as it is installed: compiled, with gme-embed among its packages. Types are checked by types.test.ts.
import { type ChildProcess, fork } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { ModuleKind, ScriptTarget, transpileModule } from "typescript";
import { EngineClient, type EngineHost } from "../../examples/electron/src/engine-client";
import type { EngineEvent, FromEngine } from "../../examples/electron/src/protocol";
import { root } from "../helpers/fixtures";

const source = join(root, "examples", "electron");
export const samples = join(root, "models", "emoji-tiny", "samples");

export interface ExampleApp {
  readonly folder: string;
  /** Modules of the main process. */
  module<T>(name: string): T;
}

/** Compiled into a folder of its own that is gone at the test's end. */
export function buildExample(t: Test): ExampleApp {
  const folder = mkdtempSync(join(tmpdir(), "gme-electron-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(join(source, "page"), join(folder, "page"), { recursive: true });
  cpSync(join(source, "package.json"), join(folder, "package.json"));
  compile(join(source, "src"), join(folder, "build", "src"), ModuleKind.CommonJS);
  compile(join(source, "page"), join(folder, "build", "page"), ModuleKind.ES2022);
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(root, join(folder, "node_modules", "gme-embed"), "junction");
  return { folder, module: (name) => require(join(folder, "build", "src", name)) };
}

function compile(from: string, to: string, module: ModuleKind): void {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from).filter((name) => name.endsWith(".ts"))) {
    const options = { module, target: ScriptTarget.ES2022, esModuleInterop: true };
    const { outputText } = transpileModule(readFileSync(join(from, name), "utf8"), { compilerOptions: options });
    writeFileSync(join(to, name.replace(/ts$/, "js")), outputText);
  }
}

export interface EngineRun {
  readonly client: EngineClient;
  readonly events: EngineEvent[];
  /** Of each process that was started. */
  readonly children: ChildProcess[];
  readonly devices: string[];
  /** Exit code, or the signal's name, of the newest process. */
  ended(): Promise<number | string | null>;
}

export interface EngineRunOptions {
  readonly model?: string;
  readonly indexFolder?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly listener?: (event: EngineEvent) => void;
}

/** The app's engine in a process that stands in for a utilityProcess (children/utility-host.cjs). */
export function startEngine(t: Test, app: ExampleApp, options: EngineRunOptions = {}): EngineRun {
  const { model = "", indexFolder = join(app.folder, "index"), env = {}, listener } = options;
  const events: EngineEvent[] = [];
  const children: ChildProcess[] = [];
  const devices: string[] = [];
  const start = (device: string): EngineHost => {
    const host = forkUtility(join(app.folder, "build", "src", "engine.js"), [indexFolder, model, device], env);
    children.push(host.child);
    devices.push(device);
    return host;
  };
  const onEvent = (event: EngineEvent) => {
    events.push(event);
    listener?.(event);
  };
  const client = new EngineClient(start, onEvent);
  t.teardown(() => {
    for (const child of children) child.kill("SIGKILL");
  });
  const ended = () => {
    const child = children[children.length - 1];
    if (child.exitCode !== null || child.signalCode !== null)
      return Promise.resolve(child.exitCode ?? child.signalCode);
    return new Promise<number | string | null>((done) => child.once("exit", (code, signal) => done(code ?? signal)));
  };
  return { client, events, children, devices, ended };
}

/** What utilityProcess.fork() returns, as far as the example looks. */
function forkUtility(script: string, args: string[], env: NodeJS.ProcessEnv): EngineHost & { child: ChildProcess } {
  const child = fork(script, args, {
    serialization: "advanced",
    execArgv: ["--require", join(__dirname, "children", "utility-host.cjs")],
    env: { ...process.env, NODE_OPTIONS: "", ...env },
  });
  const on = (event: "message" | "exit", listener: (value: never) => void) => {
    if (event === "message") child.on("message", (message) => listener(message as FromEngine as never));
    else child.on("exit", (code) => listener((code ?? 1) as never));
  };
  return { child, on, postMessage: (message) => void (child.connected && child.send(message, () => undefined)) };
}
