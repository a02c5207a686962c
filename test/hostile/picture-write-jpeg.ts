// JPEG files by hand: blocks of one level each, which is all that sizes, samplings, tables and markers need to be right or wrong.

export interface JpegComponent {
  id: number;
  h: number;
  v: number;
  /** The level of a block, 0 to 255 (4,095 at 12 bits). */
  level: (bx: number, by: number) => number;
}

export interface JpegScan {
  /** Indexes into the components. */
  components: readonly number[];
  /** Spectral selection and successive approximation of a progressive file. */
  from?: number;
  to?: number;
  high?: number;
  low?: number;
}

export interface JpegPlan {
  width: number;
  height: number;
  components: readonly JpegComponent[];
  precision?: 8 | 12;
  /** 0xc0 baseline, 0xc1 extended, 0xc2 progressive, 0xc3 lossless, 0xc9 arithmetic. */
  sof?: number;
  scans?: readonly JpegScan[];
  restart?: number;
  /** Between SOI and the tables. */
  segments?: readonly Buffer[];
}

/** A marker segment with its length. */
export function segment(marker: number, ...parts: readonly (Uint8Array | readonly number[])[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const head = Buffer.from([0xff, marker, 0, 0]);
  head.writeUInt16BE(body.length + 2, 2);
  return Buffer.concat([head, body]);
}

export const soi = Buffer.from([0xff, 0xd8]);
export const eoi = Buffer.from([0xff, 0xd9]);

/** Every step is one; 16 bits where the sample has 12. */
export const quantisation = (fill = 1): Buffer => segment(0xdb, [0], Buffer.alloc(64, fill));

/** DC: sixteen categories of five bits. AC: the end of a block is the one code, a zero bit. */
export const huffmanDc = (): Buffer => segment(0xc4, [0x00], tableOf(5, 16));
export const huffmanAc = (): Buffer => segment(0xc4, [0x10], tableOf(1, 1));

function tableOf(bits: number, symbols: number): Buffer {
  const table = Buffer.alloc(16 + symbols);
  table[bits - 1] = symbols;
  for (let i = 0; i < symbols; i++) table[16 + i] = i;
  return table;
}

export function frame(plan: JpegPlan, size: { width?: number; height?: number } = {}): Buffer {
  const { sof = 0xc0, precision = 8, components } = plan;
  const sides = Buffer.alloc(4);
  sides.writeUInt16BE(size.height ?? plan.height, 0);
  sides.writeUInt16BE(size.width ?? plan.width, 2);
  const list = components.flatMap(({ id, h, v }) => [id, (h << 4) | v, 0]);
  return segment(sof, [precision], sides, [components.length, ...list]);
}

export function scanHeader({ components }: JpegPlan, scan: JpegScan): Buffer {
  const list = scan.components.flatMap((i) => [components[i].id, 0x00]);
  const { from = 0, to = 63, high = 0, low = 0 } = scan;
  return segment(0xda, [scan.components.length, ...list, from, to, (high << 4) | low]);
}

/** The whole file. */
export function jpegPicture(plan: JpegPlan): Buffer {
  const scans = plan.scans ?? [{ components: plan.components.map((_, i) => i) }];
  const restart = plan.restart === undefined ? [] : [segment(0xdd, [plan.restart >> 8, plan.restart & 255])];
  return Buffer.concat([
    soi,
    ...(plan.segments ?? []),
    quantisation(),
    frame(plan),
    huffmanDc(),
    huffmanAc(),
    ...restart,
    ...scans.flatMap((scan) => [scanHeader(plan, scan), scanData(plan, scan)]),
    eoi,
  ]);
}

/** The coded blocks of a scan. */
export function scanData(plan: JpegPlan, scan: JpegScan): Buffer {
  const bits = new BitWriter();
  const before = plan.components.map(() => 0);
  const units = unitsOf(plan, scan);
  units.forEach((unit, i) => {
    if (plan.restart && i > 0 && i % plan.restart === 0) {
      bits.marker(0xd0 + ((i / plan.restart - 1) % 8));
      before.fill(0);
    }
    for (const { component, bx, by } of unit) {
      if ((scan.from ?? 0) === 0) {
        const middle = plan.precision === 12 ? 2048 : 128;
        const level = (plan.components[component].level(bx, by) - middle) * 8;
        bits.difference(level - before[component]);
        before[component] = level;
      }
      if ((scan.to ?? 63) > 0) bits.put(0, 1);
    }
  });
  return bits.end();
}

type Block = { component: number; bx: number; by: number };

/** The blocks of each coding unit, in order. */
function unitsOf({ width, height, components }: JpegPlan, scan: JpegScan): Block[][] {
  const [mostH, mostV] = [Math.max(...components.map((c) => c.h)), Math.max(...components.map((c) => c.v))];
  const single = scan.components.length === 1 ? components[scan.components[0]] : undefined;
  const across = single ? Math.ceil((width * single.h) / mostH / 8) : Math.ceil(width / 8 / mostH);
  const down = single ? Math.ceil((height * single.v) / mostV / 8) : Math.ceil(height / 8 / mostV);
  const units: Block[][] = [];
  for (let y = 0; y < down; y++) {
    for (let x = 0; x < across; x++) {
      if (single) {
        units.push([{ component: scan.components[0], bx: x, by: y }]);
        continue;
      }
      const unit: Block[] = [];
      for (const component of scan.components) {
        const { h, v } = components[component];
        for (let i = 0; i < h * v; i++) unit.push({ component, bx: x * h + (i % h), by: y * v + Math.floor(i / h) });
      }
      units.push(unit);
    }
  }
  return units;
}

class BitWriter {
  private readonly bytes: number[] = [];
  private held = 0;
  private count = 0;

  put(value: number, length: number): void {
    for (let i = length - 1; i >= 0; i--) {
      this.held = (this.held << 1) | ((value >> i) & 1);
      if (++this.count === 8) this.flush();
    }
  }

  /** A DC difference: its category, then its bits. */
  difference(value: number): void {
    const category = value === 0 ? 0 : 32 - Math.clz32(Math.abs(value));
    this.put(category, 5);
    if (category > 0) this.put(value < 0 ? value + (1 << category) - 1 : value, category);
  }

  marker(code: number): void {
    this.fill();
    this.bytes.push(0xff, code);
  }

  end(): Buffer {
    this.fill();
    return Buffer.from(this.bytes);
  }

  private fill(): void {
    while (this.count > 0) this.put(1, 1);
  }

  private flush(): void {
    this.bytes.push(this.held);
    if (this.held === 0xff) this.bytes.push(0);
    this.held = 0;
    this.count = 0;
  }
}

/** Components of a YCbCr (or, with four, CMYK-like) picture whose levels differ from block to block. */
export function components(samplings: readonly (readonly [number, number])[], scale = 1): JpegComponent[] {
  return samplings.map(([h, v], i) => ({
    id: i + 1,
    h,
    v,
    level: (bx, by) => ((bx * 37 + by * 61 + i * 50) % 200) * scale + 20,
  }));
}

/** An APP1 segment with a TIFF structure of one entry: the orientation. */
export function exif(orientation: number, { type = 3, next = 0 } = {}): Buffer {
  const tiff = Buffer.alloc(26);
  tiff.write("II*\0", 0, "latin1");
  tiff.writeUInt32LE(8, 4);
  tiff.writeUInt16LE(1, 8);
  tiff.writeUInt16LE(0x112, 10);
  tiff.writeUInt16LE(type, 12);
  tiff.writeUInt32LE(1, 14);
  tiff.writeUInt32LE(orientation, 18);
  tiff.writeUInt32LE(next, 22);
  return segment(0xe1, Buffer.from("Exif\0\0", "latin1"), tiff);
}
