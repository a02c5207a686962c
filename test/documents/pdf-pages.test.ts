import { spawnSync } from "node:child_process";
import { deflateSync } from "node:zlib";
import sharp from "sharp";
import t from "tap";
import { openPdf, type RenderedPage } from "../../lib/documents/pdf-pages";
import { pdfLibrary } from "../../lib/documents/pdf-library";
import { GmeError } from "../../lib/errors";
import { root } from "../helpers/fixtures";
import { encryptedPdf, pdfWithPages, writePdf } from "../helpers/pdf-writer";
import { rejectsWith } from "../helpers/rejects";

async function jpegOf(r: number, g: number, b: number): Promise<{ jpeg: Uint8Array; width: number; height: number }> {
  const jpeg = await sharp({ create: { width: 40, height: 30, channels: 3, background: { r, g, b } } })
    .jpeg()
    .toBuffer();
  return { jpeg, width: 40, height: 30 };
}

function pixel({ data, width }: RenderedPage, x: number, y: number): number[] {
  return [...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)];
}

function darkShare({ data }: RenderedPage): number {
  return data.reduce((count, value) => count + (value < 100 ? 1 : 0), 0) / data.length;
}

/** One page 100×100 points with these contents, twice; `object` is number 5 and its /P. */
function pageWith(content: string, object: { dictionary: string; stream?: Uint8Array }, page = ""): Buffer {
  return writePdf([
    { dictionary: "<< /Type /Catalog /Pages 2 0 R >>" },
    { dictionary: "<< /Type /Pages /Kids [3 0 R 6 0 R] /Count 2 >>" },
    {
      dictionary: `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Contents 4 0 R /Resources << /XObject << /P 5 0 R >> >> ${page} >>`,
    },
    { dictionary: "<< >>", stream: Buffer.from(content) },
    object,
    { dictionary: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] >>" },
  ]);
}

t.test("pages are drawn on white with text, pictures and colours in order", async (t) => {
  const pdf = await openPdf(
    pdfWithPages([{ text: "Hello (page)\none" }, { image: await jpegOf(200, 30, 60), width: 400, height: 300 }, {}]),
    "a.pdf",
  );
  t.equal(pdf.pageCount, 3);
  const text = await pdf.renderPage(1, 500_000);
  t.strictSame(text.points, { width: 595, height: 842 });
  t.strictSame(pixel(text, 0, 0), [255, 255, 255]);
  t.ok(darkShare(text) > 0.0003 && darkShare(text) < 0.1, `${darkShare(text)} is dark`);
  const picture = await pdf.renderPage(2, 500_000);
  const [r, g, b] = pixel(picture, 100, 100);
  t.ok(Math.abs(r - 200) < 4 && Math.abs(g - 30) < 4 && Math.abs(b - 60) < 4, `${r}, ${g}, ${b}`);
  t.equal(darkShare(await pdf.renderPage(3, 10_000)), 0, "an empty page is white");
  t.strictSame((await pdf.renderPage(1, 500_000)).data, text.data, "the same page is the same pixels");
  for (const number of [0, 4, 1.5, Number.NaN])
    await rejectsWith(t, () => pdf.renderPage(number, 1000), "GME_INPUT_INVALID");
  pdf.close();
  pdf.close();
  await rejectsWith(t, () => pdf.renderPage(1, 1000), "GME_INTERNAL", "after close");
});

t.test("pages keep within the pixels that are allowed, whatever their size on paper", async (t) => {
  const sizes = [
    [595, 842],
    [14_400, 14_400],
    [0, 0],
    [1, 10_000],
    [10_000, 1],
    [0.01, 14_400],
    [1e9, 1e9],
    [-100, 50],
    [10, 10],
  ];
  const pdf = await openPdf(pdfWithPages(sizes.map(([width, height]) => ({ width, height }))), "sizes.pdf");
  for (const [i, size] of sizes.entries()) {
    for (const most of [1, 100, 250_000]) {
      const { data, width, height } = await pdf.renderPage(i + 1, most);
      t.ok(
        width >= 1 && height >= 1 && width * height <= most && data.length === width * height * 3,
        `${size}: ${width}×${height}`,
      );
    }
  }
  const usual = await pdf.renderPage(1, 250_000);
  t.ok(usual.width * usual.height > 248_000, "as many as possible");
  t.match(await pdf.renderPage(9, 250_000), { width: 40, height: 40 }, "small pages stay small");
  pdf.close();
});

t.test("pages are upright and show annotations and form fields", async (t) => {
  const red = {
    dictionary: "<< /Type /XObject /Subtype /Form /BBox [0 0 50 50] >>",
    stream: Buffer.from("1 0 0 rg 0 0 50 50 re f"),
  };
  const turned = await openPdf(pageWith("q /P Do Q", red, "/Rotate 90"), "turned.pdf");
  const upright = await turned.renderPage(1, 160_000);
  t.strictSame(pixel(upright, 10, 10), [255, 0, 0], "the lower left corner is now the upper left one");
  t.strictSame(pixel(upright, 390, 390), [255, 255, 255]);
  turned.close();
  for (const kind of ["/Subtype /Square", "/Subtype /Widget /FT /Tx /T (a)"]) {
    const annotation = `/Annots [<< /Type /Annot ${kind} /Rect [0 0 50 50] /F 4 /AP << /N 5 0 R >> >>]`;
    const pdf = await openPdf(pageWith("", red, annotation), "annotated.pdf");
    t.strictSame(pixel(await pdf.renderPage(1, 160_000), 10, 390), [255, 0, 0], kind);
    pdf.close();
  }
});

t.test("files that are no readable PDF have the code that says so", async (t) => {
  const whole = pdfWithPages([{ text: "x" }]);
  const cases: [string, Uint8Array, string][] = [
    ["empty", new Uint8Array(), "GME_PDF_TRUNCATED"],
    ["cut off", whole.subarray(0, 60), "GME_PDF_TRUNCATED"],
    ["a text", Buffer.from("hello"), "GME_PDF_CORRUPT"],
    ["%PDF too late", Buffer.concat([Buffer.alloc(1025, 32), whole]), "GME_PDF_CORRUPT"],
    ["junk", Buffer.from("%PDF-1.4 junk\n%%EOF\n"), "GME_PDF_CORRUPT"],
    ["no pages", pdfWithPages([]), "GME_PDF_CORRUPT"],
    ["password", encryptedPdf("secret"), "GME_PDF_ENCRYPTED"],
    [
      "pages",
      Buffer.from(whole.toString("latin1").replace("/Count 1", "/Count 100001"), "latin1"),
      "GME_PDF_TOO_LARGE",
    ],
  ];
  for (const [title, bytes, code] of cases) {
    const error = await rejectsWith(t, () => openPdf(bytes, "bad\n.pdf"), code, title);
    t.equal(error.file, "bad\n.pdf");
    t.match(error.message, /^bad\\u\{a\}\.pdf: /);
  }
  const huge = new Proxy(new Uint8Array(1), {
    get: (target, key) => (key === "length" ? 2 ** 30 + 1 : Reflect.get(target, key)),
  });
  await rejectsWith(t, () => openPdf(huge, "huge.pdf"), "GME_PDF_TOO_LARGE", "bytes");
});

t.test("an encrypted PDF without a password, and one behind other bytes, open", async (t) => {
  const late = Buffer.concat([Buffer.alloc(500, 32), pdfWithPages([{ text: "x" }])]);
  for (const bytes of [encryptedPdf(""), late]) {
    const pdf = await openPdf(bytes, "a.pdf");
    t.ok(darkShare(await pdf.renderPage(1, 100_000)) > 0, "its text is drawn");
    pdf.close();
  }
});

t.test("a broken page is that page's error", async (t) => {
  const bytes = pdfWithPages([{ text: "one" }, { text: "two" }, { text: "three" }]).toString("latin1");
  const pdf = await openPdf(Buffer.from(bytes.replace("/Kids [4 0 R 6 0 R", "/Kids [4 0 R 0 0 R"), "latin1"), "a.pdf");
  t.equal(pdf.pageCount, 3);
  const error = await rejectsWith(t, () => pdf.renderPage(2, 10_000), "GME_PDF_CORRUPT");
  t.match(error, { file: "a.pdf", field: "page 2" });
  for (const number of [1, 3]) t.ok(darkShare(await pdf.renderPage(number, 100_000)) > 0, `page ${number} is drawn`);
  pdf.close();
});

t.test(
  "a page on which PDFium crashes costs neither the document nor others that are open",
  { timeout: 120_000 },
  async (t) => {
    const endless = {
      dictionary: "<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /P 5 0 R >> >> >>",
    };
    const other = await openPdf(pdfWithPages([{ text: "other" }]), "other.pdf");
    const pdf = await openPdf(pageWith("/P Do", { ...endless, stream: Buffer.from("/P Do /P Do") }), "endless.pdf");
    const before = await pdfLibrary();
    await rejectsWith(t, () => pdf.renderPage(1, 10_000), "GME_PDF_CORRUPT");
    t.notOk(before.isUsable, "PDFium did crash");
    t.equal(darkShare(await pdf.renderPage(2, 10_000)), 0, "its second page is drawn");
    t.ok(darkShare(await other.renderPage(1, 100_000)) > 0, "the other document too");
    pdf.close();
    other.close();
  },
);

t.test(
  "a picture of a gigapixel within a page is drawn or refused, in bounded memory",
  { timeout: 120_000 },
  async (t) => {
    const dictionary =
      "<< /Type /XObject /Subtype /Image /Width 30000 /Height 30000 /ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /FlateDecode >>";
    const pdf = await openPdf(
      pageWith("q 9 0 0 9 0 0 cm /P Do Q", { dictionary, stream: deflateSync(Buffer.alloc(1e6)) }),
      "a.pdf",
    );
    const code = await pdf.renderPage(1, 10_000).then(
      () => "drawn",
      (error) => error.code,
    );
    t.ok(["drawn", "GME_PDF_CORRUPT", "GME_OUT_OF_MEMORY"].includes(code), code);
    t.ok((await pdfLibrary()).memoryBytes <= 800 * 1024 * 1024);
    pdf.close();
  },
);

t.test("damaged files end in errors of this package", { timeout: 120_000 }, async (t) => {
  const whole = pdfWithPages([{ text: "Hello page" }, { image: await jpegOf(1, 2, 3), width: 100, height: 80 }]);
  let seed = 1;
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((seed / 2_147_483_648) * below);
  };
  const others: unknown[] = [];
  const codes = new Set<string>();
  const note = (error: unknown) => {
    if (error instanceof GmeError) codes.add(error.code);
    else others.push(error);
  };
  for (let i = 0; i < 600; i++) {
    const bytes = Buffer.from(random(5) === 0 ? whole.subarray(0, random(whole.length)) : whole);
    for (let n = random(20); n > 0 && bytes.length > 0; n--)
      bytes[random(bytes.length)] = random(2) ? random(256) : 48 + random(10);
    try {
      const pdf = await openPdf(bytes, "a.pdf");
      for (let page = 1; page <= Math.min(2, pdf.pageCount); page++) await pdf.renderPage(page, 10_000).catch(note);
      pdf.close();
    } catch (error) {
      note(error);
    }
  }
  t.strictSame(others, []);
  t.ok(codes.has("GME_PDF_CORRUPT") && [...codes].every((code) => code.startsWith("GME_PDF_")), [...codes].join(", "));
});

t.test("memory stays flat over 200 documents, and goes back after a large one", { timeout: 120_000 }, async (t) => {
  const bytes = pdfWithPages([{ text: "Hello" }, { image: await jpegOf(9, 9, 9) }]);
  const round = async (pixels: number) => {
    const pdf = await openPdf(bytes, "a.pdf");
    for (const number of [1, 2]) await pdf.renderPage(number, pixels);
    pdf.close();
  };
  for (let i = 0; i < 40; i++) await round(500_000);
  const start = process.memoryUsage().rss;
  const library = (await pdfLibrary()).memoryBytes;
  for (let i = 0; i < 200; i++) await round(500_000);
  const more = process.memoryUsage().rss - start;
  t.ok(more < 60e6, `${Math.round(more / 1e6)} MB more`);
  t.equal((await pdfLibrary()).memoryBytes, library);
  const large = await openPdf(pdfWithPages([{ width: 14_400, height: 14_400 }]), "large.pdf");
  await large.renderPage(1, 50_000_000);
  t.ok((await pdfLibrary()).memoryBytes > 150e6, "an open document keeps its instance");
  large.close();
  t.ok((await pdfLibrary()).memoryBytes < 50e6, "the next one gets a small one");
});

t.test("a missing package is told with the command that installs it", async (t) => {
  const hooks = `export async function resolve(name, context, next) {
    if (name === "@hyzyla/pdfium") throw new Error("not found");
    return next(name, context);
  }`;
  const register = `import { register } from "node:module"; register(${JSON.stringify(dataUrl(hooks))});`;
  const script = `require("./lib/documents/pdf-pages").openPdf(Buffer.from("%PDF-1.4"), "a.pdf").catch((e) => console.log(e.code, e.message))`;
  const done = spawnSync(process.execPath, ["--import", "tsx", "--import", dataUrl(register), "-e", script], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  t.match(done.stdout, /^GME_PDF_BACKEND_MISSING .*npm install @hyzyla\/pdfium@/, done.stderr);
});

function dataUrl(code: string): string {
  return `data:text/javascript,${encodeURIComponent(code)}`;
}
