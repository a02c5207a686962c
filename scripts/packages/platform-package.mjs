// One platform package: what prebuild.mjs made of a target -> checked -> a folder that npm can pack.
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkPrebuild } from "./prebuild-check.mjs";

const legalFiles = ["LICENSE", "NOTICE", "THIRD_PARTY_NOTICES.md"];

/** Fields that every package of native files has. */
export function nativeManifest(main, { name, platform, arch, libc }, description) {
  return {
    name: `@gme-embed/${name}`,
    version: main.version,
    description,
    license: main.license,
    os: [platform],
    cpu: [arch],
    ...(libc && { libc: [libc] }),
    engines: main.engines,
    preferUnplugged: true, // Yarn would keep it in an archive, which the system's loader cannot read
  };
}

/** Lays the texts that each package carries beside its files. */
export function writeTexts(root, folder, manifest, text) {
  for (const name of legalFiles) cpSync(join(root, name), join(folder, name));
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  writeFileSync(join(folder, "README.md"), `# ${manifest.name}\n\n${text}\n\nBuilt with GME.\n`);
}

/** The staged folder, the sums of its native files, and what was found in them; throws with every problem at once. */
export function stagePlatformPackage(root, target, built) {
  const native = join("prebuilds", `${target.platform}-${target.arch}`);
  const source = join(built, native);
  if (!existsSync(source) || readdirSync(source).length === 0) return undefined;
  const checked = checkPrebuild(source, target);
  if (checked.problems.length > 0)
    throw new Error(`${target.name} must not be packed:\n${checked.problems.map((line) => `  - ${line}`).join("\n")}`);
  const folder = join(built, "package");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, native), { recursive: true });
  const sums = {};
  for (const { name } of checked.files) {
    cpSync(join(source, name), join(folder, native, name));
    sums[`${native.replaceAll("\\", "/")}/${name}`] = createHash("sha256")
      .update(readFileSync(join(source, name)))
      .digest("hex");
  }
  const main = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const description = `Native files of gme-embed for ${target.name}`;
  const text = `${description}. It is installed with [gme-embed](https://www.npmjs.com/package/gme-embed), which loads it; by itself it does nothing.`;
  writeTexts(root, folder, nativeManifest(main, target, description), text);
  return { folder, sums, ...checked };
}
