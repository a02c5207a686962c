import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { Diagnosis } from "../../lib/index";
import { gme } from "../helpers/cli";
import { temporaryFolder } from "../helpers/fixtures";
import { pairPath } from "../helpers/parity";
import { attempts, noVulkan, vulkanEnvironment, vulkanLibrary } from "../helpers/vulkan";

const folder = temporaryFolder();
const linux = { skip: process.platform !== "linux" && "libraries are compiled with Linux's cc" };

/** A shared library of one C source. */
function compileLibrary(name: string, source: string): string {
  const [code, library] = [join(folder, `${name}.c`), join(folder, `libggml-${name}.so`)];
  writeFileSync(code, source);
  execFileSync("cc", ["-shared", "-fPIC", "-o", library, code]);
  return library;
}

/** A shared library that was linked against another, which is gone. */
function libraryThatNeeds(soname: string): string {
  const other = join(folder, soname);
  const source = join(folder, "needs.c");
  writeFileSync(source, "void * ggml_backend_init(void) { return 0; }");
  execFileSync("cc", ["-shared", "-fPIC", "-o", other, `-Wl,-soname,${soname}`, source]);
  const library = join(folder, `needs-${soname}.so`);
  execFileSync("cc", ["-shared", "-fPIC", "-o", library, source, "-Wl,--no-as-needed", other]);
  rmSync(other);
  return library;
}

function diagnosis(stdout: Buffer): Diagnosis {
  return JSON.parse(stdout.toString()) as Diagnosis;
}

t.test("without devices the processor is described, and nothing is amiss but a model", async (t) => {
  const [asJson, asText] = await Promise.all([gme(["doctor", "--json"]), gme(["doctor"])]);
  t.equal(asJson.code, 0, asJson.stderr);
  const found = diagnosis(asJson.stdout);
  t.match(found, {
    node: process.version,
    engine: { file: /gme_embed\.node$/, ggml: /^\d+\.\d+/ },
    devices: { processor: /./, kernels: /./, devices: [], libraries: [] },
    store: { models: [] },
  });
  t.match(found.advice.at(-1), /gme pull/);
  t.equal(asText.code, 0, asText.stderr);
  const text = asText.stdout.toString();
  for (const title of ["gme-embed", "engine", "processor", "memory", "devices", "models", "advice"])
    t.match(text, new RegExp(`^${title} `, "m"));
});

t.test("libraries that are broken are named with their reasons, and cost nothing else", linux, async (t) => {
  const text = join(folder, "libggml-text.so");
  writeFileSync(text, "not a library");
  const rows: [path: string, reason: RegExp][] = [
    [join(folder, "libggml-missing.so"), /cannot be used.*No such file/],
    [text, /cannot be used/],
    [compileLibrary("other", "int nothing;"), /no library of ggml's/],
    [compileLibrary("empty", "void * ggml_backend_init(void) { return 0; }"), /driver could not be started/],
    [compileLibrary("old", "static int registry[16] = { 1 }; void * ggml_backend_init(void) { return registry; }"), /another ggml/],
    [compileLibrary("elsewhere", "int ggml_backend_score(void) { return 0; } void * ggml_backend_init(void) { return 0; }"), /does not run on this machine/],
    [compileLibrary("crash", "#include <stdlib.h>\nvoid * ggml_backend_init(void) { abort(); }"), /ended the process.*SIGABRT/],
    [compileLibrary("exit", "#include <stdlib.h>\nvoid * ggml_backend_init(void) { exit(0); }"), /gave no answer/],
  ]; // biome-ignore format: a row is one case
  const env = { GME_BACKEND_PATH: rows.map(([path]) => path).join(":") };
  const { code, stdout, stderr } = await gme(["doctor", "--json"], { env });
  t.equal(code, 0, stderr);
  const { devices, advice } = diagnosis(stdout);
  t.strictSame(devices?.devices, []);
  for (const [i, [path, reason]] of rows.entries()) {
    t.match(devices?.libraries[i], { path, from: "GME_BACKEND_PATH", error: reason }, path);
    t.ok(
      advice.some((line) => line.startsWith(path)),
      `advice about ${path}`,
    );
  }
  const item = ["embed", "--model", pairPath("tiny-a"), "--text", "a"];
  const [before, auto, strict] = await Promise.all([
    gme(item),
    gme(item, { env }),
    gme([...item, "--device", "vulkan"], { env }),
  ]);
  t.equal(auto.code, 0, auto.stderr);
  t.strictSame(auto.stdout, before.stdout, "a model is embedded with as if they were not there");
  t.equal(strict.code, 1);
  t.match(strict.stderr, /GME_DEVICE_UNAVAILABLE/);
  t.match(
    strict.stderr,
    /libggml-missing\.so.*libggml-crash\.so/,
    "the device that was asked for is refused with their reasons",
  );
});

t.test("a library that CUDA's own are missing for says what brings them", linux, async (t) => {
  // Numbers that no machine has.
  const rows: [soname: string, advice: RegExp][] = [
    ["libcublas.so.99", /libcublas\.so\.99 is missing: install the libraries of CUDA 99/],
    ["libcudart.so.99", /libcudart\.so\.99 is missing: install the libraries of CUDA 99/],
    ["libcuda.so.99", /libcuda\.so\.99 is missing: install NVIDIA's driver/],
  ];
  const paths = rows.map(([soname]) => libraryThatNeeds(soname));
  const { code, stdout, stderr } = await gme(["doctor", "--json"], { env: { GME_BACKEND_PATH: paths.join(":") } });
  t.equal(code, 0, stderr);
  const { devices, advice } = diagnosis(stdout);
  for (const [i, [soname, wanted]] of rows.entries()) {
    const error = new RegExp(`${soname}: cannot open shared object file`);
    t.match(devices?.libraries[i], { path: paths[i], error });
    t.match(
      advice.find((line) => line.startsWith(paths[i])),
      wanted,
    );
  }
});

t.test("a library that loads and finds no device is no fault of its own", linux, async (t) => {
  const path = compileLibrary(
    "idle",
    `static const char * name(void * registry) { return "Idle"; }
     static unsigned long count(void * registry) { return 0; }
     static struct { int version; void * calls[4]; void * context; } registry = { 2, { name, count, 0, 0 }, 0 };
     void * ggml_backend_init(void) { return &registry; }`,
  );
  const { stdout } = await gme(["doctor", "--json"], { env: { GME_BACKEND_PATH: path } });
  const { devices, advice } = diagnosis(stdout);
  t.strictSame([devices?.devices, devices?.libraries], [[], [{ path, from: "GME_BACKEND_PATH" }]]);
  t.match(
    advice.find((line) => line.startsWith(path)),
    /finds no device: install or update the driver/,
  );
});

t.test("a folder stands for the libraries of devices in it", linux, async (t) => {
  const { stdout } = await gme(["doctor", "--json"], { env: { GME_BACKEND_PATH: folder } });
  const paths = diagnosis(stdout).devices?.libraries.map(({ path }) => path) ?? [];
  t.ok(
    paths.includes(join(folder, "libggml-crash.so")) && paths.every((path) => path.endsWith(".so")),
    paths.join(" "),
  );
});

t.test("a software device is listed, and not chosen unless it is named", { skip: noVulkan }, async (t) => {
  const env = vulkanEnvironment;
  const [asJson, asText] = await Promise.all([gme(["doctor", "--json"], { env }), gme(["doctor"], { env })]);
  t.equal(asJson.code, 0, asJson.stderr);
  const { devices } = diagnosis(asJson.stdout);
  t.strictSame(devices?.libraries, [{ path: vulkanLibrary, from: "GME_BACKEND_PATH" }]);
  t.match(devices?.devices, [{ name: "vulkan:0", description: /llvmpipe/, library: vulkanLibrary, software: true }]);
  t.match(asText.stdout.toString(), /^devices +vulkan:0, llvmpipe .*software, only when named$/m);
  const item = ["embed", "--model", pairPath("tiny-a"), "--text", "a"];
  const [before, auto] = await Promise.all([gme(item), gme(item, { env })]);
  t.equal(auto.code, 0, auto.stderr);
  t.strictSame(auto.stdout, before.stdout, "a model stays on the processor");
  let named = await gme([...item, "--device", "vulkan:0"], { env });
  for (let attempt = 1; named.signal !== null && attempt < attempts; attempt++) {
    t.comment(`the driver's process ended with ${named.signal}, attempt ${attempt} of ${attempts}`);
    named = await gme([...item, "--device", "vulkan:0"], { env });
  }
  t.equal(named.code, 0, named.stderr);
  t.equal(
    JSON.parse(named.stdout.toString()).embedding?.length,
    JSON.parse(before.stdout.toString()).embedding?.length,
  );
});
