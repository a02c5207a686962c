// Builds the fuzzers of test/fuzz with clang and runs them: coverage-guided, under AddressSanitizer and UndefinedBehaviorSanitizer.
//
//   node scripts/fuzz.mjs [--seconds 60] [--processor-seconds N] [--only NAME] [--jobs 2] [--grow DIR] [--instrument-ggml]
//
// --seconds is time on the clock. --processor-seconds ends a harness once it has had a processor that long, however busy the machine is.
// --grow DIR keeps what is found interesting in DIR/NAME from run to run; without it new inputs go when the run ends. ggml comes from
// build-cmake (made when missing); --instrument-ggml compiles it with coverage and AddressSanitizer in a build folder of its own, for
// runs of hours.
// Exit code 1 when something was found: the input stays in build-fuzz/found. Without clang it says "not run" and ends with 0.
import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, "test", "fuzz");

// Limits: memory in MiB for the whole process and for one allocation. The longest to load first, so that the last rounds are short.
const harnesses = [
  { name: "model-loader", maxLength: 512, rss: 2048, allocation: 256 },
  { name: "image-resize", maxLength: 128, rss: 2048, allocation: 256 },
  { name: "tokenizer", maxLength: 4096, rss: 1024, allocation: 256, words: "text.dict" },
  { name: "gguf-reader", maxLength: 8192, rss: 1024, allocation: 64, words: "gguf.dict" },
  { name: "embed-args", maxLength: 1024, rss: 1024, allocation: 64 },
];

const { values: options } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    "processor-seconds": { type: "string" },
    only: { type: "string" },
    jobs: { type: "string", default: "2" },
    grow: { type: "string" },
    "instrument-ggml": { type: "boolean", default: false },
  },
});

const processorLimit = Number(options["processor-seconds"] ?? Infinity);

function fail(message) {
  console.error(`fuzz: ${message}`);
  process.exit(2);
}

function notRun(reason) {
  console.log(`fuzz: not run: ${reason}`);
  process.exit(0);
}

// A compiler that can link a fuzzer: the runtime is a package of its own on Debian.
function findClang() {
  const trial = mkdtempSync(join(tmpdir(), "gme-clang-"));
  const source = join(trial, "trial.cpp");
  writeFileSync(source, 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char *, unsigned long) { return 0; }\n');
  try {
    return ["clang++-14", "clang++", "clang++-15", "clang++-16", "clang++-17", "clang++-18", "clang++-19"].find(
      (clang) => {
        const args = ["-fsanitize=fuzzer,address,undefined", source, "-o", join(trial, "trial")];
        return spawnSync(clang, args, { stdio: "ignore" }).status === 0;
      },
    );
  } finally {
    rmSync(trial, { recursive: true });
  }
}

function command(program, args) {
  const done = spawnSync(program, args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 28 });
  if (done.status !== 0) {
    console.error(`${done.stdout ?? ""}${done.stderr ?? ""}`);
    fail(`"${program} ${args.join(" ")}" failed`);
  }
}

function build(clang, names) {
  const jobs = process.env.CMAKE_BUILD_PARALLEL_LEVEL || "2";
  const target = join(root, options["instrument-ggml"] ? "build-fuzz-ggml" : "build-fuzz");
  const ready = join(root, "build-cmake");
  if (!options["instrument-ggml"] && !existsSync(join(ready, "CMakeCache.txt"))) {
    command(process.execPath, [join(root, "scripts", "cmake-build.js")]);
  }
  // CMake takes a compiler that is named once more for another one, and forgets what else it was told.
  const isConfigured = existsSync(join(target, "CMakeCache.txt"));
  const compilers = [`-DCMAKE_CXX_COMPILER=${clang}`, `-DCMAKE_C_COMPILER=${clang.replace("++", "")}`];
  const ggml = options["instrument-ggml"] ? "" : ready;
  command("cmake", [
    "-S",
    root,
    "-B",
    target,
    "-DGME_FUZZ=ON",
    `-DGME_FUZZ_GGML=${ggml}`,
    ...(isConfigured ? [] : compilers),
  ]);
  command("cmake", ["--build", target, "--parallel", jobs, "--target", ...names.map((name) => `fuzz-${name}`)]);
  return join(target, "bin");
}

function fuzzArguments(harness, grown, found) {
  const stored = ["corpus", "findings"].map((kind) => join(folder, kind, harness.name)).filter(existsSync);
  const words = harness.words ? [`-dict=${join(folder, harness.words)}`] : [];
  return [
    ...(processorLimit === Infinity ? [`-max_total_time=${options.seconds}`] : []),
    `-max_len=${harness.maxLength}`,
    `-rss_limit_mb=${harness.rss}`,
    `-malloc_limit_mb=${harness.allocation}`,
    "-timeout=60",
    "-report_slow_units=60",
    "-print_final_stats=1",
    "-reload=0",
    `-artifact_prefix=${found}/${harness.name}-`,
    ...words,
    grown,
    ...stored,
  ];
}

const lastNumber = (text, pattern) => Number([...text.matchAll(pattern)].at(-1)?.[1] ?? 0);

// Seconds of processor time the process has taken, at 100 ticks a second; 0 where there is no /proc.
function processorSeconds(pid) {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return 0;
  }
}

// One harness to its end: figures, and the inputs it found.
function run(programs, harness, found) {
  const grown = options.grow ? join(options.grow, harness.name) : mkdtempSync(join(tmpdir(), "gme-fuzz-"));
  mkdirSync(grown, { recursive: true });
  const before = new Set(readdirSync(found));
  return new Promise((resolve) => {
    const child = spawn(join(programs, `fuzz-${harness.name}`), fuzzArguments(harness, grown, found), {
      cwd: root,
      env: { ...process.env, GGML_NO_BACKTRACE: "1" },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let log = "";
    let seconds = 0;
    const clock = setInterval(() => {
      seconds = Math.max(seconds, processorSeconds(child.pid));
      if (seconds >= processorLimit) child.kill("SIGUSR1"); // libFuzzer ends gracefully: figures, exit code 0
    }, 500);
    child.stderr.setEncoding("utf8").on("data", (text) => {
      log = (log + text).slice(-(1 << 20));
    });
    child.on("close", (code, signal) => {
      clearInterval(clock);
      const kept = readdirSync(found).filter((name) => name.startsWith(`${harness.name}-`) && !before.has(name));
      const corpus = readdirSync(grown).length;
      if (!options.grow) rmSync(grown, { recursive: true });
      resolve({ name: harness.name, code: code ?? signal, log, corpus, kept, seconds });
    });
  });
}

function report({ name, code, log, corpus, kept, seconds }) {
  const executions = lastNumber(log, /number_of_executed_units: (\d+)/g) || lastNumber(log, /^#(\d+)/gm);
  const figures = [
    `${executions} executions`,
    `${seconds.toFixed(0)} s of a processor`,
    `${lastNumber(log, /average_exec_per_sec: +(\d+)/g)}/s`,
    `${lastNumber(log, /cov: (\d+)/g)} edges`,
    `${lastNumber(log, /ft: (\d+)/g)} features`,
    `corpus ${lastNumber(log, /corp: (\d+)/g)} (${corpus} new)`,
    `${kept.length} findings`,
  ];
  console.log(`fuzz ${name}: ${figures.join(", ")}`);
  if (code === 0 && kept.length === 0 && executions > 0) return true;
  console.log(log.slice(-6000).trimEnd());
  for (const file of kept) console.log(`fuzz ${name}: kept ${relative(root, join(root, "build-fuzz", "found", file))}`);
  console.log(`fuzz ${name}: FAILED (${code}${executions > 0 ? "" : ", nothing was executed"})`);
  return false;
}

async function main() {
  const wanted = harnesses.filter(({ name }) => !options.only || name === options.only);
  if (wanted.length === 0)
    fail(`no harness is called ${options.only}: ${harnesses.map(({ name }) => name).join(", ")}`);
  if (![Number(options.seconds), processorLimit, Number(options.jobs)].every((number) => number >= 1))
    fail("--seconds, --processor-seconds and --jobs are numbers from 1");
  const clang = findClang();
  if (!clang) notRun("no clang with libFuzzer here (Debian: apt-get install clang-14 libclang-rt-14-dev)");
  const begin = performance.now();
  const programs = build(
    clang,
    wanted.map(({ name }) => name),
  );
  console.log(`fuzz: built in ${((performance.now() - begin) / 1000).toFixed(0)} s with ${clang}`);
  const found = join(root, "build-fuzz", "found");
  mkdirSync(found, { recursive: true });
  const queue = wanted.filter(({ name }) => statSync(join(programs, `fuzz-${name}`)).isFile());
  const results = [];
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) results.push(report(await run(programs, next, found)));
  };
  await Promise.all(Array.from({ length: Number(options.jobs) }, worker));
  process.exitCode = results.every(Boolean) ? 0 : 1;
}

await main();
