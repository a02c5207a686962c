// Changes to good trees, and refusals tried on the pair and on the single file alike.
import type { Test } from "tap";
import { decoderTree, mmprojTree, singleTree } from "./gguf-models";
import { accepted, type Expected, type HostileFiles, refused, row as plainRow } from "./gguf-refusal";
import { type GgufEntry, type GgufScalar, type GgufTree, ggufType } from "./gguf-tree";

export type Part = "decoder" | "tower";
export type Edit = (tree: GgufTree) => void;
/** A value as an entry's type and value; `element` makes it an array. */
export type Value = Omit<GgufEntry, "key">;

export const typed = (type: keyof typeof ggufType, value: GgufScalar): Value => ({ type: ggufType[type], value });
export const arrayOf = (element: keyof typeof ggufType, value: GgufScalar[]): Value => ({
  type: ggufType.array,
  element: ggufType[element],
  value,
});
export const u32 = (value: number): Value => typed("u32", value);
export const i32 = (value: number): Value => typed("i32", value);
export const f32 = (value: number): Value => typed("f32", value);
export const text = (value: string | Buffer): Value => typed("string", value);

/** Replaces the entry of that key or adds one. */
export const setKey =
  (key: string, value: Value): Edit =>
  (tree) => {
    const at = tree.keys.findIndex((entry) => entry.key === key);
    if (at < 0) tree.keys.push({ key, ...value });
    else tree.keys[at] = { key, ...value };
  };

export const dropKey =
  (key: string): Edit =>
  (tree) => {
    tree.keys = tree.keys.filter((entry) => entry.key !== key);
  };

export const dropTensor =
  (name: string): Edit =>
  (tree) => {
    tree.tensors = tree.tensors.filter((tensor) => tensor.name !== name);
  };

/** A tensor of other dimensions or another type, with zeros as its data. */
export const reshapeTensor =
  (name: string, dims: number[], type: number, bytes: number): Edit =>
  (tree) => {
    tree.tensors = tree.tensors.map((tensor) =>
      tensor.name === name ? { name, dims, type, data: Buffer.alloc(bytes) } : tensor,
    );
  };

export const both =
  (...edits: Edit[]): Edit =>
  (tree) => {
    for (const edit of edits) edit(tree);
  };

export function edited(tree: GgufTree, edit: Edit): GgufTree {
  edit(tree);
  return tree;
}

/** The change in the part's own file of the pair. */
export const inPair = (part: Part, edit: Edit): HostileFiles =>
  part === "decoder" ? { decoder: edited(decoderTree(), edit) } : { mmproj: edited(mmprojTree(), edit) };

export const inSingle = (edit: Edit): HostileFiles => ({ single: edited(singleTree(), edit) });

/** Refused with the same code and field in the pair and in the single file. */
export async function refusedBoth(
  t: Test,
  id: string,
  title: string,
  part: Part,
  edit: Edit,
  expected: Expected,
): Promise<void> {
  await refused(t, id, `${title}, in the pair`, inPair(part, edit), expected);
  await refused(t, id, `${title}, in the single file`, inSingle(edit), expected);
}

const acceptedFiles = new Map<string, number>();

/** Accepted with the good vector, and counted. */
export async function acceptedAs(t: Test, id: string, title: string, files: HostileFiles): Promise<void> {
  await accepted(t, id, title, files);
  acceptedFiles.set(id, (acceptedFiles.get(id) ?? 0) + 1);
}

/** Accepted in both, with the good vector. */
export async function acceptedBoth(t: Test, id: string, title: string, part: Part, edit: Edit): Promise<void> {
  await acceptedAs(t, id, `${title}, in the pair`, inPair(part, edit));
  await acceptedAs(t, id, `${title}, in the single file`, inSingle(edit));
}

/** For a row's comment. */
export const countAccepted = (id: string): string => {
  const n = acceptedFiles.get(id) ?? 0;
  return n === 0 ? "" : `${n} accepted with the good vector`;
};

export const keyField = (key: string): string => `kv["${key}"]`;
export const tensorField = (name: string, piece = ""): string => `tensor["${name}"]${piece}`;

/** A row of a model's metadata: its comment counts what was accepted where the row says nothing else. */
export const modelRow: typeof plainRow = (t, id, title, body, more) =>
  plainRow(t, id, title, body, more ?? (() => countAccepted(id)));

/** Values that one key may not have, by their names; the key is the field. */
export async function refuseValues(
  t: Test,
  id: string,
  key: string,
  values: { [name: string]: Value },
  code = "GME_HPARAM_RANGE",
  part: Part = "decoder",
): Promise<void> {
  for (const [name, value] of Object.entries(values))
    await refusedBoth(t, id, `${key} ${name}`, part, setKey(key, value), { code, field: keyField(key) });
}
