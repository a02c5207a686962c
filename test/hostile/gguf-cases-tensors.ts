// G042–G062: names, shapes, types and ranges of tensors.
import { type GoodFile, type HostileCase, type HostileRow, patched, withTensor } from "./gguf-cases";
import { type GgufTensorEntry, type GgufTree, ggufType } from "./gguf-tree";

const lastIndex = (good: GoodFile): number => good.layout.tensors.length - 1;
/** Number of the tensor that withTensor adds. */
const addedTensor = ({ tree }: GoodFile): number => tree.tensors.length;

/** A tensor of that name added to the good file. */
const named = (title: string, name: string | Buffer): HostileCase => ({
  title,
  make: (good) => withTensor(good, { name }),
  code: "GME_TENSOR_BAD_NAME",
  field: (good) => `tensor[${addedTensor(good)}].name`,
});

const nameLength = (title: string, length: bigint): HostileCase => ({
  title,
  make: (good) => patched(good, good.layout.tensors[3].length, ggufType.u64, length),
  code: "GME_TENSOR_BAD_NAME",
  field: "tensor[3].name",
});

function renamed(good: GoodFile, index: number, name: string | Buffer): GgufTree {
  const tree = good.tree;
  tree.tensors[index].name = name;
  return tree;
}

/** Two tensors that begin alike; the first of them is refused for its own sake. */
const alike = (title: string, first: string, second: string): HostileCase => ({
  title,
  make: (good) => {
    const tree = withTensor(good, { name: first });
    tree.tensors.push({ name: second, dims: [8], type: 0, data: Buffer.alloc(32) });
    return tree;
  },
  code: "GME_TENSOR_BAD_NAME",
  field: (good) => `tensor[${addedTensor(good)}].name`,
});

export const nameRows: HostileRow[] = [
  {
    id: "G042",
    title: "a tensor's name that is empty or too long is refused",
    cases: [
      named("0 bytes", ""),
      named("64 bytes", "n".repeat(64)),
      named("4 KiB", "n".repeat(4096)),
      ...[2n ** 63n, 2n ** 64n - 1n, 2n ** 32n, 64n].map((n) => nameLength(`a length of ${n}`, n)),
      { title: "63 bytes", make: (good) => withTensor(good, { name: "n".repeat(63) }) },
    ],
  },
  {
    id: "G043",
    title: "a tensor's name with other characters is refused",
    cases: [
      ...["a\0b", "\0", "a\nb", "a\x1b[2Jb", "../x", "a/b", "a\\b", "a b", "вес", "a\u202eb", "%s%n", 'a"b'].map(
        (name) => named(JSON.stringify(name), name),
      ),
      named("not UTF-8", Buffer.from([0x61, 0xff, 0x62])),
      named("an overlong slash", Buffer.from([0x2e, 0x2e, 0xc0, 0xaf])),
    ],
  },
  {
    id: "G044",
    title: "a tensor that stands twice is refused",
    cases: [
      {
        title: "the last is named like the first",
        make: (good) => renamed(good, lastIndex(good), good.firstTensor),
        code: "GME_TENSOR_DUP",
        field: ({ firstTensor }) => `tensor["${firstTensor}"]`,
      },
      {
        title: "an unused one twice",
        make: (good) => {
          const tree = withTensor(good, {});
          tree.tensors.push({ ...tree.tensors[tree.tensors.length - 1] });
          return tree;
        },
        code: "GME_TENSOR_DUP",
        field: 'tensor["extra.weight"]',
      },
    ],
  },
  {
    id: "G045",
    title: "names that are equal up to 63 bytes or up to NUL are refused",
    cases: [
      alike("63 bytes", `${"n".repeat(63)}a`, `${"n".repeat(63)}b`),
      alike("up to NUL", "n.weight\0a", "n.weight\0b"),
    ],
  },
];

/** The good file, in which a tensor says another shape; its data stays as it is. */
function shaped(good: GoodFile, dims: (number | bigint)[], type?: number): GgufTree {
  const tree = good.tree;
  const tensor = tree.tensors[0];
  Object.assign(tensor, { dims, ...(type !== undefined && { type }) });
  return tree;
}

const shapeCase = (
  title: string,
  dims: (number | bigint)[],
  code: string,
  part: string,
  type?: number,
): HostileCase => ({
  title,
  make: (good) => shaped(good, dims, type),
  code,
  field: ({ firstTensor }) => `tensor["${firstTensor}"]${part}`,
});

const power = (n: number): bigint => 2n ** BigInt(n);
const overflow = "GME_TENSOR_OVERFLOW";
const most = power(31) - 1n;
const types = { f32: 0, q8_0: 8, q8_1: 9, q4_k: 12, q6_k: 14, i8: 24, i16: 25, i32: 26, i64: 27, f64: 28 };

export const shapeRows: HostileRow[] = [
  {
    id: "G046",
    title: "a number of dimensions other than 1 to 4 is refused",
    cases: [0, 5, 8, 2 ** 31, 2 ** 32 - 1].map((n) => ({
      title: `${n}`,
      make: (good: GoodFile) => patched(good, good.layout.tensors[0].nDims, ggufType.u32, n),
      code: "GME_TENSOR_DIMS",
      field: ({ firstTensor }: GoodFile) => `tensor["${firstTensor}"].n_dims`,
    })),
  },
  {
    id: "G047",
    title: "a side of 0 is refused in each position",
    cases: [0, 1, 2, 3].map((i) =>
      shapeCase(
        `ne[${i}]`,
        [2, 2, 2, 2].map((side, j) => (i === j ? 0 : side)),
        "GME_TENSOR_DIMS",
        `.ne[${i}]`,
      ),
    ),
  },
  {
    id: "G048",
    title: "a side that is negative or over 2^31-1 is refused",
    cases: [-1n, -power(63), power(63) - 1n, power(31)].flatMap((side) => [
      shapeCase(`[${side}]`, [side], "GME_TENSOR_DIMS", ".ne[0]"),
      shapeCase(`[2, ${side}]`, [2, side], "GME_TENSOR_DIMS", ".ne[1]"),
      shapeCase(`[2, 2, 2, ${side}]`, [2, 2, 2, side], "GME_TENSOR_DIMS", ".ne[3]"),
    ]),
  },
  {
    id: "G049",
    title: "sides whose product wraps to 0 are refused",
    cases: [
      [power(32), power(32)],
      [power(62), 4n],
      [power(22), power(21), power(21)],
      [power(16), power(16), power(16), power(16)],
    ].map((dims) => shapeCase(`[${dims.join(", ")}]`, dims, overflow, ".ne")),
  },
  {
    id: "G050",
    title: "sides whose product wraps to a small or negative number are refused",
    cases: [
      [power(32) + 1n, power(32)],
      [power(32), power(31)],
      [power(31) - 1n, power(31) - 1n, 4n],
      [power(21), power(21), power(21), 2n],
    ].map((dims) => shapeCase(`[${dims.join(", ")}]`, dims, overflow, ".ne")),
  },
  {
    id: "G051",
    title: "sides that fit and whose bytes overflow are refused",
    cases: [
      shapeCase("F64", [power(30), power(30)], overflow, ".ne", types.f64),
      shapeCase("Q8_0", [power(30), power(30), 7n], overflow, ".ne", types.q8_0),
      shapeCase("Q6_K", [power(30), power(30), 3n], overflow, ".ne", types.q6_k),
      shapeCase("F32", [most, most], overflow, ".ne", types.f32),
    ],
  },
  {
    id: "G052",
    title: "a size of 2^64-4 bytes, whose padding would wrap, is refused",
    cases: [
      shapeCase("[2^62-1]", [power(62) - 1n], overflow, ".ne"),
      shapeCase("[2^31-1, 715827883, 3]", [most, 715_827_883n, 3n], overflow, ".ne"),
      shapeCase("2^63-4 bytes", [power(61) - 1n], overflow, ".ne"),
    ],
  },
  {
    id: "G053",
    title: "tensors whose sizes add up to more than 2^64 bytes are refused",
    cases: [
      { title: "2 of 2^63 bytes", make: (good: GoodFile) => twoOf(good, [power(30), power(30), 2n]), code: overflow },
      {
        title: "2 of nearly 2^63 bytes",
        make: (good: GoodFile) => twoOf(good, [power(30), power(30) - 1n, 2n]),
        code: "GME_TENSOR_BOUNDS",
      },
      {
        title: "2 of 2^62 bytes",
        make: (good: GoodFile) => twoOf(good, [power(30), power(30)]),
        code: "GME_TENSOR_BOUNDS",
      },
    ],
  },
  {
    id: "G054",
    title: "a row that is not whole blocks is refused",
    cases: [
      shapeCase("Q4_K with 64", [64, 4], "GME_TENSOR_SHAPE", ".ne[0]", types.q4_k),
      shapeCase("Q8_0 with 33", [33, 4], "GME_TENSOR_SHAPE", ".ne[0]", types.q8_0),
      shapeCase("Q8_0 with 1", [1, 32], "GME_TENSOR_SHAPE", ".ne[0]", types.q8_0),
      shapeCase("Q6_K with 255", [255], "GME_TENSOR_SHAPE", ".ne[0]", types.q6_k),
    ],
  },
];

function twoOf(good: GoodFile, dims: bigint[]): GgufTree {
  const tree = withTensor(good, { name: "extra.a", dims });
  tree.tensors.push({ name: "extra.b", dims, type: 0, data: Buffer.alloc(32) });
  return tree;
}

/** The types' numbers end before 43 in the vendored ggml; what comes later must be refused as unknown. */
const unknownTypes = [-1, 4, 5, 31, 32, 33, 36, 37, 38, 100, 255, 2 ** 31 - 1, 2 ** 31];

/** A matrix that the loader multiplies by, said to be of a type that ggml's CPU cannot multiply by. */
function multiplied(name: string, type: number, rowBlock: number, blockBytes: number): HostileCase {
  return {
    title: name,
    make: (good) => {
      const tree = good.tree;
      const tensor = tree.tensors.find((other) => other.name === good.matrix);
      if (tensor === undefined) throw new Error("the good files have that matrix");
      tensor.type = type;
      tensor.data = Buffer.alloc(
        (tensor.dims.reduce<number>((n, side) => n * Number(side), 1) / rowBlock) * blockBytes,
      );
      return tree;
    },
    code: "GME_TENSOR_TYPE",
    field: ({ matrix }) => `tensor["${matrix}"].type`,
    message: /unsupported for this model.*expected f32, f16, q4_0/,
  };
}

export const typeRows: HostileRow[] = [
  {
    id: "G055",
    title: "a tensor of a type that does not exist, or no longer, is refused",
    cases: unknownTypes.map((type) => shapeCase(`type ${type}`, [256], "GME_TENSOR_TYPE", ".type", type)),
  },
  {
    id: "G056",
    title: "a matrix of a type that the CPU does not multiply by is refused, listing those it does",
    cases: [
      multiplied("I8", types.i8, 1, 1),
      multiplied("I16", types.i16, 1, 2),
      multiplied("I32", types.i32, 1, 4),
      multiplied("I64", types.i64, 1, 8),
      multiplied("F64", types.f64, 1, 8),
      multiplied("Q8_1", types.q8_1, 32, 36),
    ],
  },
];

/** The offsets as the good file has them. */
function offsetsOf({ layout }: GoodFile): number[] {
  return layout.tensors.map(({ offset }) => Number(layout.bytes.readBigUInt64LE(offset)));
}

const offsetCase = (
  title: string,
  index: (good: GoodFile) => number,
  offset: (good: GoodFile, own: number) => number | bigint,
  code: string,
  part = "",
): HostileCase => ({
  title,
  make: (good) => {
    const place = good.layout.tensors[index(good)].offset;
    return patched(good, place, ggufType.u64, offset(good, Number(good.bytes.readBigUInt64LE(place))));
  },
  code,
  field: (good) => `tensor["${good.tree.tensors[index(good)].name}"]${part}`,
});

const last = lastIndex;
const bounds = "GME_TENSOR_BOUNDS";

/** Every tensor at the place that `place` gives it, from its own place. */
function moved(good: GoodFile, place: (own: number, index: number, tensors: GgufTensorEntry[]) => number): GgufTree {
  const tree = good.tree;
  for (const [i, own] of offsetsOf(good).entries()) tree.tensors[i].offset = place(own, i, tree.tensors);
  return tree;
}

const overlapCase = (title: string, offset: (own: number[]) => number): HostileCase => ({
  title,
  make: (good) => patched(good, good.layout.tensors[2].offset, ggufType.u64, offset(offsetsOf(good))),
  code: "GME_TENSOR_OVERLAP",
  field: /^tensor\["/,
  message: /two tensors share bytes: \S+ and \S+/,
});

/** Tensors in the reverse order of their data, or described in another order than their data. */
function unsorted(good: GoodFile, what: "data" | "descriptions"): GgufTree {
  const tree = good.tree;
  for (const [i, offset] of offsetsOf(good).entries()) tree.tensors[i].offset = offset;
  if (what === "descriptions") tree.tensors.reverse();
  else {
    let next = 0;
    for (const tensor of [...tree.tensors].reverse()) {
      tensor.offset = next;
      next += Math.ceil(tensor.data.length / tree.alignment) * tree.alignment;
    }
  }
  return tree;
}

const trailing = (title: string, bytes: number, refused: boolean): HostileCase => ({
  title,
  make: (good) => ({ size: good.bytes.length + bytes, pieces: [[0, good.bytes]] }),
  ...(refused && { code: "GME_GGUF_BAD_VALUE", field: "data_end", message: /trailing data/ }),
});

export const rangeRows: HostileRow[] = [
  {
    id: "G057",
    title: "an offset that is not aligned is refused",
    cases: [1, 16, 31].flatMap((by) => [
      offsetCase(`by ${by} (first)`, () => 0, (_, own) => own + by, "GME_TENSOR_OFFSET", ".offset"), // biome-ignore format: one line each
      offsetCase(`by ${by} (fifth)`, () => 4, (_, own) => own + by, "GME_TENSOR_OFFSET", ".offset"), // biome-ignore format: one line each
    ]),
  },
  {
    id: "G058",
    title: "an offset beyond the file is refused",
    cases: [
      offsetCase("the file's size", () => 1, ({ bytes }) => bytes.length, bounds), // biome-ignore format: one line each
      offsetCase("2^63", () => 1, () => power(63), bounds), // biome-ignore format: one line each
      offsetCase("2^64-32", () => 1, () => power(64) - 32n, bounds), // biome-ignore format: one line each
      offsetCase("2^63-32", last, () => power(63) - 32n, bounds), // biome-ignore format: one line each
      offsetCase("one byte too far for its size", last, (_, own) => own + 1, bounds), // biome-ignore format: one line each
      offsetCase("one unit of alignment too far", last, (_, own) => own + 32, bounds), // biome-ignore format: one line each
    ],
  },
  {
    id: "G059",
    title: "tensors that share bytes are refused, and both are named",
    cases: [
      overlapCase("the same offset", (own) => own[0]),
      overlapCase("a part", (own) => own[1] - 32),
      overlapCase("one inside the other", (own) => own[0] + 32),
    ],
  },
  {
    id: "G060",
    title: "a hole between tensors is refused, another order is not",
    cases: [
      ...[32, 64, 4096].map((hole) => ({
        title: `a hole of ${hole} bytes`,
        make: (good: GoodFile) => moved(good, (own, i) => own + (i > 1 ? hole : 0)),
        code: "GME_TENSOR_OFFSET",
        field: ({ tree }: GoodFile) => `tensor["${tree.tensors[2].name}"].offset`,
      })),
      {
        title: "a hole before the first",
        make: (good) => moved(good, (own) => own + 32),
        code: "GME_TENSOR_OFFSET",
        field: ({ firstTensor }) => `tensor["${firstTensor}"].offset`,
      },
      { title: "data in reverse", make: (good) => unsorted(good, "data") },
      { title: "descriptions in reverse", make: (good) => unsorted(good, "descriptions") },
    ],
  },
  {
    id: "G061",
    title: "data after the last tensor is refused",
    cases: [
      trailing("1 byte", 1, false),
      trailing("31 bytes", 31, false),
      trailing("32 bytes", 32, true),
      trailing("1 GiB of nothing", 2 ** 30, true),
    ],
  },
  {
    id: "G062",
    title: "an offset that points into the metadata is refused",
    cases: [
      offsetCase("-32", () => 0, () => -32n, bounds), // biome-ignore format: one line each
      offsetCase("the file's beginning", () => 0, ({ layout }) => -layout.dataStart, bounds), // biome-ignore format: one line each
      offsetCase("-32 of the last", last, () => -32n, bounds), // biome-ignore format: one line each
    ],
  },
];
