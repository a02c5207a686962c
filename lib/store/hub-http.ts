import { setTimeout as sleep } from "node:timers/promises";
import type { Dispatcher } from "undici";
import { abortError, GmeError, printable } from "../errors";

export interface NetworkSettings {
  /** Default: HF_ENDPOINT, else the Hugging Face hub. */
  readonly endpoint?: string;
  /** Default: HF_TOKEN. */
  readonly token?: string;
  /** A connection that is silent for so long is given up and tried again. */
  readonly idleMs?: number;
  /** The first pause before a retry; each further one is twice as long. */
  readonly retryDelayMs?: number;
  /** Retries in a row that bring nothing new. */
  readonly retries?: number;
}

export interface HubRequest {
  readonly method: "GET" | "HEAD";
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sees each answer on the way, redirects included; true ends the way there. */
  readonly onHop?: (answer: HubAnswer) => boolean;
}

export interface HubAnswer {
  readonly status: number;
  readonly url: URL;
  header(name: string): string | undefined;
  readonly body: Dispatcher.ResponseData["body"];
}

const publicEndpoint = "https://huggingface.co";
const maxRedirects = 5;
const maxPauseMs = 20_000;
/** A Retry-After beyond this is told instead of waited for. */
const maxRetryAfterMs = 300_000;
const retryStatuses = new Set([408, 429, 500, 502, 503, 504]);
const finalErrnos = new Set(["ENOTFOUND", "EPROTO", "UND_ERR_INVALID_ARG"]);

/** An answer or a broken connection that may be better the next time. */
export class TransientFailure extends Error {
  constructor(
    readonly final: GmeError,
    readonly retryAfterMs?: number,
  ) {
    super(final.message);
  }
}

/** Requests to one hub: redirects, the token, proxies, and which failures are worth another try. */
export class HubClient {
  readonly endpoint: URL;
  private readonly token: string | undefined;
  private readonly idleMs: number;
  private readonly retryDelayMs: number;
  private readonly retries: number;
  private dispatcher: Dispatcher | undefined;

  constructor(
    settings: NetworkSettings,
    private readonly signal: AbortSignal,
  ) {
    this.endpoint = readEndpoint(settings.endpoint ?? (process.env.HF_ENDPOINT || publicEndpoint));
    this.token = readToken(settings.token ?? (process.env.HF_TOKEN || undefined));
    this.idleMs = settings.idleMs ?? 60_000;
    this.retryDelayMs = settings.retryDelayMs ?? 500;
    this.retries = settings.retries ?? 5;
  }

  /** One request; redirects are followed. TransientFailure where another try may help, else a GmeError. */
  async request({ method, path, headers, onHop }: HubRequest): Promise<HubAnswer> {
    let url = new URL(`${this.endpoint.href.replace(/\/$/, "")}/${path}`);
    for (let hop = 0; hop <= maxRedirects; hop++) {
      const answer = await this.send(method, url, headers);
      if (onHop?.(answer) || (answer.status >= 200 && answer.status < 300)) return answer;
      const location = answer.header("location");
      const isRedirect = [301, 302, 303, 307, 308].includes(answer.status) && location !== undefined;
      await this.dump(answer);
      if (!isRedirect) throw this.statusError(answer, path);
      url = redirectTarget(url, location);
    }
    throw downloadFailed(`${place(url)}: more than ${maxRedirects} redirects`);
  }

  /** Runs `attempt` until it works, fails for good, or has failed too often. An attempt that says it got further starts the count anew. */
  async withRetries<T>(attempt: () => Promise<T>, hasProgressed: () => boolean = () => false): Promise<T> {
    for (let failures = 0; ; ) {
      if (this.signal.aborted) throw abortError(this.signal);
      try {
        return await attempt();
      } catch (error) {
        if (this.signal.aborted) throw abortError(this.signal);
        if (!(error instanceof TransientFailure)) throw error;
        failures = hasProgressed() ? 1 : failures + 1;
        const pause = error.retryAfterMs ?? Math.min(maxPauseMs, this.retryDelayMs * 2 ** (failures - 1));
        if (failures > this.retries || pause > maxRetryAfterMs) throw error.final;
        const jitter = error.retryAfterMs === undefined ? 0.75 + Math.random() / 2 : 1;
        await sleep(pause * jitter, undefined, { signal: this.signal }).catch(() => undefined);
      }
    }
  }

  /** The bytes of an answer as they come; a connection that breaks is a TransientFailure. */
  async *bytes(answer: HubAnswer): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of answer.body) yield chunk as Uint8Array;
    } catch (error) {
      throw this.networkError(error, answer.url);
    } finally {
      answer.body.destroy();
    }
  }

  async dump({ body }: HubAnswer): Promise<void> {
    await body.dump({ limit: 1 << 16 }).catch(() => undefined);
  }

  async close(): Promise<void> {
    await this.dispatcher?.destroy().catch(() => undefined);
  }

  private async send(method: "GET" | "HEAD", url: URL, extra: HubRequest["headers"]): Promise<HubAnswer> {
    if (this.signal.aborted) throw abortError(this.signal);
    const headers: Record<string, string> = { "accept-encoding": "identity", "user-agent": "gme-embed", ...extra };
    // The token is for the hub alone: what a redirect leads to elsewhere never sees it.
    if (this.token !== undefined && url.origin === this.endpoint.origin) headers.authorization = `Bearer ${this.token}`;
    try {
      const { request } = await import("undici");
      this.dispatcher ??= await makeDispatcher(this.idleMs);
      const { dispatcher, signal } = this;
      const { statusCode, headers: got, body } = await request(url, { method, headers, dispatcher, signal });
      body.on("error", () => undefined); // an aborted body that nobody reads
      const header = (name: string) => (Array.isArray(got[name]) ? got[name][0] : (got[name] as string | undefined));
      return { status: statusCode, url, header, body };
    } catch (error) {
      throw this.networkError(error, url);
    }
  }

  private networkError(error: unknown, url: URL): Error {
    if (this.signal.aborted) return abortError(this.signal);
    if (error instanceof GmeError || error instanceof TransientFailure) return error;
    const { code, message } = error as NodeJS.ErrnoException;
    const failure = downloadFailed(`${place(url)}: ${printable(message ?? String(error))}`, {
      errno: code,
      cause: error,
    });
    const isFinal = finalErrnos.has(code ?? "") || /CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO/.test(code ?? "");
    return isFinal ? failure : new TransientFailure(failure);
  }

  private statusError(answer: HubAnswer, path: string): Error {
    const { status, url } = answer;
    const reason = answer.header("x-error-code") ?? "";
    const isGated = reason === "GatedRepo" || /gated/i.test(answer.header("x-error-message") ?? "");
    const details = { value: status };
    const at = place(url);
    if (isGated && (status === 401 || status === 403)) {
      const page = `${this.endpoint.host}/${path
        .replace(/^api\/models\//, "")
        .split("/")
        .slice(0, 2)
        .join("/")}`;
      const what = `the repository is gated: accept its terms at ${page}, then set HF_TOKEN to a token of that account`;
      return new GmeError("GME_DOWNLOAD_DENIED", `${at}: ${what} (${status})`, details);
    }
    if (status === 401) {
      const why = this.token === undefined ? "is private or does not exist: set HF_TOKEN" : "is not open to HF_TOKEN";
      return new GmeError("GME_DOWNLOAD_DENIED", `${at}: the repository ${why} (401)`, details);
    }
    if (status === 403) {
      const why = url.origin === this.endpoint.origin ? "HF_TOKEN has no right to read this" : "access was refused";
      return new GmeError("GME_DOWNLOAD_DENIED", `${at}: ${why} (403)`, details);
    }
    if (status === 404) {
      const what = {
        EntryNotFound: "no such file",
        RevisionNotFound: "no such revision",
        RepoNotFound: "no such repository",
      };
      return new GmeError(
        "GME_MODEL_NOT_FOUND",
        `${at}: ${what[reason as keyof typeof what] ?? "not found"} (404)`,
        details,
      );
    }
    const waits = readRetryAfter(answer.header("retry-after"));
    const asked = waits === undefined ? "" : `, asks to wait ${Math.ceil(waits / 1000)} s`;
    const what = status === 429 ? "too many requests" : status === 416 ? "no such range" : "the server failed";
    const failure = downloadFailed(`${at}: ${what} (${status}${asked})`, details);
    return retryStatuses.has(status) ? new TransientFailure(failure, waits) : failure;
  }
}

export function downloadFailed(message: string, details: ConstructorParameters<typeof GmeError>[2] = {}): GmeError {
  return new GmeError("GME_DOWNLOAD_FAILED", message, details);
}

/** Address without what may be secret: signed links carry their signature behind the question mark. */
export function place(url: URL): string {
  try {
    return printable(`${url.host}${decodeURI(url.pathname)}`);
  } catch {
    return printable(`${url.host}${url.pathname}`);
  }
}

async function makeDispatcher(idleMs: number): Promise<Dispatcher> {
  const { Agent, EnvHttpProxyAgent } = await import("undici");
  const options = { headersTimeout: idleMs, bodyTimeout: idleMs, connect: { timeout: Math.min(idleMs, 30_000) } };
  const hasProxy = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"].some((name) => process.env[name]);
  return hasProxy ? new EnvHttpProxyAgent(options) : new Agent(options);
}

function redirectTarget(from: URL, location: string): URL {
  let to: URL;
  try {
    to = new URL(location, from);
  } catch {
    throw downloadFailed(`${place(from)}: redirects to something that is no address`);
  }
  if (to.protocol !== from.protocol || to.username !== "" || to.password !== "") {
    const what =
      to.protocol === from.protocol
        ? "to an address with a password"
        : `from ${from.protocol} to ${printable(to.protocol)}`;
    throw downloadFailed(`${place(from)}: a redirect ${what} is not followed`, {
      field: "location",
      value: printable(to.protocol),
      expected: from.protocol,
    });
  }
  return to;
}

function readEndpoint(text: string): URL {
  const expected = "an http or https address without password or query";
  let url: URL | undefined;
  try {
    url = new URL(text);
  } catch {
    // Told below.
  }
  const isFine = url && /^https?:$/.test(url.protocol) && !url.username && !url.password && !url.search && !url.hash;
  if (url !== undefined && isFine) return url;
  throw new GmeError("GME_OPTION_INVALID", `HF_ENDPOINT: expected ${expected}`, { field: "HF_ENDPOINT", expected });
}

/** The value never stands in a message. */
function readToken(token: string | undefined): string | undefined {
  if (token === undefined || /^[\x21-\x7e]{1,1000}$/.test(token)) return token;
  const expected = "printable ASCII without spaces";
  throw new GmeError("GME_OPTION_INVALID", `HF_TOKEN: expected ${expected}`, { field: "HF_TOKEN", expected });
}

function readRetryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,9}(\.\d+)?$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}
