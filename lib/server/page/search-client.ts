export type Kind = "image" | "text" | "page";

/** What a row says of where it is from. */
export interface EntryPlace {
  readonly key: string;
  readonly kind: Kind;
  /** Bytes that are no text stand in it as U+10FF00 + byte. */
  readonly path: string;
  readonly page?: number;
  readonly passage?: number;
  readonly row?: number;
  readonly snippet?: string;
  readonly width?: number;
  readonly height?: number;
  /** Its address; null where the entry has none. */
  readonly thumbnail: string | null;
}

export interface Result extends EntryPlace {
  readonly score: number;
}

export interface Entry extends EntryPlace {
  readonly paths: readonly string[];
  readonly caption?: string;
  readonly size?: number;
  /** Pages or passages of the file, and the keys of those before and after this one. */
  readonly parts?: number;
  readonly previous?: string;
  readonly next?: string;
}

export interface Collection {
  readonly rows: number;
  readonly kinds: { readonly [kind in Kind]: number };
  readonly model: string;
  readonly attribution: string;
}

export interface Question {
  readonly query?: string;
  /** As a data: URL, or base64. */
  readonly image?: string;
  readonly kind?: Kind;
  readonly limit: number;
}

/** What the server answers instead of what was asked for; its words are for people. */
export class ServerProblem extends Error {
  constructor(
    message: string,
    readonly code: string | undefined,
    readonly status: number,
  ) {
    super(message);
  }
}

/** Asks for the server's key; undefined: it is not told. */
export type AskKey = (wasRefused: boolean) => Promise<string | undefined>;

const storedKey = "gme-key";

/** The server's routes. The key, where one is asked for, is kept in this tab. */
export class SearchClient {
  private key = sessionStorage.getItem(storedKey) ?? undefined;
  private asking: Promise<string | undefined> | undefined;

  constructor(private readonly ask: AskKey) {}

  async search(question: Question, signal: AbortSignal): Promise<{ results: Result[]; seconds: number }> {
    const headers = { "content-type": "application/json" };
    const response = await this.fetch("/search", { method: "POST", headers, body: JSON.stringify(question), signal });
    return response.json();
  }

  async entry(key: string, signal?: AbortSignal): Promise<Entry> {
    return (await this.fetch(`/entries/${key}`, { signal })).json();
  }

  async collection(): Promise<Collection> {
    return (await this.fetch("/collection", {})).json();
  }

  /** A thumbnail or view: an <img> cannot send the key, so its bytes come this way. */
  async picture(address: string, signal?: AbortSignal): Promise<Blob> {
    return (await this.fetch(address, { signal })).blob();
  }

  /** Throws a ServerProblem, or the AbortError of the signal. */
  private async fetch(address: string, init: RequestInit): Promise<Response> {
    for (;;) {
      const { key } = this;
      const headers = { ...init.headers, ...(key !== undefined && { authorization: `Bearer ${key}` }) };
      const response = await reach(address, { ...init, headers });
      if (response.status === 401 && (await this.hasNewKey(key))) continue;
      if (!response.ok) throw await problemOf(response);
      return response;
    }
  }

  /** All requests that were refused meanwhile wait for one answer. */
  private async hasNewKey(refused: string | undefined): Promise<boolean> {
    if (this.key !== refused) return true;
    this.asking ??= this.ask(refused !== undefined).finally(() => {
      this.asking = undefined;
    });
    const given = await this.asking;
    if (given === undefined) return false;
    this.key = given;
    sessionStorage.setItem(storedKey, given);
    return true;
  }
}

async function reach(address: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(address, { ...init, credentials: "omit", redirect: "error" });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ServerProblem("The server cannot be reached.", undefined, 0);
  }
}

async function problemOf(response: Response): Promise<ServerProblem> {
  const body = await response.json().catch(() => ({}));
  const { message, code } = body?.error ?? body ?? {};
  const words = typeof message === "string" ? message : `The server answered with status ${response.status}.`;
  return new ServerProblem(words, typeof code === "string" ? code : undefined, response.status);
}
