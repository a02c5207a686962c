// TIFF files by hand: classic and Big, either byte order, the directory before or behind the pixels.

export type TiffValue = number | bigint;

export interface TiffEntry {
  tag: number;
  /** 1 byte, 2 ASCII, 3 short, 4 long, 5 rational, 16 long of 64 bits. */
  type: number;
  values: readonly TiffValue[];
  /** The count that is written, where it is not that of the values. */
  count?: TiffValue;
}

export interface TiffPage {
  entries: readonly TiffEntry[];
  /** Pixels; the place of each goes into the entry of tag 273 or 324 that is added. */
  strips?: readonly Uint8Array[];
  tiled?: boolean;
  /** Offset of the next directory; default: that of the next page, or 0. */
  next?: number;
}

export interface TiffPlan {
  pages: readonly TiffPage[];
  big?: boolean;
  motorola?: boolean;
}

const sizes: Record<number, number> = { 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 16: 8 };

/** Every directory before its pixels, so that a cut takes pixels only. */
export function tiffPicture({ pages, big = false, motorola = false }: TiffPlan): Buffer {
  const parts: Buffer[] = [headerOf(big, motorola)];
  let at = parts[0].length;
  pages.forEach((page, i) => {
    const draft = directory(page, at, [], 0, big, motorola);
    const offsets: number[] = [];
    let end = at + draft.length;
    for (const strip of page.strips ?? []) {
      offsets.push(end);
      end += strip.length + (strip.length % 2);
    }
    const next = page.next ?? (i + 1 < pages.length ? end : 0);
    parts.push(directory(page, at, offsets, next, big, motorola));
    for (const strip of page.strips ?? []) parts.push(Buffer.from(strip), Buffer.alloc(strip.length % 2));
    at = end;
  });
  return Buffer.concat(parts);
}

function headerOf(big: boolean, motorola: boolean): Buffer {
  const header = Buffer.alloc(big ? 16 : 8);
  header.write(motorola ? "MM" : "II", 0, "latin1");
  put(header, 2, big ? 43 : 42, 2, motorola);
  if (big) {
    put(header, 4, 8, 2, motorola);
    put(header, 8, 16, 8, motorola);
  } else put(header, 4, 8, 4, motorola);
  return header;
}

/** The directory at `at`, with the values that do not fit into its entries behind it. */
function directory(
  { entries, strips, tiled = false }: TiffPage,
  at: number,
  offsets: readonly number[],
  next: number,
  big: boolean,
  motorola: boolean,
): Buffer {
  const places = strips?.map((_, i) => offsets[i] ?? 0);
  const own: TiffEntry[] = strips
    ? [
        { tag: tiled ? 324 : 273, type: 4, values: places as number[] },
        { tag: tiled ? 325 : 279, type: 4, values: strips.map(({ length }) => length) },
      ]
    : [];
  const all = [...entries, ...own.filter(({ tag }) => !entries.some((entry) => entry.tag === tag))];
  all.sort((a, b) => a.tag - b.tag);
  const [entrySize, countSize, word] = big ? [20, 8, 8] : [12, 2, 4];
  const table = Buffer.alloc(countSize + all.length * entrySize + word);
  put(table, 0, all.length, countSize, motorola);
  const outside: Buffer[] = [];
  let end = at + table.length;
  all.forEach((entry, i) => {
    const from = countSize + i * entrySize;
    put(table, from, entry.tag, 2, motorola);
    put(table, from + 2, entry.type, 2, motorola);
    put(table, from + 4, entry.count ?? entry.values.length, word, motorola);
    const size = sizes[entry.type] ?? 4;
    const data = Buffer.alloc(Math.ceil((entry.values.length * size) / word) * word);
    entry.values.forEach((value, j) => {
      put(data, j * size, value, size, motorola);
    });
    if (data.length <= word) data.copy(table, from + 4 + word);
    else {
      put(table, from + 4 + word, end, word, motorola);
      outside.push(data);
      end += data.length;
    }
  });
  put(table, table.length - word, next, word, motorola);
  return Buffer.concat([table, ...outside]);
}

function put(to: Buffer, at: number, value: TiffValue, size: number, motorola: boolean): void {
  const bytes = BigInt.asUintN(size * 8, BigInt(value));
  for (let i = 0; i < size; i++) to[at + (motorola ? size - 1 - i : i)] = Number((bytes >> BigInt(i * 8)) & 255n);
}

export interface TiffShape {
  width: number;
  height: number;
  bits?: readonly number[];
  /** 1 integer, 2 signed, 3 float. */
  sampleFormat?: number;
  /** 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 Lab. */
  photometric?: number;
  compression?: number;
  rowsPerStrip?: number;
  extra?: readonly TiffEntry[];
}

/** The usual entries; those of `extra` take the place of theirs. */
export function tiffEntries(shape: TiffShape): TiffEntry[] {
  const { width, height, bits = [8, 8, 8], sampleFormat = 1, photometric = 2, compression = 1, extra = [] } = shape;
  const usual: TiffEntry[] = [
    { tag: 256, type: 4, values: [width] },
    { tag: 257, type: 4, values: [height] },
    { tag: 258, type: 3, values: bits },
    { tag: 259, type: 3, values: [compression] },
    { tag: 262, type: 3, values: [photometric] },
    { tag: 277, type: 3, values: [bits.length] },
    { tag: 278, type: 4, values: [shape.rowsPerStrip ?? height] },
    { tag: 284, type: 3, values: [1] },
    { tag: 339, type: 3, values: bits.map(() => sampleFormat) },
  ];
  return [...usual.filter(({ tag }) => !extra.some((entry) => entry.tag === tag)), ...extra];
}
