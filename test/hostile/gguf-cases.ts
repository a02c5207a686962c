// What the rows of the matrix are made of: a good file, one named mutation, and what load() must say.
import type { Test } from "tap";
import { decoderTree, mmprojTree, singleTree } from "./gguf-models";
import { accepted, type HostileFile, type HostileFiles, refused, row } from "./gguf-refusal";
import {
  copyTree,
  type GgufEntry,
  type GgufTensorEntry,
  type GgufTree,
  ggufType,
  layOut,
  type TreeLayout,
} from "./gguf-tree";

/** A mutation is applied to the decoder's file, to the tower's, and to the one that holds both. */
export type Base = "decoder" | "mmproj" | "single";

export const bases: readonly Base[] = ["decoder", "mmproj", "single"];

export interface HostileCase {
  title: string;
  make: (good: GoodFile) => HostileFile;
  /** Absent: accepted on purpose. */
  code?: string | RegExp;
  field?: string | RegExp | ((good: GoodFile) => string);
  message?: RegExp;
  /** Where the mutation makes sense; everywhere when absent. */
  bases?: readonly Base[];
}

export interface HostileRow {
  id: string;
  title: string;
  cases: HostileCase[];
}

/** A good file to start from; every look at `tree` is a fresh copy. */
export class GoodFile {
  private readonly source: GgufTree;
  private laidOut?: TreeLayout;

  constructor(readonly base: Base) {
    this.source = { decoder: decoderTree, mmproj: mmprojTree, single: singleTree }[base]();
  }

  get tree(): GgufTree {
    return copyTree(this.source);
  }

  get layout(): TreeLayout {
    this.laidOut ??= layOut(this.source);
    return this.laidOut;
  }

  get bytes(): Buffer {
    return this.layout.bytes;
  }

  /** A matrix of two dimensions whose rows are whole blocks of 32. */
  get matrix(): string {
    return this.base === "mmproj" ? "mm.0.weight" : "blk.0.ffn_gate.weight";
  }

  get firstTensor(): string {
    return String(this.source.tensors[0].name);
  }

  get lastTensor(): string {
    return String(this.source.tensors.at(-1)?.name);
  }

  /** The first tensor that the loader asks for. */
  get required(): string {
    return this.base === "mmproj" ? "v.patch_embd.weight" : "token_embd.weight";
  }
}

const goodFiles = new Map<Base, GoodFile>();

export function goodFile(base: Base): GoodFile {
  const known = goodFiles.get(base) ?? new GoodFile(base);
  goodFiles.set(base, known);
  return known;
}

export const everyBase = ({ bases: own = bases }: HostileCase): readonly Base[] => own;

/** The files of a case: the mutated one and the good other half. */
export function filesOf(base: Base, hostileCase: HostileCase): HostileFiles {
  return { [base]: hostileCase.make(goodFile(base)) };
}

/** Each row a test, each case on every file it makes sense for. */
export function testRows(t: Test, rows: readonly HostileRow[]): void {
  for (const { id, title, cases } of rows) {
    row(t, id, title, async (t) => {
      for (const one of cases) for (const base of everyBase(one)) await testCase(t, id, base, one);
    });
  }
}

async function testCase(t: Test, id: string, base: Base, one: HostileCase): Promise<void> {
  const title = `${one.title} (${base})`;
  if (one.code === undefined) return accepted(t, id, title, filesOf(base, one));
  const field = typeof one.field === "function" ? one.field(goodFile(base)) : one.field;
  const { code, message } = one;
  const error = await refused(t, id, title, filesOf(base, one), { code, field });
  if (message !== undefined && !message.test(`${error?.message}`)) t.match(error?.message, message, `${id} ${title}`);
  const names = { decoder: /decoder\.gguf$/, mmproj: /tower\.gguf$/, single: /single\.gguf$/ };
  if (!names[base].test(`${error?.file}`)) t.match(error?.file, names[base], `${id} ${title}: the file is named`);
}

/** The good bytes with a number written over them. */
export function patched(good: GoodFile, at: number, type: 4 | 10, value: number | bigint): Buffer {
  const bytes = Buffer.from(good.bytes);
  if (type === ggufType.u32) bytes.writeUInt32LE(Number(BigInt.asUintN(32, BigInt(value))), at);
  else bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), at);
  return bytes;
}

export const cut = (good: GoodFile, at: number): Buffer => good.bytes.subarray(0, at);

/** Where an entry that a case adds stands among the keys. */
export const addedAt = 2;

export function withEntries(good: GoodFile, ...entries: GgufEntry[]): GgufTree {
  const tree = good.tree;
  tree.keys.splice(addedAt, 0, ...entries);
  return tree;
}

/** The good tree with one tensor more at the end, of 32 bytes unless `data` says otherwise. */
export function withTensor(good: GoodFile, tensor: Partial<GgufTensorEntry>): GgufTree {
  const tree = good.tree;
  tree.tensors.push({ name: "extra.weight", dims: [8], type: 0, data: Buffer.alloc(32), ...tensor });
  return tree;
}

export const u32 = (key: string | Buffer, value: number | bigint): GgufEntry => ({ key, type: ggufType.u32, value });

export const text = (key: string, value: string | Buffer): GgufEntry => ({ key, type: ggufType.string, value });

/** Number of the good file's first key of that kind. */
export function indexOfType(good: GoodFile, type: number): number {
  return good.tree.keys.findIndex((entry) => entry.type === type);
}

export const keyField = (good: GoodFile, index: number): string => `kv["${good.tree.keys[index].key}"]`;
