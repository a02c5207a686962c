import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Test } from "tap";
import type { DeviceAnswer, DeviceJob } from "./device-child";
import { root } from "./fixtures";

/** What scripts/fetch-vulkan.mjs lays down, and Mesa's software driver. */
export const vulkanLibrary = join(root, "vendor", "vulkan", "libggml-vulkan.so");
const drivers = "/usr/share/vulkan/icd.d";
const driver = existsSync(drivers) ? readdirSync(drivers).find((name) => /^lvp_icd.*\.json$/.test(name)) : undefined;

/** Why the software device cannot be tested here; false: it can. */
export const noVulkan: string | false = !existsSync(vulkanLibrary)
  ? "vendor/vulkan is not there: node scripts/fetch-vulkan.mjs"
  : driver === undefined && "Mesa's software driver is not there: apt-get install mesa-vulkan-drivers";

/** Shows a process the software device and no other. */
export const vulkanEnvironment: Record<string, string> = {
  GME_BACKEND_PATH: vulkanLibrary,
  GGML_VK_VISIBLE_DEVICES: "0", // else devices that compute on the processor are left out
  VK_ICD_FILENAMES: process.env.VK_ICD_FILENAMES ?? join(drivers, driver ?? "none"),
};

/** How often in all a job is begun whose process the driver ends. */
export const attempts = 3;
const deaths: readonly (string | null)[] = ["SIGSEGV", "SIGBUS", "SIGABRT"];

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a job in a process of its own. Mesa 22.3 ends its process now and then (docs/devices.md), which is reported and tried again; a
 * process that ends in any other way than well fails the test.
 */
export async function runOnDevice(t: Test, job: DeviceJob): Promise<DeviceAnswer[]> {
  for (let attempt = 1; ; attempt++) {
    const { code, signal, stdout, stderr } = await startChild(job);
    if (code === 0)
      return stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as DeviceAnswer);
    const how = `${signal ?? `exit code ${code}`}, attempt ${attempt} of ${attempts}`;
    t.comment(`the driver's process ended with ${how}`);
    if (attempt === attempts || !deaths.includes(signal)) throw new Error(`no answer: ${how}\n${stderr.slice(-2000)}`);
  }
}

function startChild(job: DeviceJob): Promise<Ended> {
  const tsx = pathToFileURL(require.resolve("tsx")).href;
  const child = spawn(process.execPath, ["--import", tsx, join(__dirname, "device-child.ts")], {
    cwd: root,
    env: { ...process.env, ...vulkanEnvironment },
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    stderr += text;
  });
  child.stdin.on("error", () => undefined); // it may end before it has read everything
  child.stdin.end(JSON.stringify(job));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}
