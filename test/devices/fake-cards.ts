import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { root, temporaryFolder } from "../helpers/fixtures";

const ggml = join(root, "vendor", "ggml");
const built = join(root, "build-cmake", "vendor", "ggml", "src");
const archives = ["libggml-cpu.a", "libggml-base.a"].map((name) => join(built, name));

/** Why fake-cards.cpp cannot be built here; undefined: it can. */
export function noFakeCards(): string | undefined {
  if (process.platform !== "linux") return "fake cards are built for Linux only";
  const missing = archives.find((file) => !existsSync(file));
  if (missing !== undefined) return `${missing} is not there: the native build is of another kind`;
  try {
    execFileSync("g++", ["--version"], { stdio: "ignore" });
    return undefined;
  } catch {
    return "g++ is not there";
  }
}

/** The library of test/engine/fake-cards.cpp, which this process and its children find from now on. */
export function buildFakeCards(): void {
  const file = join(temporaryFolder(), "libggml-vulkan.so");
  const include = ["include", "src"].map((folder) => `-I${join(ggml, folder)}`);
  const source = join(root, "test", "engine", "fake-cards.cpp");
  const flags = ["-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden"];
  const link = ["-Wl,--exclude-libs,ALL", "-lpthread", "-lm", "-ldl", "-o", file];
  execFileSync("g++", [...flags, ...include, source, ...archives, ...link], { stdio: "inherit" });
  process.env.GME_BACKEND_PATH = file;
}

export interface FakeCard {
  /** Bytes that it says are free. */
  readonly free: number;
  /** Bytes that can be had; default: as many as are free. */
  readonly most?: number;
}

/** There are as many cards as there were at the first call, in this process and in those started later; each as it is said now. */
export function setCards(...cards: FakeCard[]): void {
  process.env.GME_TEST_CARDS = cards
    .map(({ free, most = free }) => `${Math.round(free)}:${Math.round(most)}`)
    .join(",");
}
