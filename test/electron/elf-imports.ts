import { readFileSync } from "node:fs";

export interface DynamicSymbol {
  readonly name: string;
  readonly isDefined: boolean;
}

const sectionDynsym = 11;

/** The dynamic symbols of a 64-bit little-endian ELF file: what it imports and exports. */
export function dynamicSymbols(file: string): DynamicSymbol[] {
  const bytes = readFileSync(file);
  if (bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1)
    throw new Error(`${file} is no ELF64 file`);
  const number = (at: number) => Number(bytes.readBigUInt64LE(at));
  const sections = Array.from({ length: bytes.readUInt16LE(60) }, (_, i) => {
    const at = number(40) + i * bytes.readUInt16LE(58);
    return {
      type: bytes.readUInt32LE(at + 4),
      offset: number(at + 24),
      size: number(at + 32),
      link: bytes.readUInt32LE(at + 40),
    };
  });
  const table = sections.find(({ type }) => type === sectionDynsym);
  if (table === undefined) throw new Error(`${file} has no dynamic symbols`);
  const names = sections[table.link];
  const symbols: DynamicSymbol[] = [];
  for (let at = table.offset + 24; at < table.offset + table.size; at += 24) {
    const start = names.offset + bytes.readUInt32LE(at);
    const name = bytes.toString("latin1", start, bytes.indexOf(0, start));
    symbols.push({ name, isDefined: bytes.readUInt16LE(at + 6) !== 0 });
  }
  return symbols;
}
