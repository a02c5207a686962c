// What is installed is what was reviewed: exact versions, each with the sum of its contents.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { root } from "../helpers/fixtures";

interface Entry {
  version?: string;
  resolved?: string;
  integrity?: string;
  link?: boolean;
  inBundle?: boolean;
  optional?: boolean;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
const entries = Object.entries<Entry>(lock.packages).filter(([path]) => path !== "");
const kinds = ["dependencies", "devDependencies", "optionalDependencies"] as const;

// LanceDB's binaries for the platforms on which this project cannot be built and tested: they stand in the lock file so that
// npm installs them there, without a sum, because their contents were never seen here. docs: SECURITY.md, "Supply chain".
const withoutSum = ["darwin-arm64", "linux-arm64-gnu", "linux-arm64-musl", "win32-arm64-msvc", "win32-x64-msvc"].map(
  (platform) => `node_modules/@lancedb/lancedb-${platform}`,
);

t.test("package.json asks for exact versions, from the registry alone", async (t) => {
  for (const kind of kinds) {
    for (const [name, version] of Object.entries<string>(manifest[kind]))
      t.match(version, /^(npm:@?[a-z/-]+@)?\d+\.\d+\.\d+$/, name);
  }
  for (const change of Object.values<Record<string, string>>(manifest.overrides)) {
    for (const [name, version] of Object.entries(change)) {
      const own = /^\$(.+)$/.exec(version)?.[1];
      if (own !== undefined) t.equal(own in manifest.devDependencies, true, `${name} is the one of this package`);
      else t.match(version, /^npm:[a-z-]+@\d+\.\d+\.\d+$/, `${name} is replaced by an exact version`);
    }
  }
  for (const name of ["bundleDependencies", "bundledDependencies", "workspaces"]) t.notOk(name in manifest, name);
});

t.test("the lock file belongs to package.json", async (t) => {
  t.equal(lock.lockfileVersion, 3);
  t.equal(lock.version, manifest.version);
  for (const kind of kinds) {
    t.strictSame(lock.packages[""][kind], manifest[kind], kind);
    for (const [name, version] of Object.entries<string>(manifest[kind]))
      t.equal(lock.packages[`node_modules/${name}`].version, version.replace(/^npm:.*@/, ""), name);
  }
  for (const kind of ["peerDependencies", "peerDependenciesMeta"])
    t.strictSame(lock.packages[""][kind], manifest[kind], kind);
});

t.test("every package of the lock file has one version and the sum of its contents", async (t) => {
  t.ok(entries.length > 300);
  for (const [path, { version, integrity, link }] of entries) {
    t.match(version, /^\d+\.\d+\.\d+(-[\w.]+)?$/, path);
    t.notOk(link, `${path} is no folder outside`);
    if (withoutSum.includes(path)) t.equal(integrity, undefined, `${path} has a sum now: take it off the list`);
    else t.match(integrity, /^sha512-[A-Za-z0-9+/]{86}==$/, path);
  }
  for (const path of withoutSum) t.ok(lock.packages[path].optional, `${path} is optional`);
});

t.test("no package comes from git, an address or a file", async (t) => {
  for (const [path, { resolved, dependencies, optionalDependencies }] of entries) {
    t.equal(resolved, undefined, `${path} is resolved by its name`);
    for (const [name, range] of Object.entries({ ...dependencies, ...optionalDependencies }))
      t.notMatch(
        range,
        /^(git|https?|file|link|github|gitlab|bitbucket)[+:]|^[\w-]+\/[\w-]+/,
        `${path} asks for ${name}`,
      );
  }
});
