import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";

/** Files from this size on are "LFS": the hub gives their sha256 and redirects to the other server. */
const lfsFrom = 200_000;

export interface SeenRequest {
  readonly where: "hub" | "cdn";
  readonly method: string;
  readonly path: string;
  readonly range?: string;
  readonly authorization?: string;
}

export interface Visit extends SeenRequest {
  readonly response: ServerResponse;
  /** The file asked for, if there is such a file. */
  readonly content?: Buffer;
  /** How often this very request (server, method, path) came before. */
  readonly before: number;
  /** The usual answer: with the range, entity tags and headers of the hub. */
  answer(changes?: { headers?: Record<string, string>; content?: Buffer; breakAfter?: number }): Promise<void>;
}

/** A hub and a content server on two loopback ports, with redirects, entity tags and ranges as the real ones have. */
export class HubServer {
  readonly commit = "0123456789abcdef0123456789abcdef01234567";
  readonly seen: SeenRequest[] = [];
  /** True when it has answered by itself. */
  intercept: (visit: Visit) => boolean | Promise<boolean> = () => false;
  /** Bytes in a row and the pause after them. */
  pace: { bytes: number; ms: number } | undefined;
  endpoint = "";
  private cdn = "";

  private constructor(
    private readonly repository: string,
    readonly files: Map<string, Buffer>,
  ) {}

  static async start(repository: string, files: Map<string, Buffer>): Promise<HubServer> {
    const hub = new HubServer(repository, files);
    hub.endpoint = await hub.listen("hub");
    hub.cdn = await hub.listen("cdn");
    return hub;
  }

  /** The requests since the last call. */
  take(): SeenRequest[] {
    return this.seen.splice(0);
  }

  private async listen(where: "hub" | "cdn"): Promise<string> {
    const server: Server = createServer((request, response) => {
      response.on("error", () => undefined);
      this.serve(where, request, response).catch((error) => response.destroy(error));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.teardown(() => {
      server.closeAllConnections();
      server.close();
    });
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  private async serve(where: "hub" | "cdn", request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const path = decodeURIComponent(pathname);
    const { range, authorization } = request.headers;
    const method = request.method ?? "GET";
    const before = this.seen.filter((s) => s.where === where && s.method === method && s.path === path).length;
    const seen = { where, method, path, range, authorization };
    this.seen.push(seen);
    const name = path.split(where === "hub" ? `/resolve/${this.commit}/` : "/content/")[1];
    const content = name === undefined ? undefined : this.files.get(name);
    const visit: Visit = {
      ...seen,
      response,
      content,
      before,
      answer: async (changes = {}) => this.answer(visit, name, changes),
    };
    if (!(await this.intercept(visit))) await visit.answer();
  }

  private async answer(
    visit: Visit,
    name: string | undefined,
    changes: { headers?: Record<string, string>; content?: Buffer; breakAfter?: number },
  ): Promise<void> {
    const { where, path, method, response } = visit;
    if (where === "hub" && path === `/api/models/${this.repository}/revision/main`) {
      const siblings = [...this.files.keys()].map((rfilename) => ({ rfilename }));
      const body = JSON.stringify({ id: this.repository, sha: this.commit, siblings, tags: ["license:apache-2.0"] });
      response.writeHead(200, { "content-type": "application/json" }).end(body);
      return;
    }
    if (visit.content === undefined || name === undefined) {
      const code = path.includes("/resolve/") ? "EntryNotFound" : "RepoNotFound";
      response.writeHead(404, { "x-error-code": code }).end("not found");
      return;
    }
    const isLarge = visit.content.length >= lfsFrom;
    if (where === "hub" && isLarge) {
      const headers = {
        location: `${this.cdn}/content/${encodeURIComponent(name)}?X-Signature=secret`,
        "x-repo-commit": this.commit,
        "x-linked-size": String(visit.content.length),
        "x-linked-etag": `"${sha256Of(visit.content)}"`,
        etag: '"0000000000000000000000000000000000000000"',
        ...changes.headers,
      };
      response.writeHead(302, headers).end();
      return;
    }
    const content = changes.content ?? visit.content;
    const from = Number(visit.range?.match(/^bytes=(\d+)-$/)?.[1] ?? 0);
    const etag = isLarge ? '"an-entity-tag-of-the-content-server-3"' : `"${gitSha1Of(visit.content)}"`;
    if (from > 0 && from >= content.length) {
      response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
      return;
    }
    const body = content.subarray(from);
    const headers: Record<string, string> = { etag, "content-length": String(body.length), "accept-ranges": "bytes" };
    if (where === "hub") headers["x-repo-commit"] = this.commit;
    if (from > 0) headers["content-range"] = `bytes ${from}-${content.length - 1}/${content.length}`;
    response.writeHead(from > 0 ? 206 : 200, { ...headers, ...changes.headers });
    await this.send(response, method === "HEAD" ? Buffer.alloc(0) : body, changes.breakAfter);
  }

  /** All bytes, or `breakAfter` of them and then a reset. */
  private async send(response: ServerResponse, body: Buffer, breakAfter?: number): Promise<void> {
    const bytes = body.subarray(0, breakAfter);
    const step = this.pace?.bytes ?? (bytes.length || 1);
    for (let at = 0; at < bytes.length && !response.destroyed; at += step) {
      await new Promise<void>((resolve) => {
        response.write(bytes.subarray(at, at + step), () => resolve());
      });
      if (this.pace !== undefined) await sleep(this.pace.ms);
    }
    if (breakAfter === undefined) response.end();
    else response.destroy();
  }
}

export function folderFiles(folder: string): Map<string, Buffer> {
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
}

export function sha256Of(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}

export function gitSha1Of(content: Buffer): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}
