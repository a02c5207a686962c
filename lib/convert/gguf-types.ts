import { GmeError, printable } from "../errors";

/** A tensor type: `block` numbers take `bytes` bytes. `id` is ggml's numbering, as stored in the files. */
export interface TensorType {
  readonly id: number;
  readonly name: string;
  readonly block: number;
  readonly bytes: number;
}

const types: readonly TensorType[] = (
  [
    [0, "f32", 1, 4],
    [1, "f16", 1, 2],
    [2, "q4_0", 32, 18],
    [3, "q4_1", 32, 20],
    [6, "q5_0", 32, 22],
    [7, "q5_1", 32, 24],
    [8, "q8_0", 32, 34],
    [10, "q2_k", 256, 84],
    [11, "q3_k", 256, 110],
    [12, "q4_k", 256, 144],
    [13, "q5_k", 256, 176],
    [14, "q6_k", 256, 210],
    [16, "iq2_xxs", 256, 66],
    [17, "iq2_xs", 256, 74],
    [18, "iq3_xxs", 256, 98],
    [19, "iq1_s", 256, 50],
    [20, "iq4_nl", 32, 18],
    [21, "iq3_s", 256, 110],
    [22, "iq2_s", 256, 82],
    [23, "iq4_xs", 256, 136],
    [29, "iq1_m", 256, 56],
    [30, "bf16", 1, 2],
    [34, "tq1_0", 256, 54],
    [35, "tq2_0", 256, 66],
    [39, "mxfp4", 32, 17],
  ] as const
).map(([id, name, block, bytes]) => ({ id, name, block, bytes }));

export const tensorTypesById: ReadonlyMap<number, TensorType> = new Map(types.map((type) => [type.id, type]));
export const tensorTypesByName: ReadonlyMap<string, TensorType> = new Map(types.map((type) => [type.name, type]));

/** The type of that name, which must exist. */
export function tensorType(name: string): TensorType {
  const type = tensorTypesByName.get(name);
  if (type === undefined)
    throw new GmeError("GME_TENSOR_TYPE", `${printable(name)} is not a tensor type`, { value: name });
  return type;
}

/** Bytes of a tensor; `ne` in GGUF's order, ne[0] being the length of a row. */
export function tensorBytes(type: TensorType, ne: readonly number[]): number {
  return (ne.reduce((product, n) => product * n, 1) / type.block) * type.bytes;
}

/** A metadata value with its GGUF type. */
export type GgufValue =
  | { readonly type: "u8" | "i8" | "u16" | "i16" | "u32" | "i32" | "f32" | "f64"; readonly value: number }
  | { readonly type: "u64" | "i64"; readonly value: bigint }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "array"; readonly element: GgufScalarType; readonly value: readonly GgufScalar[] };

export type GgufScalar = number | bigint | boolean | string;
export type GgufScalarType = Exclude<GgufValue["type"], "array">;

/** The numbers of GGUF's value types; 9 is the array. */
export const valueTypeIds = {
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
} as const satisfies Record<GgufValue["type"], number>;

/** Keys in the order in which they are written. */
export type GgufMetadata = Map<string, GgufValue>;

export const u32 = (value: number): GgufValue => ({ type: "u32", value });
export const f32 = (value: number): GgufValue => ({ type: "f32", value });
export const bool = (value: boolean): GgufValue => ({ type: "bool", value });
export const text = (value: string): GgufValue => ({ type: "string", value });
export const array = (element: GgufScalarType, value: readonly GgufScalar[]): GgufValue => ({
  type: "array",
  element,
  value,
});

export const alignment = 32;

/** The next multiple of the alignment. */
export function aligned(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}
