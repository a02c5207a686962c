import { join } from "node:path";
import { pathToFileURL } from "node:url";
import t from "tap";
import { root } from "../helpers/fixtures";

interface CudaPrebuild {
  readonly defaultArchitectures: string[];
  cmakeArchitectures(architectures: string[]): string;
  findToolkit(environment: NodeJS.ProcessEnv): { nvcc: string; version: string; major: number };
}

const load = () =>
  import(pathToFileURL(join(root, "scripts", "prebuild", "cuda.mjs")).href) as unknown as Promise<CudaPrebuild>;

t.test("architectures: machine code of each, PTX of the newest", async (t) => {
  const { cmakeArchitectures, defaultArchitectures } = await load();
  t.equal(cmakeArchitectures(defaultArchitectures), "75-real;80-real;89-real;90-real;120");
  t.equal(cmakeArchitectures(["90", "80", "90"]), "80-real;90");
  t.throws(() => cmakeArchitectures([]), /no architecture is named/);
  for (const bad of ["", "9", "sm_90", "90;rm"])
    t.throws(() => cmakeArchitectures([bad]), /no architecture such as 90/);
});

t.test("the toolkit that is named counts first", async (t) => {
  const { findToolkit } = await load();
  const nvcc = join(t.testdir({ nvcc: "#!/bin/sh\necho 'Cuda compilation tools, release 12.9, V12.9.1'\n" }), "nvcc");
  const { chmodSync } = await import("node:fs");
  chmodSync(nvcc, 0o755);
  t.strictSame(findToolkit({ CUDACXX: nvcc }), { nvcc, version: "12.9", major: 12 });
});
