// Seeded mutations of GGUF trees that know the structure: lengths, counts, types, names, ranges, and then the bytes.
import {
  copyTree,
  type GgufEntry,
  type GgufScalar,
  type GgufTensorEntry,
  type GgufTree,
  ggufType,
  layOut,
  type TreeLayout,
} from "./gguf-tree";

/** Numbers in [0, 1). */
export type Random = () => number;

const below = (random: Random, n: number): number => Math.floor(random() * n);
const one = <T>(random: Random, list: readonly T[]): T => list[below(random, list.length)];

const limits = [256, 4_096, 16_384, 1_048_576, 4 << 20, 256 << 20, 63, 65_536, 8];

/** Numbers that break arithmetic: around 0, around powers of two, around the reader's limits and around what is there. */
export function hostileNumber(random: Random, present: number | bigint = 0): bigint {
  const nearby = BigInt(one(random, [-1, 0, 1]));
  switch (below(random, 6)) {
    case 0:
      return nearby;
    case 1:
      return 2n ** BigInt(below(random, 65)) + nearby;
    case 2:
      return -(2n ** BigInt(below(random, 64))) + nearby;
    case 3:
      return BigInt(one(random, limits)) + nearby;
    case 4:
      return BigInt(Math.trunc(Number(present)) || 0) + BigInt(below(random, 64) - 32);
    default:
      return BigInt(below(random, 1 << 16));
  }
}

export function randomBytes(random: Random, n: number): Buffer {
  return Buffer.from(Array.from({ length: n }, () => below(random, 256)));
}

const hostileFloats = [
  0,
  -1,
  1e38,
  -1e38,
  1e-45,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  0.5,
  2,
];

function hostileText(random: Random, present: string): string | Buffer {
  switch (below(random, 7)) {
    case 0:
      return "";
    case 1:
      return `${present}\0`;
    case 2:
      return randomBytes(random, below(random, 40));
    case 3:
      return present.slice(0, below(random, present.length + 1));
    case 4:
      return "x".repeat(one(random, [63, 64, 256, 257, 4096, 4097, 70_000]));
    case 5:
      return one(random, ["../../x", "__proto__", "%s%n", "\u202e", "\x1b[2J", "nan", "-1"]);
    default:
      return present + present;
  }
}

function hostileScalar(random: Random, type: number, present: GgufScalar): GgufScalar {
  if (type === ggufType.string) return hostileText(random, String(present));
  if (type === ggufType.f32 || type === ggufType.f64) return one(random, hostileFloats);
  return hostileNumber(random, typeof present === "number" || typeof present === "bigint" ? present : 0);
}

type TreeMutation = (random: Random, tree: GgufTree) => void;

const someEntry = (random: Random, tree: GgufTree): GgufEntry | undefined => tree.keys[below(random, tree.keys.length)];
const someTensor = (random: Random, tree: GgufTree): GgufTensorEntry | undefined =>
  tree.tensors[below(random, tree.tensors.length)];

function changeArray(random: Random, entry: GgufEntry, values: GgufScalar[]): void {
  const at = below(random, values.length);
  switch (below(random, 6)) {
    case 0:
      entry.value = [];
      break;
    case 1:
      entry.value = values.slice(0, at);
      break;
    case 2:
      entry.value = [...values, ...values];
      break;
    case 3:
      if (values.length > 0) values[at] = hostileScalar(random, entry.element ?? 0, values[at]);
      break;
    case 4:
      if (values.length > 1) values[at] = values[below(random, values.length)];
      break;
    default:
      entry.value = values.map(() => 1);
      entry.element = one(random, [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12]);
  }
}

const changeValue: TreeMutation = (random, tree) => {
  const entry = someEntry(random, tree);
  if (entry === undefined) return;
  if (Array.isArray(entry.value)) changeArray(random, entry, entry.value);
  else if (Buffer.isBuffer(entry.value) && entry.type !== ggufType.string)
    entry.value = randomBytes(random, below(random, 32));
  else entry.value = hostileScalar(random, entry.type, entry.value);
};

const changeType: TreeMutation = (random, tree) => {
  const entry = someEntry(random, tree);
  if (entry === undefined) return;
  entry.type = one(random, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 255, -1]);
  delete entry.element;
  entry.value = randomBytes(random, one(random, [1, 2, 4, 8, 12, 24]));
};

/** The same number in a type of another width: what a writer in another language would make. */
const changeWidth: TreeMutation = (random, tree) => {
  const entry = someEntry(random, tree);
  if (typeof entry?.value === "number" && Number.isInteger(entry.value))
    entry.type = one(random, [0, 1, 2, 3, 4, 5, 10, 11]);
};

const moveEntries: TreeMutation = (random, { keys }) => {
  const [from, to] = [below(random, keys.length), below(random, keys.length)];
  if (keys.length < 2) return;
  switch (below(random, 4)) {
    case 0:
      keys.splice(from, 1);
      break;
    case 1:
      keys.splice(to, 0, { ...keys[from] });
      break;
    case 2:
      [keys[from], keys[to]] = [keys[to], keys[from]];
      break;
    default:
      [keys[from].value, keys[to].value] = [keys[to].value, keys[from].value];
      [keys[from].type, keys[to].type] = [keys[to].type, keys[from].type];
      [keys[from].element, keys[to].element] = [keys[to].element, keys[from].element];
  }
};

const renameKey: TreeMutation = (random, tree) => {
  const entry = someEntry(random, tree);
  if (entry !== undefined) entry.key = hostileText(random, String(entry.key));
};

const changeShape: TreeMutation = (random, tree) => {
  const tensor = someTensor(random, tree);
  if (tensor === undefined) return;
  const { dims } = tensor;
  switch (below(random, 5)) {
    case 0:
      dims[below(random, dims.length)] = hostileNumber(random, dims[0]);
      break;
    case 1:
      dims.reverse();
      break;
    case 2:
      dims.push(one(random, [1, 2, 0]));
      break;
    case 3:
      dims.pop();
      break;
    default:
      tensor.dims = [dims.reduce<number>((n, side) => n * Number(side), 1)];
  }
};

const changeTensorType: TreeMutation = (random, tree) => {
  const tensor = someTensor(random, tree);
  if (tensor !== undefined) tensor.type = one(random, [...Array(48).keys(), -1, 255, 2 ** 31]);
};

const renameTensor: TreeMutation = (random, tree) => {
  const [tensor, other] = [someTensor(random, tree), someTensor(random, tree)];
  if (tensor === undefined || other === undefined) return;
  if (random() < 0.5) tensor.name = hostileText(random, String(tensor.name));
  else [tensor.name, other.name] = [other.name, tensor.name];
};

const moveTensors: TreeMutation = (random, { tensors }) => {
  const [from, to] = [below(random, tensors.length), below(random, tensors.length)];
  if (tensors.length < 2) return;
  switch (below(random, 4)) {
    case 0:
      tensors.splice(from, 1);
      break;
    case 1:
      tensors.splice(to, 0, { ...tensors[from] });
      break;
    case 2:
      [tensors[from], tensors[to]] = [tensors[to], tensors[from]];
      break;
    default:
      [tensors[from].data, tensors[to].data] = [tensors[to].data, tensors[from].data];
  }
};

const changeOffset: TreeMutation = (random, tree) => {
  const tensor = someTensor(random, tree);
  if (tensor === undefined) return;
  const number = hostileNumber(random, 0);
  tensor.offset = random() < 0.5 ? number * BigInt(tree.alignment) : number;
};

const changeData: TreeMutation = (random, tree) => {
  const tensor = someTensor(random, tree);
  if (tensor === undefined) return;
  const data = Buffer.from(tensor.data);
  const at = below(random, data.length);
  switch (below(random, 5)) {
    case 0:
      data.fill(0);
      break;
    case 1:
      data.fill(0xff);
      break;
    case 2:
      randomBytes(random, Math.min(64, data.length - at)).copy(data, at);
      break;
    case 3:
      data.fill(one(random, [0x7f, 0x80, 0x41]), at);
      break;
    default:
      tensor.data = data.subarray(0, at);
      return;
  }
  tensor.data = data;
};

const changeCounts: TreeMutation = (random, tree) => {
  if (random() < 0.5) tree.nKeys = hostileNumber(random, tree.keys.length);
  else tree.nTensors = hostileNumber(random, tree.tensors.length);
};

const changeAlignment: TreeMutation = (random, tree) => {
  const value = one(random, [8, 16, 64, 128, 65_536, 4, 0, 131_072, 33]);
  tree.keys.splice(below(random, tree.keys.length + 1), 0, { key: "general.alignment", type: ggufType.u32, value });
  if (value >= 8 && value <= 65_536 && random() < 0.7) tree.alignment = value;
};

const addEntry: TreeMutation = (random, tree) => {
  const key = `hostile.${below(random, 1000)}`;
  const element = one(random, [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12]);
  const value = Array.from({ length: below(random, 300) }, () => below(random, 2));
  tree.keys.splice(below(random, tree.keys.length + 1), 0, { key, type: ggufType.array, element, value });
};

const treeMutations: readonly TreeMutation[] = [
  changeValue,
  changeValue,
  changeValue,
  changeType,
  changeWidth,
  moveEntries,
  renameKey,
  changeShape,
  changeTensorType,
  renameTensor,
  moveTensors,
  changeOffset,
  changeData,
  changeData,
  changeCounts,
  changeAlignment,
  addEntry,
];

/** Overwrites lengths, counts and types in place, and the bytes between them. */
function changeBytes(random: Random, layout: TreeLayout): Buffer {
  const { bytes, keys, tensors, headerEnd } = layout;
  const wide = [8, 16, ...keys.flatMap(({ length, count }) => [length, count ?? length])];
  for (const { length, dims, offset } of tensors) wide.push(length, offset, ...dims);
  const narrow = [4, ...keys.flatMap(({ type, element }) => [type, element ?? type])];
  for (const { nDims, type } of tensors) narrow.push(nDims, type);
  switch (below(random, 5)) {
    case 0: {
      const at = one(random, wide);
      bytes.writeBigUInt64LE(BigInt.asUintN(64, hostileNumber(random, bytes.length - at)), at);
      return bytes;
    }
    case 1:
      bytes.writeUInt32LE(Number(BigInt.asUintN(32, hostileNumber(random))), one(random, narrow));
      return bytes;
    case 2:
      bytes[below(random, headerEnd)] ^= 1 << below(random, 8);
      return bytes;
    case 3:
      return bytes.subarray(0, random() < 0.5 ? below(random, headerEnd) : below(random, bytes.length));
    default:
      return Buffer.concat([bytes, randomBytes(random, one(random, [1, 31, 32, 64, 4096]))]);
  }
}

/** One to three mutations of the tree, and sometimes one of the bytes. */
export function mutate(random: Random, good: GgufTree): Buffer {
  const tree = copyTree(good);
  for (let n = 1 + below(random, 3); n > 0; n--) one(random, treeMutations)(random, tree);
  const layout = layOut(tree);
  return random() < 0.25 ? changeBytes(random, layout) : layout.bytes;
}
