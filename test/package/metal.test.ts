import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import t from "tap";
import { root, temporaryFolder } from "../helpers/fixtures";

/*
 * Metal's library can only be built on a Mac. Here CMake is told that it configures for one, without a compiler for it: what it would
 * pass on is checked, not that it works.
 */
interface Command {
  readonly file: string;
  readonly command: string;
}

const folder = temporaryFolder();
const metal = join(root, "vendor", "ggml", "src", "ggml-metal");
const settings = { skip: process.platform !== "linux" && "a Mac is simulated on Linux only" };
t.setTimeout(600_000);

/** Configures for macOS and returns what would be compiled. */
function configure(name: string, ...options: string[]): Command[] {
  const build = join(folder, name);
  const framework = join(folder, "framework.tbd");
  writeFileSync(framework, "");
  const args = [
    ...["-S", root, "-B", build, "-G", "Unix Makefiles", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DCMAKE_SYSTEM_NAME=Darwin"],
    ...["-DCMAKE_C_COMPILER_WORKS=ON", "-DCMAKE_CXX_COMPILER_WORKS=ON", "-DCMAKE_INSTALL_NAME_TOOL=true"],
    ...["FOUNDATION_LIBRARY", "METAL_FRAMEWORK", "METALKIT_FRAMEWORK"].map((name) => `-D${name}=${framework}`),
    ...options,
  ]; // biome-ignore format: a row is of one kind
  execFileSync("cmake", args, { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
  return JSON.parse(readFileSync(join(build, "compile_commands.json"), "utf8")) as Command[];
}

const ofMetal = (commands: readonly Command[]) => commands.filter(({ file }) => file.includes("/ggml-metal/"));

/** Names by which Objective-C's runtime knows classes, categories and protocols. */
function classNames(): string[] {
  const sources = readdirSync(metal).filter((name) => /\.(m|mm|h)$/.test(name));
  const texts = sources.map((name) => readFileSync(join(metal, name), "utf8"));
  const found = texts.flatMap((text) => [...text.matchAll(/^@(?:interface|implementation|protocol)\s+(\w+)/gm)]);
  return [...new Set(found.map(([, name]) => name))];
}

t.test(
  "what is passed on for Apple silicon holds Metal's library, its kernels inside and its classes renamed",
  settings,
  async (t) => {
    const commands = configure("arm64", "-DGME_PORTABLE=ON", "-DCMAKE_SYSTEM_PROCESSOR=arm64");
    const sources = ofMetal(commands);
    const objectiveC = sources.filter(({ file }) => file.endsWith(".m"));
    t.ok(objectiveC.length >= 2, "Objective-C is compiled");
    t.not(classNames().length, 0);
    for (const { file, command } of objectiveC) {
      for (const name of classNames())
        t.match(
          command,
          new RegExp(`-D${name}=GmeEmbed${name}\\b`),
          `${basename(file)}: ${name} has a name of our own`,
        );
      for (const definition of ["GGML_METAL_EMBED_LIBRARY", "GGML_BACKEND_DL", "NDEBUG"])
        t.match(command, new RegExp(`-D${definition}\\b`), `${basename(file)}: ${definition}`);
    }
    const kernels = readdirSync(join(metal, "kernels")).filter((name) => name.endsWith(".metal"));
    const embedded = sources.filter(({ file }) => file.endsWith(".s")).map(({ file }) => basename(file));
    t.strictSame(embedded.sort(), kernels.map((name) => `ggml-metal-embed-${name.replace(".metal", ".s")}`).sort());
    const rules = execFileSync("grep", [
      "-rlE",
      "libgme-ggml-metal\\.(so|dylib)",
      join(folder, "arm64"),
      "--include=*.make",
    ]);
    t.not(rules.length, 0, "the library is called libgme-ggml-metal");
    t.ok(existsSync(join(folder, "arm64", "CMakeFiles", "gme_libraries.dir")), "it is built with the others");
    const depends = readFileSync(join(folder, "arm64", "CMakeFiles", "Makefile2"), "utf8");
    t.match(depends, /gme_libraries\.dir\/all: .*ggml-metal\.dir\/all/);
  },
);

t.test("an Intel Mac, and a build for the machine itself, are without Metal", settings, async (t) => {
  t.strictSame(ofMetal(configure("x64", "-DGME_PORTABLE=ON", "-DCMAKE_SYSTEM_PROCESSOR=x86_64")), []);
  t.strictSame(ofMetal(configure("native", "-DCMAKE_SYSTEM_PROCESSOR=arm64")), []);
});
