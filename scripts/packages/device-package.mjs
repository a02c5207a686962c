// A package that drives graphics cards: one library of ggml's, and what it was made of. build-prebuild/<target>/prebuilds -> checked -> a folder to pack.
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { elfFacts } from "./elf-facts.mjs";
import { nativeManifest, writeTexts } from "./platform-package.mjs";

/** What the user's own driver or runtime brings. */
const foreignLibraries = /^(libcublas\.so\.\d+|libvulkan\.so\.1|libcuda\.so\.1)$/;
const systemLibraries = /^(libc|libm|libdl|libpthread|librt|libgcc_s|libstdc\+\+|ld-linux-x86-64)\.so\.\d+$/;

function problemsOf(file) {
  const { needed, runPath, exports, executableStack } = elfFacts(file);
  const others = needed.filter(
    (name) => ![foreignLibraries, systemLibraries, /^libgme-engine\.so$/].some((p) => p.test(name)),
  );
  return [
    ...others.map((name) => `needs ${name}`),
    ...runPath.map((path) => `looks for libraries in ${path}`),
    ...exports.filter((name) => !name.startsWith("ggml_backend_")).map((name) => `shows ${name}`),
    ...(executableStack ? ["asks for an executable stack"] : []),
  ];
}

/** The staged folder, undefined where nothing was built. */
export function stageDevicePackage(root, target, built) {
  const source = join(built, "prebuilds");
  if (!existsSync(source) || readdirSync(source).length === 0) return undefined;
  const library = `libgme-ggml-${target.kind}.so`;
  const problems = problemsOf(join(source, library));
  if (problems.length > 0) throw new Error(`${target.name} must not be packed: ${library} ${problems.join(", ")}`);
  const folder = join(built, "package");
  rmSync(folder, { recursive: true, force: true });
  cpSync(source, folder, { recursive: true });
  const main = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const description = `Graphics cards for gme-embed on ${target.platform}-${target.arch}: ggml's ${target.kind} library`;
  const text = `${description}. Install it beside gme-embed, of the same version; \`gme doctor\` says what it finds and what is missing.`;
  writeTexts(root, folder, nativeManifest(main, target, description), text);
  return folder;
}
