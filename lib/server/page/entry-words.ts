import type { EntryPlace, Kind } from "./search-client";

export const kindNames: { readonly [kind in Kind]: string } = { image: "picture", text: "text", page: "page" };

/** As it can be read: bytes that are no text as \xNN, what would not be seen or turn the line around as \u{…}. */
export function shownPath(path: string): string {
  return path.replace(/[\u{10ff80}-\u{10ffff}\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) => {
    const code = character.codePointAt(0) as number;
    return code > 0x10ff00 ? `\\x${(code - 0x10ff00).toString(16)}` : `\\u{${code.toString(16)}}`;
  });
}

export function fileName(path: string): string {
  return shownPath(path.split(/[/\\]/).filter((part) => part !== "").at(-1) ?? path); // biome-ignore format: one line says it
}

/** Where in its file it is: `page 3`, `row 7, passage 2`; else the kind. */
export function placeOf({ kind, page, passage, row, width, height }: EntryPlace): string {
  const parts = [
    row === undefined ? "" : `row ${row}`,
    page === undefined ? "" : `page ${page}`,
    passage === undefined ? "" : `passage ${passage}`,
    kind !== "image" || width === undefined ? "" : `${width} × ${height}`,
  ].filter((part) => part !== "");
  return parts.length === 0 ? kindNames[kind] : parts.join(", ");
}

/** `1 text`, `2 texts`. */
export function counted(count: number, name: string, plural = `${name}s`): string {
  return `${count.toLocaleString("en")} ${count === 1 ? name : plural}`;
}
