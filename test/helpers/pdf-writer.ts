import { createHash } from "node:crypto";

/** A page: lines of Helvetica, or a JPEG over the whole page. Width and height in points, default 595×842. */
export interface WrittenPage {
  text?: string;
  image?: { jpeg: Uint8Array; width: number; height: number };
  width?: number;
  height?: number;
}

interface PdfObject {
  dictionary: string;
  stream?: Uint8Array;
}

/** A small valid PDF 1.4 with these pages. */
export function pdfWithPages(pages: readonly WrittenPage[]): Buffer {
  return writePdf(pageObjects(pages), "");
}

/** A PDF of one page with the word "secret", encrypted with RC4 of 40 bits; an empty password lets every viewer open it. */
export function encryptedPdf(userPassword: string): Buffer {
  const id = Buffer.alloc(16, 7);
  const permissions = Buffer.alloc(4);
  permissions.writeInt32LE(-4);
  const password = padded(userPassword);
  const owner = rc4(md5(password).subarray(0, 5), password);
  const key = md5(password, owner, permissions, id).subarray(0, 5);
  const user = rc4(key, padded(""));
  const objects = pageObjects([{ text: "secret" }]).map(({ dictionary, stream }, i) => {
    const number = Buffer.from([i + 1, 0, 0, 0, 0]);
    const objectKey = md5(key, number).subarray(0, 10);
    return { dictionary, stream: stream && rc4(objectKey, stream) };
  });
  const encrypt = `<< /Filter /Standard /V 1 /R 2 /O <${owner.toString("hex")}> /U <${user.toString("hex")}> /P -4 >>`;
  return writePdf(objects, `/Encrypt ${encrypt} /ID [<${id.toString("hex")}> <${id.toString("hex")}>]`);
}

/** Any objects as a PDF, numbered from 1; the first is the catalog. `stream` objects get their length. */
export function writePdf(objects: readonly PdfObject[], trailer = ""): Buffer {
  const parts: Buffer[] = [Buffer.from("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", "latin1")];
  let length = parts[0].length;
  const offsets: number[] = [];
  const add = (part: Uint8Array | string) => {
    const bytes = typeof part === "string" ? Buffer.from(part, "latin1") : Buffer.from(part);
    parts.push(bytes);
    length += bytes.length;
  };
  objects.forEach(({ dictionary, stream }, i) => {
    offsets.push(length);
    add(`${i + 1} 0 obj\n`);
    if (stream === undefined) add(dictionary);
    else {
      add(`${dictionary.replace(/>>$/, `/Length ${stream.length} >>`)}\nstream\n`);
      add(stream);
      add("\nendstream");
    }
    add("\nendobj\n");
  });
  const start = length;
  const entries = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`);
  add(`xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${entries.join("")}`);
  add(`trailer\n<< /Size ${objects.length + 1} /Root 1 0 R ${trailer} >>\nstartxref\n${start}\n%%EOF\n`);
  return Buffer.concat(parts);
}

function pageObjects(pages: readonly WrittenPage[]): PdfObject[] {
  const objects: PdfObject[] = [
    { dictionary: "<< /Type /Catalog /Pages 2 0 R >>" },
    { dictionary: "" },
    { dictionary: "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>" },
  ];
  const kids: string[] = [];
  for (const page of pages) {
    const { width = 595, height = 842, image } = page;
    const number = objects.length + 1;
    kids.push(`${number} 0 R`);
    const images = image === undefined ? "" : `/XObject << /Picture ${number + 2} 0 R >>`;
    objects.push({
      dictionary: `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 ${width} ${height}] /Contents ${number + 1} 0 R /Resources << /Font << /Helvetica 3 0 R >> ${images} >> >>`,
    });
    objects.push({ dictionary: "<< >>", stream: Buffer.from(pageContent(page, width, height), "latin1") });
    if (image !== undefined) {
      objects.push({
        dictionary: `<< /Type /XObject /Subtype /Image /Width ${image.width} /Height ${image.height} /ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode >>`,
        stream: image.jpeg,
      });
    }
  }
  objects[1].dictionary = `<< /Type /Pages /Kids [${kids.join(" ")}] /Count ${pages.length} >>`;
  return objects;
}

function pageContent({ text, image }: WrittenPage, width: number, height: number): string {
  const size = 14;
  const picture = image === undefined ? "" : `q ${width} 0 0 ${height} 0 0 cm /Picture Do Q\n`;
  if (text === undefined) return picture;
  const lines = wrap(text, Math.max(8, Math.floor((width - 72) / (size * 0.55))));
  const shown = lines.map((line) => `(${line.replace(/[\\()]/g, "\\$&")}) Tj T*`);
  return `${picture}BT /Helvetica ${size} Tf ${size * 1.3} TL 36 ${height - 50} Td\n${shown.join("\n")}\nET`;
}

function wrap(text: string, columns: number): string[] {
  return text
    .split("\n")
    .flatMap((line) => line.match(new RegExp(`.{1,${columns}}(?:\\s|$)|.{1,${columns}}`, "g")) ?? [""]);
}

const padding = Buffer.from("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a", "hex");

function padded(password: string): Buffer {
  return Buffer.concat([Buffer.from(password, "latin1"), padding]).subarray(0, 32);
}

function md5(...parts: Uint8Array[]): Buffer {
  const hash = createHash("md5");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function rc4(key: Uint8Array, data: Uint8Array): Buffer {
  const state = Uint8Array.from({ length: 256 }, (_, i) => i);
  for (let i = 0, j = 0; i < 256; i++) {
    j = (j + state[i] + key[i % key.length]) & 255;
    [state[i], state[j]] = [state[j], state[i]];
  }
  let [i, j] = [0, 0];
  return Buffer.from(data).map((byte) => {
    i = (i + 1) & 255;
    j = (j + state[i]) & 255;
    [state[i], state[j]] = [state[j], state[i]];
    return byte ^ state[(state[i] + state[j]) & 255];
  }) as Buffer;
}
