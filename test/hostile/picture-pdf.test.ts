// PDFs at the PDF entry: one page at a time, within the pixels that are allowed, and nothing in them runs.
import { existsSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { openPdf } from "../../lib/documents/pdf-pages";
import { temporaryFolder } from "../helpers/fixtures";
import { encryptedPdf, pdfWithPages, writePdf } from "../helpers/pdf-writer";
import { openCanary } from "./picture-canary";
import { outcomeOf } from "./picture-outcome";

const catalog = (more = "") => ({ dictionary: `<< /Type /Catalog /Pages 2 0 R ${more} >>` });
const pages = (kids: string, count: number, more = "") => ({
  dictionary: `<< /Type /Pages /Kids [${kids}] /Count ${count} ${more} >>`,
});
const page = (more = "") => ({ dictionary: `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] ${more} >>` });
const onePage = (pageMore = "", catalogMore = "", ...more: { dictionary: string; stream?: Uint8Array }[]) =>
  writePdf([catalog(catalogMore), pages("3 0 R", 1), page(pageMore), ...more]);

/** `WxH` of the first page drawn within 10,000 pixels, or the code. */
async function drawn(bytes: Uint8Array, number = 1, maxPixels = 10_000): Promise<string> {
  try {
    const pdf = await openPdf(bytes, "hostile.pdf");
    try {
      const { width, height, data } = await pdf.renderPage(number, maxPixels);
      return data.length === width * height * 3 && width * height <= maxPixels ? "drawn" : `${width}×${height}`;
    } finally {
      pdf.close();
    }
  } catch (error) {
    return (error as { code?: string }).code ?? `not a GmeError: ${error}`;
  }
}

t.test(
  "I39 100,000 pages, deep trees, loops and impossible boxes are drawn in bounds or have a typed error",
  { timeout: 240_000 },
  async (t) => {
    const kids = "3 0 R ".repeat(100_000);
    const deep = Array.from({ length: 3_000 }, (_, i) => ({
      dictionary: `<< /Type /Pages /Kids [${i + 3} 0 R] /Count 1 /Parent ${i + 1} 0 R >>`,
    }));
    const boxed = (...box: (number | string)[]) =>
      writePdf([
        catalog(),
        pages("3 0 R", 1),
        { dictionary: `<< /Type /Page /Parent 2 0 R /MediaBox [${box.join(" ")}] >>` },
      ]);
    const whole = pdfWithPages([{ text: "x" }]).toString("latin1");
    const changed = (from: RegExp, to: string) => Buffer.from(whole.replace(from, to), "latin1");
    const cases: [string, Uint8Array, number?][] = [
      ["100,000 pages, the first", writePdf([catalog(), pages(kids, 100_000), page()]), 1],
      ["100,000 pages, the last", writePdf([catalog(), pages(kids, 100_000), page()]), 100_000],
      ["100,001 pages", writePdf([catalog(), pages(`${kids}3 0 R`, 100_001), page()])],
      ["a count of 2^31", changed(/\/Count 1/, "/Count 2147483648")],
      ["a negative count", changed(/\/Count 1/, "/Count -5")],
      ["a tree of 3,000 levels", writePdf([catalog(), ...deep, page()])],
      ["a tree in a loop", writePdf([catalog(), pages("2 0 R", 1), page()])],
      [
        "a page that is its own parent",
        writePdf([catalog(), pages("3 0 R", 1), { dictionary: "<< /Type /Page /Parent 3 0 R >>" }]),
      ],
      ...[
        [0, 0, 14_400, 14_400],
        [0, 0, 1e9, 1e9],
        [0, 0, 1e300, 1e300],
        [100, 100, 0, 0],
        [-50, -50, -10, -10],
        [0, 0, 0, 0],
        ["NaN", "NaN", "NaN", "NaN"],
        ["(a)", "/b", "null", "true"],
        [0, 0, 1e-30, 1e30],
      ].map((box): [string, Uint8Array] => [`a box of ${box.join(" ")}`, boxed(...box)]),
      ["no box", writePdf([catalog(), pages("3 0 R", 1), { dictionary: "<< /Type /Page /Parent 2 0 R >>" }])],
      ["a rotation of 45", onePage("/Rotate 45")],
      ["a rotation of 2^40", onePage("/Rotate 1099511627776")],
      ["a unit of 10,000", onePage("/UserUnit 10000")],
      ["a table of references at itself", changed(/startxref\n\d+/, `startxref\n${whole.lastIndexOf("startxref")}`)],
      ["a table before itself in a loop", changed(/trailer\n<</, `trailer\n<< /Prev ${whole.indexOf("\nxref") + 1} `)],
      ["a table at 2^40", changed(/startxref\n\d+/, "startxref\n1099511627776")],
      ["a stream longer than the file", changed(/\/Length \d+/, "/Length 999999999")],
      [
        "a stream whose length is itself",
        onePage("/Contents 4 0 R", "", { dictionary: "<< /Length 4 0 R >>", stream: Buffer.from("q Q") }),
      ],
      ["a password", encryptedPdf("secret")],
      [
        "100,000 saved states",
        onePage("/Contents 4 0 R", "", { dictionary: "<< >>", stream: Buffer.from("q ".repeat(100_000)) }),
      ],
      [
        "100,000 brackets",
        onePage("/Contents 4 0 R", "", { dictionary: "<< >>", stream: Buffer.from("[".repeat(100_000)) }),
      ],
      ["nested dictionaries", onePage(`/X ${"<</A ".repeat(5_000)}1${">>".repeat(5_000)}`)],
    ];
    const counts = new Map<string, number>();
    let slowest = 0;
    for (const [name, bytes, number] of cases) {
      const start = performance.now();
      const what = await drawn(bytes, number);
      slowest = Math.max(slowest, performance.now() - start);
      t.match(what, /^(drawn|GME_PDF_(CORRUPT|TRUNCATED|ENCRYPTED|TOO_LARGE))$/, `${name}: ${what}`);
      counts.set(what, (counts.get(what) ?? 0) + 1);
    }
    t.equal(await drawn(pdfWithPages([{ text: "x" }])), "drawn", "a good one afterwards");
    t.comment(
      `I39: ${cases.length} PDFs: ${[...counts].map(([what, count]) => `${count} ${what}`).join(", ")}; slowest ${slowest.toFixed(0)} ms`,
    );
  },
);

t.test("I39 scripts, launches, addresses and embedded files of a PDF do nothing", async (t) => {
  const canary = await openCanary();
  const { address } = canary;
  const mark = join(temporaryFolder(), "mark");
  const actions: Record<string, string> = {
    script: `<< /S /JavaScript /JS (app.launchURL\\("${address}"\\); this.submitForm\\("${address}"\\);) >>`,
    launch: `<< /S /Launch /F (/bin/touch) /Unix << /F (/bin/touch) /P (${mark}) >> >>`,
    address: `<< /S /URI /URI (${address}) >>`,
    form: `<< /S /SubmitForm /F << /FS /URL /F (${address}) >> >>`,
    "another file": `<< /S /GoToR /F << /FS /URL /F (${address}) >> /D [0 /Fit] >>`,
    data: `<< /S /ImportData /F (${address}) >>`,
    sound: `<< /S /Rendition /R << /S /MR /C << /S /MCD /D << /FS /URL /F (${address}) >> >> >> >>`,
  };
  let count = 0;
  for (const [name, action] of Object.entries(actions)) {
    const link = `/Annots [<< /Type /Annot /Subtype /Link /Rect [0 0 50 50] /A ${action} /AA << /PO ${action} /PV ${action} >> >>]`;
    const files: Record<string, Buffer> = {
      "on opening": onePage("", `/OpenAction ${action} /AA << /WC ${action} /DS ${action} >>`),
      "on the page": onePage(`/AA << /O ${action} /C ${action} >>`),
      "in a link": onePage(link),
      "in a field": onePage(
        `/Annots [<< /Type /Annot /Subtype /Widget /FT /Tx /T (a) /Rect [0 0 9 9] /A ${action} /AA << /F ${action} /C ${action} /K ${action} >> >>]`,
        "/AcroForm << /Fields [] >>",
      ),
      "by name": onePage(
        "",
        `/Names << /JavaScript << /Names [(a) ${action}] >> /EmbeddedFiles << /Names [(a) << /Type /Filespec /F (${address}) >>] >> >>`,
      ),
      "as a picture": onePage(
        "/Contents 4 0 R /Resources << /XObject << /P 5 0 R >> >>",
        "",
        { dictionary: "<< >>", stream: Buffer.from("/P Do") },
        {
          dictionary: `<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8 /F << /FS /URL /F (${address}) >> >>`,
          stream: Buffer.from("x"),
        },
      ),
    };
    for (const [place, bytes] of Object.entries(files)) {
      count++;
      t.equal(await drawn(bytes), "drawn", `${name} ${place}`);
    }
  }
  t.strictSame(await canary.end(), [], "no address was asked for");
  t.notOk(existsSync(mark), "nothing was launched");
  t.comment(`I39: ${count} PDFs with actions drawn, 0 requests at the canary, 0 programs started`);
});

t.test("I39 I05 a PDF at the picture entry is no picture", async (t) => {
  const { what } = await outcomeOf(pdfWithPages([{ text: "x" }]));
  t.equal(what, "GME_IMAGE_FORMAT");
  t.comment(`I39: a PDF given as a picture: ${what}`);
});
