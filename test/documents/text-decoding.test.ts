import t from "tap";
import { decodeText } from "../../lib/documents/text-decoding";
import { rejectsWith } from "../helpers/rejects";

const words = "Äpfel für 5 €\nund Grüße\n";

function bigEndian(text: string): Buffer {
  return Buffer.from(text, "utf16le").swap16();
}

t.test("UTF-8 and UTF-16 are read with and without a byte order mark", async (t) => {
  t.equal(decodeText(Buffer.from(words), "a"), words);
  t.equal(decodeText(Buffer.from(`\ufeff${words}`), "a"), words);
  t.equal(decodeText(Buffer.from(`\ufeff${words}`, "utf16le"), "a"), words);
  t.equal(decodeText(bigEndian(`\ufeff${words}`), "a"), words);
  t.equal(decodeText(Buffer.from(words, "utf16le"), "a"), words, "without a mark");
  t.equal(decodeText(bigEndian(words), "a"), words, "without a mark, big-endian");
  const cyrillic = "Это текст с пробелами и\nстроками";
  t.equal(decodeText(Buffer.from(cyrillic, "utf16le"), "a"), cyrillic, "spaces alone show it");
  t.equal(decodeText(new Uint8Array(), "a"), "");
});

t.test("what is not UTF-8 is windows-1252, or the encoding that it declares", async (t) => {
  t.equal(decodeText(Buffer.from([0x80, 0x20, 0xe4, 0x93, 0x94]), "a"), "€ ä“”");
  t.equal(decodeText(Buffer.from([0xcf, 0xf0, 0xe8]), "a", "windows-1251"), "При");
  t.equal(decodeText(Buffer.from("Приве́т"), "a", "windows-1251"), "Приве́т", "UTF-8 counts before a declaration");
  t.equal(decodeText(Buffer.from([0xe4]), "a", "no-such-encoding"), "ä");
});

t.test("line ends become line feeds", async (t) => {
  t.equal(decodeText(Buffer.from("a\r\nb\rc\n\r\nd"), "a"), "a\nb\nc\n\nd");
});

t.test("binary data is refused, whatever its extension", async (t) => {
  const png = Buffer.from("89504e470d0a1a0a0000000d49484452", "hex");
  const cases: [string, Uint8Array][] = [
    ["a picture", png],
    ["a NUL in UTF-8", Buffer.from("a text\0with one")],
    ["NULs in UTF-16", Buffer.from("\ufeffa\0b", "utf16le")],
    ["only NULs", new Uint8Array(1000)],
    ["control characters", Buffer.from([0xe4, 0x01, 0x41])],
    ["bytes that windows-1252 has not", Buffer.from([0xe4, 0x81, 0x41])],
  ];
  for (const [title, bytes] of cases) {
    const error = await rejectsWith(t, () => decodeText(bytes, "a.txt"), "GME_DOCUMENT_UNREADABLE", title);
    t.equal(error.file, "a.txt");
  }
});

t.test("a broken UTF-16 file is read with replacement characters", async (t) => {
  t.equal(decodeText(Buffer.from([0xff, 0xfe, 0x41, 0, 0x3d, 0xd8, 0x42, 0, 0x43]), "a"), "A\ufffdB\ufffd");
});
