import { openPdf, type PdfDocument } from "../documents/pdf-pages";
import { abortError } from "../errors";
import type { HashedFile } from "./embed-task";
import { readPdf } from "./task-files";

/** While one document's pages are drawn, the next one's are counted; unless the two are large. */
const keptDocuments = 2;
const keptBytes = 64 * 1024 * 1024;
const idleMs = 10_000;

/** PDF files that stay open between their pages; one of them is worked on at a time. */
export class OpenDocuments {
  private readonly documents = new Map<string, { readonly document: PdfDocument; readonly bytes: number }>();
  private last: Promise<unknown> = Promise.resolve();
  private idle: NodeJS.Timeout | undefined;

  /** Rejects with GME_PDF_…, GME_IO_ERROR, GME_CHANGED_WHILE_OPEN, or GME_ABORTED before its turn. */
  use<T>(file: HashedFile, work: (document: PdfDocument) => T | Promise<T>, signal?: AbortSignal): Promise<T> {
    const turn = this.last.then(async () => {
      clearTimeout(this.idle);
      if (signal?.aborted) throw abortError(signal);
      return work(await this.open(file));
    });
    this.last = turn.catch(() => undefined).then(() => this.closeWhenIdle());
    return turn;
  }

  /** After the work that was asked for. */
  async close(): Promise<void> {
    await this.last;
    clearTimeout(this.idle);
    this.makeRoom(Number.POSITIVE_INFINITY);
  }

  private async open(file: HashedFile): Promise<PdfDocument> {
    const key = `${file.sha256} ${file.path}`;
    let entry = this.documents.get(key);
    if (entry === undefined) {
      const bytes = await readPdf(file);
      this.makeRoom(bytes.length);
      entry = { document: await openPdf(bytes, file.path), bytes: bytes.length };
    }
    this.documents.delete(key);
    this.documents.set(key, entry); // the last one used comes last
    return entry.document;
  }

  private closeWhenIdle(): void {
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.makeRoom(Number.POSITIVE_INFINITY), idleMs);
    this.idle.unref();
  }

  /** Closes those used longest ago, for a document of so many bytes. */
  private makeRoom(bytes: number): void {
    let held = [...this.documents.values()].reduce((total, entry) => total + entry.bytes, bytes);
    for (const [key, entry] of this.documents) {
      if (this.documents.size < keptDocuments && held <= keptBytes) return;
      this.documents.delete(key);
      entry.document.close();
      held -= entry.bytes;
    }
  }
}
