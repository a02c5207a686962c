import { badFormat, checkPossibleSides, corrupt, truncated } from "./image-errors";
import { tooLarge } from "./input";

/** Photographs have 1 or about 10 scans. Each goes over all pixels again, so that a small file with many takes minutes. */
const maxScans = 100;

const readable = "a JPEG of 8 bits with 1, 3 or 4 components";

interface JpegFrame {
  readonly marker: number;
  /** Identifiers in the file's order. */
  readonly components: readonly number[];
}

/** libvips keeps several copies of profiles, comments and the like. Beyond this much of them they are taken out before. */
const maxExtraBytes = 1024 * 1024;

/**
 * Walks the markers from the first to the end of the picture. libjpeg fills with grey, without a word, the components that no scan carries,
 * takes a table that is missing from another standard, and follows any number of scans. Bytes behind the end are ignored. What comes back
 * is the picture without its profiles, comments and the like if they are large, within `bytes`, which must be ours.
 */
export function checkJpeg(bytes: Uint8Array, file: string): Uint8Array {
  const walk = new JpegWalk(bytes, file);
  walk.run();
  return walk.withoutExtras();
}

class JpegWalk {
  private frame: JpegFrame | undefined;
  private readonly tables = new Set<number>();
  /** Components with data. */
  private readonly seen = new Set<number>();
  private scans = 0;
  /** Segments that change no pixel, from the marker to their ends. */
  private readonly extras: [from: number, to: number][] = [];
  private hasExif = false;
  private readonly view: Buffer;

  constructor(
    bytes: Uint8Array,
    private readonly file: string,
  ) {
    this.view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  run(): void {
    for (let at = 2; ; ) {
      at = this.markerFrom(at);
      const marker = this.view[at++];
      if (marker === endMarker) break;
      if (isAlone(marker)) continue;
      const end = this.endOfSegment(at);
      const body = this.view.subarray(at + 2, end);
      if (marker === 0xc4) this.readHuffman(body);
      else if (marker === 0xdb) this.checkQuantisation(body);
      else if (isFrame(marker)) this.readFrame(marker, body);
      else if (marker === 0xda) this.readScan(body);
      else if (this.isExtra(marker, body)) this.extras.push([at - 2, end]);
      at = marker === 0xda ? this.endOfData(end) : end;
    }
    this.checkComplete();
  }

  /** Where the code of the next marker stands. */
  private markerFrom(from: number): number {
    let at = this.view.indexOf(0xff, from);
    while (at >= 0 && this.view[at] === 0xff) at++;
    if (at < 0 || at >= this.view.length) throw truncated(this.file, "the JPEG ends before its end marker");
    return at;
  }

  private endOfSegment(at: number): number {
    const end = at + 2 <= this.view.length ? at + this.view.readUInt16BE(at) : Number.POSITIVE_INFINITY;
    if (end > this.view.length) throw truncated(this.file, "the JPEG ends within a segment");
    if (end < at + 2) throw corrupt(this.file, "a segment of the JPEG has an impossible length");
    return end;
  }

  /** The next marker that is no restart; 0xff 0x00 is a coded byte. */
  private endOfData(from: number): number {
    for (let at = from; ; ) {
      at = this.view.indexOf(0xff, at);
      if (at < 0 || at + 1 >= this.view.length) throw truncated(this.file, "the JPEG ends within its pixels");
      const next = this.view[at + 1];
      if (next === 0xff) at++;
      else if (next !== 0 && (next & 0xf8) !== 0xd0) return at;
      else at += 2;
    }
  }

  /** Comments and application segments, but for JFIF's, Adobe's and the first EXIF, which tell colours and orientation. */
  private isExtra(marker: number, body: Buffer): boolean {
    if (marker === 0xe1 && !this.hasExif && body.toString("latin1", 0, 4) === "Exif") {
      this.hasExif = true;
      return false;
    }
    return marker === 0xfe || (marker > 0xe0 && marker <= 0xef && marker !== 0xee);
  }

  withoutExtras(): Uint8Array {
    const size = this.extras.reduce((sum, [from, to]) => sum + to - from, 0);
    if (size <= maxExtraBytes) return this.view;
    let [read, written] = [0, 0];
    for (const [from, to] of [...this.extras, [this.view.length, this.view.length]]) {
      this.view.copyWithin(written, read, from);
      written += from - read;
      read = to;
    }
    return this.view.subarray(0, written);
  }

  private readHuffman(body: Buffer): void {
    for (let at = 0; at + 17 <= body.length; ) {
      this.tables.add(body[at]);
      const symbols = body.subarray(at + 1, at + 17).reduce((sum, count) => sum + count, 0);
      at += 17 + symbols;
    }
  }

  /** A step of zero wipes its coefficient out. */
  private checkQuantisation(body: Buffer): void {
    for (let at = 0; at < body.length; ) {
      const size = body[at] >> 4 === 0 ? 1 : 2;
      const end = at + 1 + 64 * size;
      if (end > body.length) throw corrupt(this.file, "a quantisation table of the JPEG is too short");
      for (let i = at + 1; i < end; i += size)
        if (body[i] === 0 && (size === 1 || body[i + 1] === 0))
          throw corrupt(this.file, "a quantisation table of the JPEG has a step of zero");
      at = end;
    }
  }

  private readFrame(marker: number, body: Buffer): void {
    if (this.frame !== undefined) throw corrupt(this.file, "the JPEG has two frame headers");
    if (body.length < 6) throw corrupt(this.file, "the frame header of the JPEG is too short");
    const [precision, count] = [body[0], body[5]];
    if (!readableFrames.has(marker)) throw badFormat(this.file, `a JPEG of process ${marker - 0xc0}`, readable);
    if (precision !== 8) throw badFormat(this.file, `a JPEG of ${precision} bits`, readable);
    checkPossibleSides(body.readUInt16BE(3), body.readUInt16BE(1), this.file);
    if (count !== 1 && count !== 3 && count !== 4)
      throw badFormat(this.file, `a JPEG of ${count} components`, readable);
    if (body.length < 6 + count * 3) throw corrupt(this.file, "the frame header of the JPEG is too short");
    const components = Array.from({ length: count }, (_, i) => body[6 + i * 3]);
    this.frame = { marker, components };
  }

  private readScan(body: Buffer): void {
    const { frame, file } = this;
    if (frame === undefined) throw corrupt(file, "the JPEG has pixels before its frame header");
    if (++this.scans > maxScans)
      throw tooLarge(file, `a JPEG of more than ${maxScans} scans`, this.scans, `${maxScans} scans`);
    const count = body[0] ?? 0;
    if (count < 1 || count > 4 || body.length < 4 + count * 2) throw corrupt(file, "a scan header is too short");
    const [from, to, steps] = body.subarray(1 + count * 2);
    const isProgressive = frame.marker === 0xc2 || frame.marker === 0xca;
    for (let i = 0; i < count; i++) {
      const [id, tables] = [body[1 + i * 2], body[2 + i * 2]];
      if (!frame.components.includes(id)) throw corrupt(file, "a scan of the JPEG names an unknown component");
      if (frame.marker < 0xc8) {
        const needsDc = !isProgressive || (from === 0 && steps >> 4 === 0);
        if (needsDc) this.needTable(tables >> 4);
        if (!isProgressive || to > 0) this.needTable(0x10 | (tables & 15));
      }
      if (!isProgressive || from === 0) this.seen.add(id);
    }
  }

  private needTable(table: number): void {
    if (!this.tables.has(table)) throw corrupt(this.file, "a scan of the JPEG needs a Huffman table that is missing");
  }

  private checkComplete(): void {
    const count = this.frame?.components.length ?? 0;
    if (this.scans === 0) throw corrupt(this.file, "the JPEG has no pixels");
    if (this.frame?.components.some((id) => !this.seen.has(id)))
      throw truncated(this.file, `the JPEG has pixels of ${this.seen.size} of its ${count} components`);
  }
}

/** Baseline, extended and progressive, with Huffman or arithmetic codes; not lossless, not hierarchical. */
const readableFrames = new Set([0xc0, 0xc1, 0xc2, 0xc9, 0xca]);

/** 0xf7 is JPEG-LS's. */
const isFrame = (marker: number): boolean =>
  (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) || marker === 0xf7;

const endMarker = 0xd9;

/** Markers without a length. */
const isAlone = (marker: number): boolean =>
  marker === 0 || marker === 1 || marker === 0xd8 || (marker & 0xf8) === 0xd0;
