// G020–G041 but for G025, G026, G035 and G036, which measure (gguf-values.test.ts): keys, values, alignment.
import {
  addedAt,
  type Base,
  type GoodFile,
  type HostileCase,
  type HostileRow,
  indexOfType,
  keyField,
  patched,
  text,
  u32,
  withEntries,
} from "./gguf-cases";
import { type GgufEntry, type GgufTree, ggufType, layOut } from "./gguf-tree";

const added = `kv[${addedAt}].key`;
const limit = "GME_GGUF_LIMIT";
const badValue = "GME_GGUF_BAD_VALUE";

const withKey = (title: string, key: string | Buffer, code: string): HostileCase => ({
  title,
  make: (good) => withEntries(good, u32(key, 1)),
  code,
  field: added,
});

const entryCase = (title: string, entry: GgufEntry, code?: string): HostileCase => ({
  title,
  make: (good) => withEntries(good, entry),
  ...(code !== undefined && { code, field: `kv["${entry.key}"]` }),
});

const keyLength = (length: bigint, code: string): HostileCase => ({
  title: `a key of ${length} bytes`,
  make: (good) => patched(good, good.layout.keys[addedAt].length, ggufType.u64, length),
  code,
  field: added,
});

/** The good file, cut so that a few bytes follow the length of key 2, which asks for one more. */
function keyBeyondTheEnd(good: GoodFile): Buffer {
  const { length, key } = good.layout.keys[addedAt];
  return patched(good, length, ggufType.u64, 11).subarray(0, key + 10);
}

const twice = (title: string, second: (first: GgufEntry) => GgufEntry): HostileCase => ({
  title,
  make: (good) => {
    const tree = good.tree;
    tree.keys.push(second(tree.keys[1]));
    return tree;
  },
  code: "GME_GGUF_DUP_KEY",
  field: (good) => keyField(good, 1),
  message: /at bytes \d+ and \d+/,
});

const badUtf8: [string, number[]][] = [
  ["a lone continuation", [0x61, 0x80]],
  ["an overlong NUL", [0xc0, 0x80]],
  ["an overlong slash", [0xe0, 0x80, 0xaf]],
  ["a surrogate", [0xed, 0xa0, 0x80]],
  ["a point above U+10FFFF", [0xf4, 0x90, 0x80, 0x80]],
  ["a cut sequence", [0x61, 0xe2, 0x82]],
  ["byte 0xff", [0xff]],
];

export const keyRows: HostileRow[] = [
  { id: "G020", title: "an empty key is refused", cases: [withKey("length 0", "", badValue)] },
  {
    id: "G021",
    title: "a key that is too long, or longer than the file, is refused",
    cases: [
      keyLength(2n ** 63n, limit),
      keyLength(2n ** 64n - 1n, limit),
      keyLength(257n, limit),
      withKey("257 bytes that are there", "k".repeat(257), limit),
      { title: "one byte more than is left", make: keyBeyondTheEnd, code: "GME_GGUF_TRUNCATED", field: added },
      { title: "256 bytes", make: (good) => withEntries(good, u32("k".repeat(256), 1)) },
    ],
  },
  {
    id: "G022",
    title: "a key with NUL is refused",
    cases: [
      ...["\0", "\0a.b", "a\0b", "a.b\0"].map((key) => withKey(JSON.stringify(key), key, badValue)),
      ...["a b", "a/b", "ключ", "a\nb", "a\u202eb"].map((key) => withKey(JSON.stringify(key), key, badValue)),
    ],
  },
  {
    id: "G023",
    title: "a key that is not UTF-8 is refused",
    cases: badUtf8.map(([title, bytes]) => withKey(title, Buffer.from(bytes), "GME_GGUF_BAD_UTF8")),
  },
  {
    id: "G024",
    title: "a key that stands twice is refused, and both places are named",
    cases: [
      twice("with the same value", (first) => first),
      twice("with another value", (first) => ({ ...first, value: "other" })),
      twice("with another type", ({ key }) => u32(key, 7)),
    ],
  },
];

/** A number written over the length of general.name. */
const stringLength = (title: string, length: (good: GoodFile) => bigint, code: string): HostileCase => ({
  title,
  make: (good) => patched(good, nameCount(good), ggufType.u64, length(good)),
  code,
  field: 'kv["general.name"]',
});

const nameCount = ({ layout, tree }: GoodFile): number =>
  layout.keys[tree.keys.findIndex(({ key }) => key === "general.name")].count ?? 0;

const left = ({ bytes }: GoodFile, at: number): bigint => BigInt(bytes.length - at);

/** Keys whose text the loader uses, and the files that have them. */
const usedKeys: [string, readonly Base[]][] = [
  ["general.architecture", ["decoder", "single"]],
  ["general.name", ["decoder", "single"]],
  ["tokenizer.ggml.model", ["decoder", "single"]],
  ["tokenizer.ggml.pre", ["decoder", "single"]],
  ["clip.projector_type", ["mmproj", "single"]],
];

function replaced(good: GoodFile, key: string, change: (old: string) => string | Buffer): GgufTree {
  const tree = good.tree;
  const entry = tree.keys.find((other) => other.key === key);
  if (entry !== undefined) entry.value = change(String(entry.value));
  return tree;
}

const usedText = (title: string, change: (old: string) => string | Buffer, code: string): HostileCase[] =>
  usedKeys.map(([key, bases]) => ({
    title: `${key} ${title}`,
    make: (good) => replaced(good, key, change),
    code,
    field: `kv["${key}"]`,
    bases,
  }));

/** A number written over the length of the first array. */
const arrayLength = (title: string, length: (good: GoodFile) => bigint, code: string): HostileCase => ({
  title,
  make: (good) => patched(good, arrayPlace(good).count ?? 0, ggufType.u64, length(good)),
  code,
  field: (good) => keyField(good, indexOfType(good, ggufType.array)),
});

const arrayPlace = (good: GoodFile) => good.layout.keys[indexOfType(good, ggufType.array)];

/** An array that holds an array, `depth` times over; the innermost holds one u8. */
function nested(depth: number): GgufEntry {
  const inner = Buffer.alloc(12 * depth + 13);
  for (let i = 0; i < depth; i++) {
    inner.writeUInt32LE(ggufType.array, 12 * i);
    inner.writeBigUInt64LE(1n, 12 * i + 4);
  }
  inner.writeBigUInt64LE(1n, 12 * depth + 4);
  return { key: "hostile.nested", type: ggufType.array, value: inner };
}

const array = (key: string, element: number, value: (number | bigint | string)[]): GgufEntry => ({
  key,
  type: ggufType.array,
  element,
  value,
});

/** An array as its header says it, over bytes that say what they like. */
function rawArray(element: number | bigint, count: bigint, body = Buffer.alloc(16)): GgufEntry {
  const head = Buffer.alloc(12);
  head.writeUInt32LE(Number(BigInt.asUintN(32, BigInt(element))));
  head.writeBigUInt64LE(count, 4);
  return { key: "hostile.array", type: ggufType.array, value: Buffer.concat([head, body]) };
}

export const valueRows: HostileRow[] = [
  {
    id: "G027",
    title: "a value of no known type is refused",
    cases: [13, 14, 255, 2 ** 31 - 1, 2 ** 31, -1].map((type) =>
      entryCase(`type ${type}`, { key: "hostile.value", type, value: Buffer.alloc(64) }, "GME_GGUF_BAD_TYPE"),
    ),
  },
  {
    id: "G028",
    title: "a boolean that is neither 0 nor 1 is refused",
    cases: [
      ...[2, 127, 128, 255].map((value) =>
        entryCase(`${value}`, { key: "hostile.flag", type: ggufType.bool, value }, badValue),
      ),
      entryCase("2 in an array", array("hostile.flags", ggufType.bool, [0, 1, 2]), badValue),
      entryCase(
        "255 as the last of 70,000",
        array("hostile.flags", ggufType.bool, [...Array(69_999).fill(1), 255]),
        badValue,
      ),
      entryCase("70,000 good ones", array("hostile.flags", ggufType.bool, Array(70_000).fill(1))),
    ],
  },
  {
    id: "G029",
    title: "a string longer than the limit or the file is refused",
    cases: [
      stringLength("2^63 bytes", () => 2n ** 63n, limit),
      stringLength("2^64-1 bytes", () => 2n ** 64n - 1n, limit),
      stringLength("2^40 bytes", () => 2n ** 40n, limit),
      stringLength("2^32 bytes", () => 2n ** 32n, limit),
      stringLength("one byte more than is left", (good) => left(good, nameCount(good) + 8) + 1n, "GME_GGUF_TRUNCATED"),
    ],
  },
  {
    id: "G030",
    title: "a text that the loader uses is refused when it has NUL or is not UTF-8",
    cases: [
      ...usedText("ends in NUL", (old) => `${old}\0`, badValue),
      ...usedText("is NUL", () => "\0", badValue),
      ...badUtf8
        .slice(0, 4)
        .flatMap(([title, bytes]) =>
          usedText(`has ${title}`, (old) => Buffer.concat([Buffer.from(old), Buffer.from(bytes)]), "GME_GGUF_BAD_UTF8"),
        ),
    ],
  },
  {
    id: "G031",
    title: "a string over 4 MiB is refused",
    cases: [
      entryCase("4 MiB + 1", text("hostile.text", Buffer.alloc(2 ** 22 + 1, 0x61)), limit),
      entryCase("4 MiB", text("hostile.text", Buffer.alloc(2 ** 22, 0x61))),
    ],
  },
  {
    id: "G032",
    title: "an array longer than the limit or the file is refused",
    cases: [
      ...[2n ** 63n, 2n ** 64n - 1n, 2n ** 60n, 2n ** 61n, 2n ** 32n, 1_048_577n].map((n) =>
        arrayLength(`${n} elements`, () => n, limit),
      ),
      arrayLength(
        "one element more than is left",
        (good) => left(good, arrayPlace(good).value) / 4n + 1n,
        "GME_GGUF_TRUNCATED",
      ),
      ...[0, 2, 4, 7, 8, 10, 12].map((element) =>
        entryCase(`2^60 elements of type ${element}`, rawArray(element, 2n ** 60n), limit),
      ),
      {
        title: "1,048,576 numbers of 8 bytes in a file that lacks them",
        make: (good) => withEntries(good, rawArray(ggufType.f64, 2n ** 20n)),
        code: "GME_GGUF_TRUNCATED",
        field: 'kv["hostile.array"]',
      },
      entryCase("no elements", array("hostile.array", ggufType.i64, [])),
      entryCase("no strings", array("hostile.array", ggufType.string, [])),
    ],
  },
  {
    id: "G033",
    title: "an array of arrays is refused, however deep",
    cases: [1, 2, 10_000].map((depth) => entryCase(`depth ${depth}`, nested(depth), "GME_GGUF_BAD_TYPE")),
  },
  {
    id: "G034",
    title: "an array of elements of no known type is refused",
    cases: [9, 13, 255, 2 ** 31 - 1, -1].map((element) =>
      entryCase(`type ${element}`, rawArray(element, 2n), "GME_GGUF_BAD_TYPE"),
    ),
  },
];

const alignmentKey = "general.alignment";
const alignmentField = `kv["${alignmentKey}"]`;

const alignmentCase = (title: string, entry: Omit<GgufEntry, "key">, code: string): HostileCase => ({
  title,
  make: (good) => withEntries(good, { key: alignmentKey, ...entry }),
  code,
  field: alignmentField,
});

/** The good file with another alignment, stated before or after every other key. */
function realigned(good: GoodFile, alignment: number, last: boolean): GgufTree {
  const tree = { ...good.tree, alignment };
  const entry = u32(alignmentKey, alignment);
  if (last) tree.keys.push(entry);
  else tree.keys.unshift(entry);
  return tree;
}

/** Every tensor but the first 32 bytes further, and an alignment of 64 that the data's start has but the offsets have not. */
function halfAligned(good: GoodFile): Buffer {
  const tree = withEntries(good, u32(alignmentKey, 64));
  const places = layOut(tree);
  tree.alignment = 64;
  for (const [i, tensor] of tree.tensors.entries()) {
    if (i > 0) tensor.offset = Number(places.bytes.readBigUInt64LE(places.tensors[i].offset)) + 32;
  }
  return layOut(tree).bytes;
}

export const alignmentRows: HostileRow[] = [
  {
    id: "G037",
    title: "an alignment that is no power of two from 8 is refused",
    cases: [0, 1, 2, 3, 4, 7, 12, 48].map((value) =>
      alignmentCase(`${value}`, { type: ggufType.u32, value }, badValue),
    ),
  },
  {
    id: "G038",
    title: "an alignment over 65,536 is refused",
    cases: [2 ** 17, 2 ** 31, 2 ** 32 - 1].map((value) => ({
      ...alignmentCase(`${value}`, { type: ggufType.u32, value }, badValue),
      message: /8\.\.65536/,
    })),
  },
  {
    id: "G039",
    title: "an alignment of another type is refused",
    cases: [
      alignmentCase("i32", { type: ggufType.i32, value: 32 }, "GME_GGUF_WRONG_TYPE"),
      alignmentCase("u64", { type: ggufType.u64, value: 32n }, "GME_GGUF_WRONG_TYPE"),
      alignmentCase("f32", { type: ggufType.f32, value: 32 }, "GME_GGUF_WRONG_TYPE"),
      alignmentCase("bool", { type: ggufType.bool, value: 1 }, "GME_GGUF_WRONG_TYPE"),
      alignmentCase("a string", { type: ggufType.string, value: "32" }, "GME_GGUF_WRONG_TYPE"),
      alignmentCase("an array", { type: ggufType.array, element: ggufType.u32, value: [32] }, "GME_GGUF_WRONG_TYPE"),
    ],
  },
  {
    id: "G040",
    title: "offsets that are multiples of 32 are refused where the file says 64",
    cases: [
      {
        title: "64",
        make: halfAligned,
        code: "GME_TENSOR_OFFSET",
        field: ({ tree }) => `tensor["${tree.tensors[1].name}"].offset`,
      },
    ],
  },
  {
    id: "G041",
    title: "an alignment is used wherever it stands among the keys",
    cases: [8, 16, 64, 4096, 65536].flatMap((alignment) =>
      [true, false].map((last) => ({
        title: `${alignment}, as the ${last ? "last" : "first"} key`,
        make: (good: GoodFile) => realigned(good, alignment, last),
      })),
    ),
  },
];
