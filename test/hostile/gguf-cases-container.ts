// G001–G019 but for G011, which is in test/engine/test-gguf-file.cpp: cuts, wrong first bytes, lying counts.
import { type GoodFile, cut, type HostileCase, type HostileRow, indexOfType, keyField, patched } from "./gguf-cases";
import { type GgufTree, ggufType, layOut } from "./gguf-tree";

const truncated = "GME_GGUF_TRUNCATED";

const cutAt = (title: string, at: (good: GoodFile) => number, field: HostileCase["field"]): HostileCase => ({
  title,
  make: (good) => cut(good, at(good)),
  code: truncated,
  field,
});

/** A cut inside the first value of a type. */
function cutInValue(title: string, type: number, at: (place: ReturnType<typeof placeOf>) => number): HostileCase {
  return cutAt(
    title,
    (good) => at(placeOf(good, type)),
    (good) => keyField(good, indexOfType(good, type)),
  );
}

const placeOf = (good: GoodFile, type: number) => good.layout.keys[indexOfType(good, type)];

/** Cuts inside the first and the last tensor's description. */
function cutsInTensor(
  title: string,
  at: (place: GoodFile["layout"]["tensors"][number]) => number,
  field: (name: string, index: number) => string,
): HostileCase[] {
  const index = (good: GoodFile, last: boolean) => (last ? good.layout.tensors.length - 1 : 0);
  return [false, true].map((last) =>
    cutAt(
      `${title} of the ${last ? "last" : "first"} tensor`,
      (good) => at(good.layout.tensors[index(good, last)]),
      (good) => field(last ? good.lastTensor : good.firstTensor, index(good, last)),
    ),
  );
}

/** The good tree with a header that does not end on the alignment: its name grows until there is padding. */
function padded(good: GoodFile): GgufTree {
  const tree = good.tree;
  const name = tree.keys.find(({ key }) => key === "general.name");
  if (name === undefined) throw new Error("the good files have names");
  while (layOut(tree).headerEnd % tree.alignment !== 7) name.value += "x";
  return tree;
}

function cutPadding(title: string, at: (layout: ReturnType<typeof layOut>) => number): HostileCase {
  const make = (good: GoodFile) => {
    const layout = layOut(padded(good));
    return layout.bytes.subarray(0, at(layout));
  };
  return { title, make, code: truncated, field: "data_start" };
}

/** Where the tensor's data ends in the file. */
function endOf(good: GoodFile, index: number): number {
  const { bytes, tensors, dataStart } = good.layout;
  const offset = Number(bytes.readBigUInt64LE(tensors[index].offset));
  return dataStart + offset + good.tree.tensors[index].data.length;
}

const middleOf = ({ bytes, layout }: GoodFile): number => Math.floor((layout.dataStart + bytes.length) / 2);

/** The first tensor, in the order of the descriptions, that ends after `at`. */
function firstBeyond(good: GoodFile, at: number): string {
  return `tensor["${good.tree.tensors.find((_, i) => endOf(good, i) > at)?.name}"]`;
}

export const truncations: HostileRow[] = [
  {
    id: "G001",
    title: "an empty file is refused",
    cases: [{ title: "0 bytes", make: () => Buffer.alloc(0), code: truncated, field: "header.magic" }],
  },
  {
    id: "G002",
    title: "a file that ends inside its magic is refused",
    cases: [1, 2, 3].map((n) => cutAt(`${n} bytes`, () => n, "header.magic")),
  },
  {
    id: "G003",
    title: "a file that ends inside its version is refused",
    cases: [4, 5, 7].map((n) => cutAt(`${n} bytes`, () => n, "header.version")),
  },
  {
    id: "G004",
    title: "a file that ends inside its counts is refused",
    cases: [
      ...[8, 15].map((n) => cutAt(`${n} bytes`, () => n, "header.n_tensors")),
      ...[16, 23].map((n) => cutAt(`${n} bytes`, () => n, "header.n_kv")),
    ],
  },
  {
    id: "G005",
    title: "a file that ends inside a key is refused",
    cases: [0, 5, 17].flatMap((i) => [
      cutAt(`in the length of key ${i}`, ({ layout }) => layout.keys[i].length + 3, `kv[${i}].key`),
      cutAt(`in the bytes of key ${i}`, ({ layout }) => layout.keys[i].key + 3, `kv[${i}].key`),
      cutAt(`before the last byte of key ${i}`, ({ layout }) => layout.keys[i].type - 1, `kv[${i}].key`),
    ]),
  },
  {
    id: "G006",
    title: "a file that ends inside a value is refused",
    cases: [
      cutInValue("in the type of a value", ggufType.u32, ({ type }) => type + 1),
      cutInValue("in a scalar", ggufType.u32, ({ value }) => value + 1),
      cutInValue("before a boolean", ggufType.bool, ({ value }) => value),
      cutInValue("in the length of a string", ggufType.string, ({ count }) => (count ?? 0) + 3),
      cutInValue("in the bytes of a string", ggufType.string, ({ value }) => value + 1),
      cutInValue("in the element type of an array", ggufType.array, ({ element }) => (element ?? 0) + 1),
      cutInValue("in the length of an array", ggufType.array, ({ count }) => (count ?? 0) + 3),
      cutInValue("in the body of an array", ggufType.array, ({ end }) => end - 1),
      {
        ...cutAt(
          "in a token",
          ({ layout, tree }) => layout.keys[tree.keys.findIndex(({ element }) => element === 8)].end - 1,
          'kv["tokenizer.ggml.tokens"]',
        ),
        bases: ["decoder", "single"],
      },
    ],
  },
  {
    id: "G007",
    title: "a file that ends inside a tensor's description is refused",
    cases: [
      ...cutsInTensor(
        "in the length of the name",
        ({ length }) => length + 3,
        (_, i) => `tensor[${i}].name`,
      ),
      ...cutsInTensor(
        "in the name",
        ({ name }) => name + 3,
        (_, i) => `tensor[${i}].name`,
      ),
      ...cutsInTensor(
        "in n_dims",
        ({ nDims }) => nDims + 2,
        (name) => `tensor["${name}"].n_dims`,
      ),
      ...cutsInTensor(
        "in ne",
        ({ dims }) => dims[0] + 5,
        (name) => `tensor["${name}"].ne[0]`,
      ),
      ...cutsInTensor(
        "in the type",
        ({ type }) => type + 1,
        (name) => `tensor["${name}"].type`,
      ),
      ...cutsInTensor(
        "in the offset",
        ({ offset }) => offset + 7,
        (name) => `tensor["${name}"].offset`,
      ),
    ],
  },
  {
    id: "G008",
    title: "a file that ends inside the padding before its data is refused",
    cases: [
      cutPadding("after the last description", ({ headerEnd }) => headerEnd),
      cutPadding("in the padding", ({ headerEnd }) => headerEnd + 5),
      cutPadding("before the padding's last byte", ({ dataStart }) => dataStart - 1),
    ],
  },
  {
    id: "G009",
    title: "a file that lacks the last byte of its last tensor is refused",
    cases: [
      {
        title: "1 byte short",
        make: (good) => cut(good, endOf(good, good.layout.tensors.length - 1) - 1),
        code: "GME_TENSOR_BOUNDS",
        field: ({ lastTensor }) => `tensor["${lastTensor}"]`,
      },
    ],
  },
  {
    id: "G010",
    title: "a file that ends in the middle of its data is refused, naming the first tensor beyond the end",
    cases: [
      {
        title: "half of the data",
        make: (good) => cut(good, middleOf(good)),
        code: "GME_TENSOR_BOUNDS",
        field: (good) => firstBeyond(good, middleOf(good)),
      },
      {
        title: "no data",
        make: (good) => cut(good, good.layout.dataStart),
        code: "GME_TENSOR_BOUNDS",
        field: ({ firstTensor }) => `tensor["${firstTensor}"]`,
      },
    ],
  },
];

function otherFormat(title: string, magic: string | Buffer, message: RegExp): HostileCase {
  const head = typeof magic === "string" ? Buffer.from(magic, "latin1") : magic;
  const make = ({ bytes }: GoodFile) => Buffer.concat([head, bytes.subarray(head.length)]);
  return { title, make, code: "GME_GGUF_BAD_MAGIC", field: "header.magic", message };
}

const countCase = (title: string, at: number, value: bigint, field: string): HostileCase => ({
  title,
  make: (good) => patched(good, at, ggufType.u64, value),
  code: "GME_GGUF_LIMIT",
  field,
});

const countOff = (name: string, at: number, by: bigint): HostileCase => ({
  title: `${name} of one ${by > 0n ? "more" : "fewer"} than there are`,
  make: (good) => patched(good, at, ggufType.u64, good.bytes.readBigUInt64LE(at) + by),
  code: /^GME_(GGUF|TENSOR)_/,
});

const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 4444444444\n`;

export const headers: HostileRow[] = [
  {
    id: "G012",
    title: "a file of another kind is refused, and the message says what it looks like",
    cases: [
      ...["GGML", "ggjt", "lmgg", "tjgg", "fmgg"].map((magic) => otherFormat(magic, magic, /an old GGML file/)),
      otherFormat("a zip archive", "PK\x03\x04\x14\x00", /a zip archive or a PyTorch checkpoint/),
      otherFormat("an ELF program", "\x7fELF\x02\x01\x01", /a program/),
      otherFormat(
        "safetensors",
        Buffer.from('\x40\x01\0\0\0\0\0\0{"a":{"dtype":"F32"}}', "latin1"),
        /a safetensors file/,
      ),
      ...[2, 3, 4, 5].map((n) => otherFormat(`a pickle of protocol ${n}`, Buffer.from([0x80, n, 0x7d]), /a pickle/)),
      otherFormat("a web page", "<!DOCTYPE html><html><title>404 Not Found</title>", /a web page/),
      otherFormat("a bare web page", "<html><body>404</body></html>", /a web page/),
      otherFormat("a web page in capitals", "<HTML><BODY>404</BODY></HTML>", /a web page/),
      { ...otherFormat("a Git LFS pointer", "", /a Git LFS pointer, not a model/), make: () => Buffer.from(pointer) },
      otherFormat("zeros", Buffer.alloc(64), /not a GGUF file/),
      otherFormat("lower case", "gguf", /not a GGUF file/),
      { ...otherFormat("4 bytes of it", "", /not a GGUF file/), make: () => Buffer.from("GGUX") },
    ],
  },
  {
    id: "G013",
    title: "a version that is not read is refused",
    cases: [0, 1, 2, 4, 2 ** 32 - 1].map((version) => ({
      title: `version ${version}`,
      make: (good: GoodFile) => patched(good, 4, ggufType.u32, version),
      code: "GME_GGUF_BAD_VERSION",
      field: "header.version",
    })),
  },
  {
    id: "G014",
    title: "a big-endian file is refused",
    cases: [
      {
        title: "version 0x03000000 and counts",
        make: (good) => {
          const bytes = patched(good, 4, ggufType.u32, 0x03000000);
          bytes.subarray(8, 16).swap64();
          bytes.subarray(16, 24).swap64();
          return bytes;
        },
        code: "GME_GGUF_ENDIAN",
        field: "header.version",
      },
    ],
  },
  {
    id: "G015",
    title: "a number of tensors over the limit is refused",
    cases: [2n ** 63n, 2n ** 64n - 1n, 2n ** 62n, 2n ** 31n, 16_385n].map((n) =>
      countCase(`${n} tensors`, 8, n, "header.n_tensors"),
    ),
  },
  {
    id: "G016",
    title: "a number of keys over the limit is refused",
    cases: [2n ** 64n - 1n, 2n ** 63n, 2n ** 62n, 4_097n].map((n) => countCase(`${n} keys`, 16, n, "header.n_kv")),
  },
  {
    id: "G017",
    title: "a number of keys that is off by one is a typed error",
    cases: [countOff("keys", 16, 1n), countOff("keys", 16, -1n)],
  },
  {
    id: "G018",
    title: "a file without tensors is refused, naming the first that is missing",
    cases: [
      { title: "a count of 0", make: (good: GoodFile) => patched(good, 8, ggufType.u64, 0) },
      { title: "no descriptions", make: ({ tree }: GoodFile) => ({ ...tree, tensors: [] }) },
    ].map((one) => ({
      ...one,
      code: "GME_TENSOR_MISSING",
      field: ({ required }: GoodFile) => `tensor["${required}"]`,
    })),
  },
  {
    id: "G019",
    title: "a number of tensors that is off by one is a typed error",
    cases: [countOff("tensors", 8, 1n), countOff("tensors", 8, -1n)],
  },
];
