// GGUF files as trees, for tests: bytes -> tree -> bytes, with nothing checked, so that a tree may say what no writer would.
// `layOut` also tells where each piece of the tree stands, so that a test can overwrite a length or cut the file there.

/** A string is written in UTF-8; a Buffer where the type is no string stands as it is, which serves types that do not exist. */
export type GgufScalar = number | bigint | string | Buffer;

/** Integers of 64 bits are read as bigint, booleans as number, strings that are not UTF-8 as Buffer. `element` is that of an array. */
export interface GgufEntry {
  key: string | Buffer;
  type: number;
  element?: number;
  value: GgufScalar | GgufScalar[];
}

/** `dims` as they lie in the file, the length of a row first. `offset` is absent where the tensor follows the one before it. */
export interface GgufTensorEntry {
  name: string | Buffer;
  dims: (number | bigint)[];
  type: number;
  offset?: number | bigint;
  data: Buffer;
}

/** `nTensors` and `nKeys` only where they lie. `alignment` places the data; the key general.alignment is another matter. */
export interface GgufTree {
  version: number;
  keys: GgufEntry[];
  tensors: GgufTensorEntry[];
  alignment: number;
  nTensors?: bigint;
  nKeys?: bigint;
}

/** Where an entry's pieces begin; `count` is the length of a string or array, `end` the byte after the value. */
export interface KeyPlace {
  length: number;
  key: number;
  type: number;
  element?: number;
  count?: number;
  value: number;
  end: number;
}

export interface TensorPlace {
  length: number;
  name: number;
  nDims: number;
  dims: number[];
  type: number;
  offset: number;
  end: number;
}

/** `headerEnd` is the byte after the last description, `dataStart` the next multiple of the alignment. */
export interface TreeLayout {
  bytes: Buffer;
  keys: KeyPlace[];
  tensors: TensorPlace[];
  headerEnd: number;
  dataStart: number;
}

export const ggufType = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;

const scalarBytes = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
/** Data beyond this is left out: offsets that point there are lies. */
const farthest = 1 << 28;

const aligned = (at: number, alignment: number): number => Math.ceil(at / alignment) * alignment;

/** The tree of a good file. */
export function readTree(bytes: Buffer): GgufTree {
  const reader = new TreeReader(bytes);
  reader.at = 4;
  const version = reader.number(ggufType.u32) as number;
  const [nTensors, nKeys] = [Number(reader.number(ggufType.u64)), Number(reader.number(ggufType.u64))];
  const keys = Array.from({ length: nKeys }, () => reader.entry());
  const described = Array.from({ length: nTensors }, () => reader.tensor());
  const stated = keys.find(({ key }) => key === "general.alignment")?.value;
  const alignment = stated === undefined ? 32 : Number(stated);
  const start = aligned(reader.at, alignment);
  const starts = described.map(({ offset }) => start + offset).sort((a, b) => a - b);
  let expected = 0;
  const tensors = described.map(({ offset, ...tensor }): GgufTensorEntry => {
    const next = starts.find((at) => at > start + offset) ?? bytes.length;
    const size = sizeOf(tensor.type, tensor.dims) ?? next - start - offset;
    const entry = { ...tensor, ...(offset !== expected && { offset }) };
    expected = aligned(offset + size, alignment);
    return { ...entry, data: bytes.subarray(start + offset, start + offset + size) };
  });
  return { version, keys, tensors, alignment };
}

/** The file's bytes. Tensors without an offset follow each other; every tensor's data is padded to the alignment. */
export function writeTree(tree: GgufTree): Buffer {
  return layOut(tree).bytes;
}

export function layOut(tree: GgufTree): TreeLayout {
  const out = new TreeWriter();
  out.bytes(Buffer.from("GGUF", "latin1"));
  out.number(ggufType.u32, tree.version);
  out.number(ggufType.u64, tree.nTensors ?? tree.tensors.length);
  out.number(ggufType.u64, tree.nKeys ?? tree.keys.length);
  const keys = tree.keys.map((entry) => out.entry(entry));
  const placed = placeTensors(tree);
  const tensors = tree.tensors.map((tensor, i) => out.tensor(tensor, placed.offsets[i]));
  const headerEnd = out.size;
  const dataStart = aligned(headerEnd, tree.alignment);
  const bytes = Buffer.alloc(dataStart + placed.size);
  out.finish().copy(bytes);
  for (const [i, { data }] of tree.tensors.entries()) {
    const offset = BigInt.asUintN(64, BigInt(placed.offsets[i]));
    if (offset <= farthest) data.copy(bytes, dataStart + Number(offset));
  }
  return { bytes, keys, tensors, headerEnd, dataStart };
}

function placeTensors({ tensors, alignment }: GgufTree): { offsets: (number | bigint)[]; size: number } {
  let [next, size] = [0, 0];
  const offsets = tensors.map(({ offset, data }) => {
    const at = offset ?? next;
    const place = BigInt.asUintN(64, BigInt(at));
    if (place <= farthest) {
      next = aligned(Number(place) + data.length, alignment);
      size = Math.max(size, next);
    }
    return at;
  });
  return { offsets, size };
}

/** Bytes of f32 and f16 tensors; others reach to the next tensor. */
function sizeOf(type: number, dims: (number | bigint)[]): number | undefined {
  const each = { 0: 4, 1: 2, 30: 2 }[type];
  return each === undefined ? undefined : dims.reduce<number>((n, side) => n * Number(side), each);
}

/** A deep copy that may be changed; tensors' data is shared. */
export function copyTree(tree: GgufTree): GgufTree {
  const keys = tree.keys.map((entry) => ({
    ...entry,
    value: Array.isArray(entry.value) ? [...entry.value] : entry.value,
  }));
  return { ...tree, keys, tensors: tree.tensors.map((tensor) => ({ ...tensor, dims: [...tensor.dims] })) };
}

/** The entry of that key, which must exist. */
export function entryOf(tree: GgufTree, key: string): GgufEntry {
  const entry = tree.keys.find((other) => other.key === key);
  if (entry === undefined) throw new Error(`the tree has no key ${key}`);
  return entry;
}

/** The tensor of that name, which must exist. */
export function tensorOf(tree: GgufTree, name: string): GgufTensorEntry {
  const tensor = tree.tensors.find((other) => other.name === name);
  if (tensor === undefined) throw new Error(`the tree has no tensor ${name}`);
  return tensor;
}

class TreeReader {
  at = 0;

  constructor(private readonly source: Buffer) {}

  number(type: number): number | bigint {
    const at = this.at;
    this.at += scalarBytes[type];
    return readers[type](this.source, at);
  }

  text(): string | Buffer {
    const size = Number(this.number(ggufType.u64));
    const bytes = this.source.subarray(this.at, this.at + size);
    this.at += size;
    const text = bytes.toString("utf8");
    return Buffer.from(text, "utf8").equals(bytes) ? text : bytes;
  }

  entry(): GgufEntry {
    const key = this.text();
    const type = this.number(ggufType.u32) as number;
    if (type !== ggufType.array) return { key, type, value: this.scalar(type) };
    const element = this.number(ggufType.u32) as number;
    const count = Number(this.number(ggufType.u64));
    return { key, type, element, value: Array.from({ length: count }, () => this.scalar(element)) };
  }

  tensor(): Omit<GgufTensorEntry, "data" | "offset"> & { offset: number } {
    const name = this.text();
    const nDims = this.number(ggufType.u32) as number;
    const dims = Array.from({ length: nDims }, () => Number(this.number(ggufType.u64)));
    const type = this.number(ggufType.u32) as number;
    return { name, dims, type, offset: Number(this.number(ggufType.u64)) };
  }

  private scalar(type: number): GgufScalar {
    return type === ggufType.string ? this.text() : this.number(type);
  }
}

class TreeWriter {
  size = 0;
  private buffer = Buffer.alloc(1 << 16);

  bytes(bytes: Buffer): void {
    this.reserve(bytes.length);
    bytes.copy(this.buffer, this.size);
    this.size += bytes.length;
  }

  /** Integers are taken modulo the width of their type. */
  number(type: number, value: number | bigint): void {
    this.reserve(8);
    writers[type](this.buffer, value, this.size);
    this.size += scalarBytes[type];
  }

  entry({ key, type, element, value }: GgufEntry): KeyPlace {
    const length = this.size;
    this.text(key);
    const place = { length, key: length + 8, type: this.size, value: 0, end: 0 } as KeyPlace;
    this.number(ggufType.u32, type);
    if (element !== undefined) {
      place.element = this.size;
      this.number(ggufType.u32, element);
    }
    if (Array.isArray(value) || type === ggufType.string) place.count = this.size;
    if (Array.isArray(value)) this.number(ggufType.u64, value.length);
    place.value = Array.isArray(value) ? this.size : this.size + (type === ggufType.string ? 8 : 0);
    for (const scalar of Array.isArray(value) ? value : [value]) this.scalar(element ?? type, scalar);
    place.end = this.size;
    return place;
  }

  tensor({ name, dims, type }: GgufTensorEntry, offset: number | bigint): TensorPlace {
    const length = this.size;
    this.text(name);
    const nDims = this.size;
    this.number(ggufType.u32, dims.length);
    const sides = dims.map((side) => {
      this.number(ggufType.u64, side);
      return this.size - 8;
    });
    this.number(ggufType.u32, type);
    this.number(ggufType.u64, offset);
    const end = this.size;
    return { length, name: length + 8, nDims, dims: sides, type: end - 12, offset: end - 8, end };
  }

  finish(): Buffer {
    return this.buffer.subarray(0, this.size);
  }

  private text(text: string | Buffer): void {
    const size = typeof text === "string" ? Buffer.byteLength(text) : text.length;
    this.number(ggufType.u64, size);
    this.reserve(size);
    if (typeof text === "string") this.buffer.write(text, this.size);
    else text.copy(this.buffer, this.size);
    this.size += size;
  }

  private scalar(type: number, value: GgufScalar): void {
    if (type === ggufType.string) this.text(value as string | Buffer);
    else if (Buffer.isBuffer(value)) this.bytes(value);
    else if (type < scalarBytes.length && type !== ggufType.array) this.number(type, value as number | bigint);
    else throw new Error(`a value of type ${type} must be given as a Buffer`);
  }

  private reserve(bytes: number): void {
    if (this.size + bytes <= this.buffer.length) return;
    const larger = Buffer.alloc(Math.max(this.buffer.length * 2, this.size + bytes));
    this.buffer.copy(larger, 0, 0, this.size);
    this.buffer = larger;
  }
}

const readers: { [type: number]: (from: Buffer, at: number) => number | bigint } = {
  0: (from, at) => from.readUInt8(at),
  1: (from, at) => from.readInt8(at),
  2: (from, at) => from.readUInt16LE(at),
  3: (from, at) => from.readInt16LE(at),
  4: (from, at) => from.readUInt32LE(at),
  5: (from, at) => from.readInt32LE(at),
  6: (from, at) => from.readFloatLE(at),
  7: (from, at) => from.readUInt8(at),
  10: (from, at) => from.readBigUInt64LE(at),
  11: (from, at) => from.readBigInt64LE(at),
  12: (from, at) => from.readDoubleLE(at),
};

/** Numbers that fit need no detour through bigint: a vocabulary has thousands of them. */
function unsigned(bits: number, value: number | bigint): number {
  if (typeof value === "number" && value >= 0 && value < 2 ** bits) return value;
  return Number(BigInt.asUintN(bits, BigInt(value)));
}

const write8 = (to: Buffer, value: number | bigint, at: number) => to.writeUInt8(unsigned(8, value), at);
const write16 = (to: Buffer, value: number | bigint, at: number) => to.writeUInt16LE(unsigned(16, value), at);
const write32 = (to: Buffer, value: number | bigint, at: number) => to.writeUInt32LE(unsigned(32, value), at);
function write64(to: Buffer, value: number | bigint, at: number): number {
  if (typeof value !== "number" || value < 0 || value >= 2 ** 32)
    return to.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), at);
  to.writeUInt32LE(0, at + 4);
  to.writeUInt32LE(value, at);
  return at + 8;
}

const writers: { [type: number]: (to: Buffer, value: number | bigint, at: number) => number } = {
  0: write8,
  1: write8,
  2: write16,
  3: write16,
  4: write32,
  5: write32,
  6: (to, value, at) => to.writeFloatLE(Number(value), at),
  7: write8,
  10: write64,
  11: write64,
  12: (to, value, at) => to.writeDoubleLE(Number(value), at),
};
