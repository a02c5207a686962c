import { badFormat, checkPossibleSides, corrupt, truncated } from "./image-errors";

const readable = "a TIFF of 1 to 5 channels of at most 16 bits, no floating point, no camera raw";
const maxChannels = 5;
const maxBits = 16;
/** A directory of a picture has some twenty. */
const maxEntries = 4096;

/** Colour filters of a sensor: the pixels are no picture yet. */
const rawPhotometrics = new Set([32803, 34892]);

/**
 * Reads the first directory: sizes, channels and where the pixels lie, all within the file. Then unlinks the others in `bytes`, which must
 * be ours: libtiff follows the whole chain, however long, to count the pages.
 */
export function checkTiff(bytes: Uint8Array, file: string): void {
  const directory = new TiffDirectory(bytes, file);
  if (directory.has(tag.dngVersion) || rawPhotometrics.has(directory.first(tag.photometric) ?? 0))
    throw badFormat(file, "a camera's raw picture", readable);
  // Nikon and Sony put a preview first and the picture into a directory of its own.
  if (((directory.first(tag.subfileType) ?? 0) & 1) === 1 && directory.has(tag.subDirectories))
    throw badFormat(file, "a camera's raw picture", readable);
  const [width, height] = [directory.first(tag.width), directory.first(tag.height)];
  if (width === undefined || height === undefined) throw corrupt(file, "the TIFF does not tell its size");
  checkPossibleSides(width, height, file);
  checkSamples(directory, file);
  checkPlaces(directory, bytes.length, file);
  directory.unlinkNext();
}

function checkSamples(directory: TiffDirectory, file: string): void {
  const channels = directory.first(tag.samples) ?? 1;
  if (channels > maxChannels) throw badFormat(file, `a TIFF of ${channels} channels`, readable);
  for (const bits of directory.values(tag.bits, maxChannels))
    if (bits > maxBits) throw badFormat(file, `a TIFF of ${bits} bits per sample`, readable);
  for (const format of directory.values(tag.sampleFormat, maxChannels))
    if (format !== 1 && format !== 4) throw badFormat(file, `a TIFF of sample format ${format}`, readable);
}

/** Every strip or tile lies behind the header and within the file. */
function checkPlaces(directory: TiffDirectory, size: number, file: string): void {
  const isTiled = directory.has(tag.tileOffsets);
  const offsetTag = isTiled ? tag.tileOffsets : tag.stripOffsets;
  const countTag = isTiled ? tag.tileByteCounts : tag.stripByteCounts;
  if (!directory.has(offsetTag)) throw corrupt(file, "the TIFF does not tell where its pixels are");
  const offsets = directory.values(offsetTag, Number.POSITIVE_INFINITY);
  const counts = directory.has(countTag) ? directory.values(countTag, Number.POSITIVE_INFINITY) : undefined;
  for (const offset of offsets) {
    const count = counts === undefined ? 1 : counts.next().value;
    if (count === undefined) throw corrupt(file, "the TIFF has more places than lengths of its pixels");
    if (offset < 8 || count === 0) throw corrupt(file, "a part of the TIFF's pixels is nowhere");
    if (offset + count > size) throw truncated(file, "the TIFF ends before the end of its pixels");
  }
}

const tag = {
  subfileType: 254,
  width: 256,
  height: 257,
  bits: 258,
  photometric: 262,
  stripOffsets: 273,
  samples: 277,
  stripByteCounts: 279,
  tileOffsets: 324,
  tileByteCounts: 325,
  subDirectories: 330,
  sampleFormat: 339,
  dngVersion: 50706,
} as const;

interface Entry {
  readonly type: number;
  readonly count: number;
  /** Where its values lie. */
  readonly at: number;
}

/** Bytes of a value of the integer types: byte, short, long, IFD, and 64 bits. */
const sizeOfType: Readonly<Record<number, number>> = { 1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8 };

/** The first directory of a classic or a Big TIFF, in either byte order. */
class TiffDirectory {
  private readonly view: DataView;
  private readonly little: boolean;
  private readonly big: boolean;
  private readonly entries = new Map<number, Entry>();
  private readonly nextAt: number;

  constructor(
    bytes: Uint8Array,
    private readonly file: string,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.little = bytes[0] === 0x49;
    this.big = this.view.getUint16(2, this.little) === 43;
    const at = this.big ? this.wide(8) : this.view.getUint32(4, this.little);
    const [entrySize, countSize, word] = this.big ? [20, 8, 8] : [12, 2, 4];
    this.need(at, countSize);
    const count = this.big ? this.wide(at) : this.view.getUint16(at, this.little);
    if (count > maxEntries) throw corrupt(file, `the TIFF's directory has ${count} entries`);
    this.nextAt = at + countSize + count * entrySize;
    this.need(at + countSize, count * entrySize + word);
    for (let i = 0; i < count; i++) this.readEntry(at + countSize + i * entrySize, word);
  }

  private readEntry(at: number, word: number): void {
    const number = this.view.getUint16(at, this.little);
    const type = this.view.getUint16(at + 2, this.little);
    const size = sizeOfType[type];
    const count = word === 8 ? this.wide(at + 4) : this.view.getUint32(at + 4, this.little);
    if (size === undefined || this.entries.has(number)) return;
    const inside = at + 4 + word;
    const place =
      size * count <= word ? inside : word === 8 ? this.wide(inside) : this.view.getUint32(inside, this.little);
    this.entries.set(number, { type, count, at: place });
  }

  has(number: number): boolean {
    return this.entries.has(number);
  }

  first(number: number): number | undefined {
    return this.values(number, 1).next().value;
  }

  /** The first values of an entry, none if it is absent. */
  *values(number: number, most: number): Generator<number, undefined> {
    const entry = this.entries.get(number);
    if (entry === undefined) return;
    const size = sizeOfType[entry.type];
    const count = Math.min(entry.count, most);
    this.need(entry.at, count * size);
    for (let i = 0; i < count; i++) yield this.value(entry.at + i * size, size);
  }

  unlinkNext(): void {
    if (this.big) this.view.setBigUint64(this.nextAt, 0n);
    else this.view.setUint32(this.nextAt, 0);
  }

  private value(at: number, size: number): number {
    if (size === 1) return this.view.getUint8(at);
    if (size === 2) return this.view.getUint16(at, this.little);
    return size === 4 ? this.view.getUint32(at, this.little) : this.wide(at);
  }

  /** 64 bits; beyond 2^53 inexact, but then it is beyond the file as well. */
  private wide(at: number): number {
    return Number(this.view.getBigUint64(at, this.little));
  }

  private need(at: number, size: number): void {
    if (at + size > this.view.byteLength) throw truncated(this.file, "the TIFF ends before what its directory names");
  }
}
