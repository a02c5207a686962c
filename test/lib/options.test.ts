import t from "tap";
import { embedOptions, loadOptions, readOptions } from "../../lib/options";
import { rejectsWith } from "../helpers/rejects";

const readLoad = (given: unknown) => readOptions(loadOptions, given);
const readEmbed = (given: unknown) => readOptions(embedOptions, given);

t.test("defaults are filled in and undefined counts as absent", async (t) => {
  t.match(readEmbed(undefined), { isQuery: true, overflow: "error", specialTokens: "text", batchSize: 64 });
  t.match(readLoad({ threads: undefined, mmap: false }), {
    device: "auto",
    mmap: false,
    orientation: "exif",
    maxImagePixels: 64e6,
  });
});

t.test("a misspelt option is refused with the nearest known name GME_OPTION_INVALID", async (t) => {
  for (const [given, field, nearest] of [
    [{ treads: 2 }, "options.treads", "threads"],
    [{ maxtokens: 2 }, "options.maxtokens", "maxTokens"],
    [{ position: "mrope" }, "options.position", "positions"],
  ] as const) {
    const error = await rejectsWith(t, () => readLoad(given), "GME_OPTION_INVALID", field);
    t.match(error, { field, expected: nearest });
    t.match(error.message, nearest);
  }
  await rejectsWith(t, () => readEmbed({ isquery: false }), "GME_OPTION_INVALID");
  await rejectsWith(t, () => readEmbed({ zzzzzzz: false }), "GME_OPTION_INVALID", "nothing is near");
});

t.test("a value of the wrong type or out of range is refused GME_OPTION_INVALID", async (t) => {
  const bad: [string, unknown[]][] = [
    ["threads", [0, -1, 1.5, Number.NaN, 513, 1e6, "2", null, Infinity]],
    ["mmap", ["yes", 1, null]],
    ["positions", ["grid", null, 3]],
    ["orientation", ["upright"]],
    ["maxTokens", [0, -5, "many"]],
    ["onProgress", [true]],
    ["signal", [{}, new AbortController()]],
    ["mmproj", [3, null]],
    ["device", ["gpu", "", 1]],
  ];
  for (const [name, values] of bad) {
    for (const value of values) {
      const error = await rejectsWith(
        t,
        () => readLoad({ [name]: value }),
        "GME_OPTION_INVALID",
        `${name}: ${String(value)}`,
      );
      t.equal(error.field, `options.${name}`);
    }
  }
  for (const options of [null, 3, "x", []]) await rejectsWith(t, () => readLoad(options), "GME_OPTION_INVALID");
});

t.test("1, 64 and 512 threads are accepted", async (t) => {
  for (const threads of [1, 64, 512]) t.equal(readLoad({ threads }).threads, threads);
});

t.test("remoteImages takes a switch or a list of hosts", async (t) => {
  for (const remoteImages of [true, false, [], ["images.example.org", "[2606:4700::1]:8080"]])
    t.equal(readLoad({ remoteImages }).remoteImages, remoteImages);
  t.equal(readLoad({}).remoteImages, false);
  for (const remoteImages of [1, "images.example.org", {}, null, ["*"], [""], ["a/b"], [undefined]])
    await rejectsWith(t, () => readLoad({ remoteImages }), "GME_OPTION_INVALID", JSON.stringify(remoteImages));
});

t.test("a device is named by its kind, its number or its address", async (t) => {
  for (const device of ["auto", "cpu", "cuda", "metal", "vulkan", "cuda:1", "vulkan:12", "0000:c1:00.0"])
    t.equal(readLoad({ device }).device, device);
  for (const device of ["CPU", "cuda:", "cuda:100", "cuda:-1", " cpu", "cpu\n", "c1:00.0"])
    await rejectsWith(t, () => readLoad({ device }), "GME_OPTION_INVALID", device);
});

t.test("several devices: a list, or a text with commas; all alone", async (t) => {
  for (const device of [
    "all",
    "cuda:0,cuda:1",
    "cpu,cpu",
    ["cuda:0", "0000:c1:00.0"],
    ["all"],
    ["auto"],
    Array(64).fill("cpu"),
  ])
    t.strictSame(readLoad({ device }).device, device);
  const given = ["cuda:0", "cuda:1"];
  const { device } = readLoad({ device: given });
  given[0] = "gpu";
  t.strictSame(device, ["cuda:0", "cuda:1"], "a copy: what was checked is what is used");
  const bad: unknown[] = [
    [],
    ["gpu"],
    [1],
    [null],
    [["cpu"]],
    ["all", "cpu"],
    ["cpu", "auto"],
    ["cpu,cpu"],
    "cpu,",
    ",",
    "cpu, cpu",
    "all,cpu",
    "auto,cpu",
    {},
    true,
  ];
  for (const device of bad) {
    const error = await rejectsWith(t, () => readLoad({ device }), "GME_OPTION_INVALID", JSON.stringify(device));
    t.match(error, { field: "options.device", expected: /a device|auto, all, cpu/ });
  }
  const many = await rejectsWith(t, () => readLoad({ device: Array(65).fill("cpu") }), "GME_OPTION_INVALID");
  t.match(many, { field: "options.device.length", value: 65 });
});

t.test("a getter of an options object is read once", async (t) => {
  let reads = 0;
  const options = {
    get threads() {
      reads++;
      return 2;
    },
  };
  readLoad(options);
  t.equal(reads, 1);
});
