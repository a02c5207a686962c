// An empty project of a user, in a folder outside the checkout, and the package managers that install into it.
import { execFile } from "node:child_process";
import { cpSync, existsSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { root, temporaryFolder } from "./fixtures";

const run = promisify(execFile);
const consumers = join(root, "test", "package", "consumers");

export interface Said {
  code: number;
  stdout: string;
  stderr: string;
}

export interface Manager {
  name: string;
  script: string;
  /** Settings, by file. */
  settings(local: string, registry: string): Record<string, string>;
  install: string[];
  /** Words before a command of an installed package. */
  exec: string[];
  /** Words before a script of the project, where node alone does not find the packages. */
  node?: string[];
  environment(registry: string): Record<string, string>;
  /** The fields of package.json that replace packages. */
  replace(packages: Record<string, string>): Record<string, unknown>;
}

const bin = (...path: string[]) => join(root, "node_modules", ...path);
const scopeLine = (local: string) => `@gme-embed:registry=${local}\n`;
/** What the managers fetched before, for this checkout alone: Yarn takes a file's package from there by name and version. */
const cache = (...path: string[]) => join(root, "node_modules", ".cache", "gme-embed-install", ...path);

const berry = (nodeLinker: string, node?: string[]): Manager => ({
  name: `Yarn 4, ${nodeLinker}`,
  script: bin("@yarnpkg", "cli-dist", "bin", "yarn.js"),
  settings: (local, registry) => ({
    ".yarnrc.yml": [
      `nodeLinker: ${nodeLinker}`,
      "enableScripts: false",
      "enableTelemetry: false",
      "enableGlobalCache: false",
      "enableMirror: false",
      `cacheFolder: ${JSON.stringify(cache("yarn-4", "files"))}`,
      `globalFolder: ${JSON.stringify(cache("yarn-4"))}`,
      `npmRegistryServer: ${JSON.stringify(registry)}`,
      'unsafeHttpWhitelist: ["127.0.0.1"]',
      `npmScopes: { gme-embed: { npmRegistryServer: ${JSON.stringify(local)} } }`,
    ].join("\n"),
    "yarn.lock": "",
  }),
  install: ["install"],
  exec: ["run"],
  node,
  environment: () => ({ YARN_ENABLE_IMMUTABLE_INSTALLS: "0" }),
  replace: (resolutions) => ({ resolutions }),
});

/** npm beside the node that runs, else that of the PATH. */
export function npmScript(name: string): string {
  const folders = [dirname(process.execPath), ...(process.env.PATH ?? "").split(":")];
  for (const folder of folders) {
    try {
      const file = realpathSync(join(folder, name));
      if (file.endsWith(".js")) return file;
    } catch {}
  }
  throw new Error(`${name} is not on the PATH`);
}

const isOldNode = Number(process.versions.node.split(".")[0]) < 22;

export const managers: Record<"npm" | "pnpm" | "yarn1" | "yarn4" | "pnp", () => Manager> = {
  npm: () => ({
    name: "npm",
    script: npmScript("npm"),
    settings: (local) => ({ ".npmrc": scopeLine(local) }),
    install: ["install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"],
    exec: ["exec", "--offline", "--"],
    environment: () => ({}),
    replace: (overrides) => ({ overrides }),
  }),
  pnpm: () => ({
    name: "pnpm",
    script: bin("pnpm", "bin", "pnpm.cjs"),
    settings: (local) => ({ ".npmrc": scopeLine(local), "pnpm-workspace.yaml": "packages: []\n" }),
    install: [
      "install",
      "--ignore-scripts",
      "--prefer-offline",
      `--store-dir=${cache("pnpm")}`,
      "--no-frozen-lockfile",
    ],
    exec: ["exec"],
    environment: (registry) => ({ npm_config_registry: registry }),
    replace: (overrides) => ({ pnpm: { overrides } }),
  }),
  yarn1: () => ({
    name: "Yarn 1",
    script: bin("yarn", "bin", "yarn.js"),
    settings: (local, registry) => ({ ".npmrc": `${scopeLine(local)}registry=${registry}\n` }),
    // It takes the newest of what fastify asks for, which declares Node 22; npm and pnpm take the one that package.json names.
    install: [
      "install",
      "--ignore-scripts",
      "--non-interactive",
      "--no-progress",
      ...(isOldNode ? ["--ignore-engines"] : []),
    ],
    exec: ["--silent", "run"],
    environment: () => ({ YARN_CACHE_FOLDER: cache("yarn-1"), YARN_DISABLE_SELF_UPDATE_CHECK: "1" }),
    replace: (resolutions) => ({ resolutions }),
  }),
  yarn4: () => berry("node-modules"),
  pnp: () => berry("pnp", ["node"]),
};

/** The registry of everything that is not ours, as npm is set up on this machine. */
export async function configuredRegistry(): Promise<string> {
  const { stdout } = await run(process.execPath, [npmScript("npm"), "config", "get", "registry"], { cwd: root });
  return stdout.trim();
}

/** Why the registry does not answer, or false. */
export async function skipWithoutRegistry(): Promise<string | false> {
  try {
    const words = ["view", "node-gyp-build@4.8.4", "version", "--prefer-offline", "--fetch-retries=0"];
    await run(process.execPath, [npmScript("npm"), ...words], { cwd: root });
    return false;
  } catch {
    return "npm's registry does not answer";
  }
}

/** Yarn would take what an earlier run of the tests fetched: our own packages, and what the registry on this machine said then. */
export function forgetOurPackages(): void {
  if (!existsSync(cache())) return;
  for (const path of readdirSync(cache(), { recursive: true, encoding: "utf8" }))
    if (
      /^yarn-1[\\/]v\d+[\\/]\.tmp$/.test(path) ||
      /^yarn-[14][\\/](v\d+[\\/]|files[\\/]|.*127\.0\.0\.1[\\/])[^\\/]*gme-embed[^\\/]*$/.test(path)
    )
      rmSync(cache(path), { recursive: true, force: true });
}

/** What the commands need that pnpm and npm lay for a package's programs. */
const shellTools = ["sh", "sed", "dirname", "uname"];

/** A folder with node and a few tools of the shell, and nothing else: no compiler, no Python. */
export function barePath(): string {
  const folder = temporaryFolder();
  symlinkSync(process.execPath, join(folder, "node"));
  for (const tool of shellTools) {
    const found = (process.env.PATH ?? "").split(":").find((place) => existsSync(join(place, tool)));
    if (found) symlinkSync(join(found, tool), join(folder, tool));
  }
  return folder;
}

export class UserProject {
  readonly folder = realpathSync(temporaryFolder());

  constructor(
    readonly manager: Manager,
    readonly path: string,
    private readonly registry: string,
    local: string,
    manifest: { dependencies: Record<string, string>; replaced?: Record<string, string> },
  ) {
    const { dependencies, replaced = {} } = manifest;
    const content = { name: "user-project", version: "1.0.0", private: true, dependencies };
    this.write("package.json", JSON.stringify({ ...content, ...manager.replace(replaced) }));
    for (const [name, text] of Object.entries(manager.settings(local, registry))) this.write(name, text);
    for (const name of ["use.cjs", "use.mjs"]) cpSync(join(consumers, name), join(this.folder, name));
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text);
  }

  install(...more: string[]): Promise<Said> {
    return this.spawn([this.manager.script, ...this.manager.install, ...more]);
  }

  /** A command of an installed package, through the package manager. */
  exec(...words: string[]): Promise<Said> {
    return this.spawn([this.manager.script, ...this.manager.exec, ...words]);
  }

  /** A program of the user's. */
  node(file: string): Promise<Said> {
    const { node, script } = this.manager;
    return this.spawn(node ? [script, ...node, file] : [file]);
  }

  async spawn(words: string[]): Promise<Said> {
    const { HOME, TMPDIR, http_proxy, https_proxy, no_proxy, HTTP_PROXY, HTTPS_PROXY, NO_PROXY } = process.env;
    const { NODE_EXTRA_CA_CERTS, npm_config_cache } = process.env;
    const proxies = { http_proxy, https_proxy, no_proxy, HTTP_PROXY, HTTPS_PROXY, NO_PROXY };
    const env = {
      HOME,
      TMPDIR,
      ...proxies,
      NODE_EXTRA_CA_CERTS,
      npm_config_cache,
      ...this.manager.environment(this.registry),
    };
    const options = { cwd: this.folder, env: { ...env, PATH: this.path, CI: "1", NO_COLOR: "1" }, maxBuffer: 1 << 26 };
    try {
      const { stdout, stderr } = await run(process.execPath, words, options);
      return { code: 0, stdout, stderr };
    } catch (error) {
      const { code, stdout = "", stderr = "" } = error as { code?: unknown; stdout?: string; stderr?: string };
      return { code: typeof code === "number" ? code : -1, stdout, stderr: stderr || String(error) };
    }
  }
}
