// The containers of AVIF (boxes) and WebP (RIFF chunks): taken apart, changed and put together again.

export interface Box {
  type: string;
  /** Without the header of eight bytes. */
  body: Buffer;
}

export function box(type: string, ...parts: readonly (Uint8Array | readonly number[])[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const head = Buffer.alloc(8);
  head.writeUInt32BE(body.length + 8, 0);
  head.write(type, 4, "latin1");
  return Buffer.concat([head, body]);
}

/** A box that begins with a version and flags. */
export const fullBox = (
  type: string,
  version: number,
  flags: number,
  ...parts: readonly (Uint8Array | readonly number[])[]
): Buffer => box(type, [version, flags >> 16, (flags >> 8) & 255, flags & 255], ...parts);

export function boxesOf(bytes: Buffer): (Box & { at: number })[] {
  const boxes: (Box & { at: number })[] = [];
  for (let at = 0; at + 8 <= bytes.length; ) {
    const size = bytes.readUInt32BE(at);
    boxes.push({ type: bytes.toString("latin1", at + 4, at + 8), body: bytes.subarray(at + 8, at + size), at });
    at += Math.max(8, size);
  }
  return boxes;
}

/** Where the first box of this type begins, wherever it lies. */
export function placeOf(bytes: Buffer, type: string): number {
  const at = bytes.indexOf(type, 0, "latin1");
  if (at < 4) throw new Error(`no box ${type}`);
  return at - 4;
}

/** The same bytes with a 32-bit number changed. */
export function with32(bytes: Buffer, at: number, value: number): Buffer {
  const changed = Buffer.from(bytes);
  changed.writeUInt32BE(value >>> 0, at);
  return changed;
}

export const u16 = (...values: readonly number[]): Buffer =>
  Buffer.concat(values.map((value) => Buffer.from([value >> 8, value & 255])));

export const u32 = (...values: readonly number[]): Buffer =>
  Buffer.concat(values.map((value) => with32(Buffer.alloc(4), 0, value)));

/** What a still's AV1 decoder needs: the item's data, its av1C and its colours. */
export interface AvifPieces {
  data: Buffer;
  av1C: Buffer;
}

/** The pieces of an AVIF as sharp writes it: one item, its data whole in mdat. */
export function avifPieces(bytes: Buffer): AvifPieces {
  const mdat = boxesOf(bytes).find(({ type }) => type === "mdat") as Box;
  const at = placeOf(bytes, "av1C");
  return { data: mdat.body, av1C: bytes.subarray(at, at + bytes.readUInt32BE(at)) };
}

export interface GridPlan {
  /** What the grid says of itself. */
  width: number;
  height: number;
  columns: number;
  rows: number;
  tileWidth: number;
  tileHeight: number;
  /** Tiles that are really there; default: all. */
  tiles?: number;
  brand?: string;
}

/** A picture of tiles that all share the data of one. */
export function avifGrid({ data, av1C }: AvifPieces, plan: GridPlan): Buffer {
  const { width, height, columns, rows, tileWidth, tileHeight, brand = "avif" } = plan;
  const tiles = plan.tiles ?? columns * rows;
  const grid = Buffer.concat([Buffer.from([0, 1, rows - 1, columns - 1]), u32(width, height)]);
  const ids = Array.from({ length: tiles }, (_, i) => i + 2);
  const infe = (id: number, type: string, flags: number) =>
    fullBox("infe", 2, flags, u16(id, 0), Buffer.from(`${type}\0`, "latin1"));
  const iinf = fullBox("iinf", 0, 0, u16(tiles + 1), infe(1, "grid", 0), ...ids.map((id) => infe(id, "av01", 1)));
  const iref = fullBox("iref", 0, 0, box("dimg", u16(1, tiles, ...ids)));
  const ispe = (w: number, h: number) => fullBox("ispe", 0, 0, u32(w, h));
  const pixi = fullBox("pixi", 0, 0, [3, 8, 8, 8]);
  const ipco = box("ipco", ispe(width, height), ispe(tileWidth, tileHeight), av1C, pixi);
  const of = (id: number, ...properties: number[]) =>
    Buffer.concat([u16(id), Buffer.from([properties.length, ...properties])]);
  const ipma = fullBox("ipma", 0, 0, u32(tiles + 1), of(1, 1, 4), ...ids.map((id) => of(id, 2, 0x83, 4)));
  const hdlr = fullBox("hdlr", 0, 0, u32(0), Buffer.from("pict"), Buffer.alloc(13));
  const pitm = fullBox("pitm", 0, 0, u16(1));
  const iprp = box("iprp", ipco, ipma);
  const idat = box("idat", grid);
  const ftyp = box("ftyp", Buffer.from(brand), u32(0), Buffer.from("avifmif1miaf"));
  const meta = (place: number) => {
    const entry = (id: number, method: number, offset: number, length: number) =>
      Buffer.concat([u16(id, method, 0, 1), u32(offset, length)]);
    const tilePlaces = ids.map((id) => entry(id, 0, place, data.length));
    const iloc = fullBox("iloc", 1, 0, [0x44, 0], u16(tiles + 1), entry(1, 1, 0, grid.length), ...tilePlaces);
    return fullBox("meta", 0, 0, hdlr, pitm, iloc, iinf, iref, iprp, idat);
  };
  const place = ftyp.length + meta(0).length + 8;
  return Buffer.concat([ftyp, meta(place), box("mdat", data)]);
}

/** RIFF chunks of a WebP, padded to even lengths. */
export function webpOf(chunks: readonly Box[]): Buffer {
  const body = Buffer.concat(chunks.map(({ type, body }) => riffChunk(type, body)));
  return riffChunk("RIFF", Buffer.concat([Buffer.from("WEBP"), body]));
}

export function riffChunk(type: string, body: Uint8Array): Buffer {
  const head = Buffer.alloc(8);
  head.write(type, 0, "latin1");
  head.writeUInt32LE(body.length, 4);
  return Buffer.concat([head, body, Buffer.alloc(body.length % 2)]);
}

export function webpChunks(bytes: Buffer): Box[] {
  const chunks: Box[] = [];
  for (let at = 12; at + 8 <= bytes.length; ) {
    const length = bytes.readUInt32LE(at + 4);
    chunks.push({ type: bytes.toString("latin1", at, at + 4), body: bytes.subarray(at + 8, at + 8 + length) });
    at += 8 + length + (length % 2);
  }
  return chunks;
}

const u24 = (value: number): number[] => [value & 255, (value >> 8) & 255, (value >> 16) & 255];

/** The header of an extended WebP. Flags: 2 animation, 16 alpha, 32 colour profile. */
export const vp8x = (flags: number, width: number, height: number): Box => ({
  type: "VP8X",
  body: Buffer.from([flags, 0, 0, 0, ...u24(width - 1), ...u24(height - 1)]),
});

/** A frame of an animation, with the chunk of a still. */
export function anmf(still: Box, x: number, y: number, width: number, height: number): Box {
  const head = Buffer.from([...u24(x), ...u24(y), ...u24(width - 1), ...u24(height - 1), ...u24(40), 0]);
  return { type: "ANMF", body: Buffer.concat([head, riffChunk(still.type, still.body)]) };
}

export const anim: Box = { type: "ANIM", body: Buffer.alloc(6) };
