import { lookup } from "node:dns/promises";
import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { isIP, type LookupFunction, type Socket } from "node:net";
import { abortError, badArgument, GmeError } from "./errors";
import { type OptionSpec, readOptions } from "./options";
import { isPublicAddress } from "./remote-address";
import {
  addressOfHost,
  checkRemoteUrl,
  type HostRules,
  nameOfUrl,
  plainHost,
  readHostRules,
  redirectTarget,
  refused,
} from "./remote-url";
import { version } from "./version";

/** What the fetch stands on. Everything but `rules` is `openInternet`; tests put loopback servers and stubs in its place. */
export interface RemotePolicy {
  readonly rules: Exclude<HostRules, undefined>;
  /** All addresses of a name, asked once per hop. */
  readonly resolve: (host: string) => Promise<readonly { address: string; family: number }[]>;
  readonly isAllowedAddress: (address: string) => boolean;
  readonly maxBytes: number;
  readonly maxRedirects: number;
  /** For the whole picture, all hops. */
  readonly totalMs: number;
  /** For one hop, until its connection stands. */
  readonly connectMs: number;
  /** The authority to trust instead of the usual ones. */
  readonly ca?: string;
}

const openInternet: Omit<RemotePolicy, "rules"> = {
  resolve: (host) => lookup(host, { all: true, verbatim: true }),
  isAllowedAddress: isPublicAddress,
  maxBytes: 64 * 1024 * 1024,
  maxRedirects: 5,
  totalMs: 10_000,
  connectMs: 5_000,
};

/** The policy behind the option `remoteImages`; undefined: nothing is fetched. */
export function remotePolicy(hosts: unknown, field?: string): RemotePolicy | undefined {
  const rules = readHostRules(hosts, field);
  return rules === undefined ? undefined : { ...openInternet, rules };
}

export interface FetchImageOptions {
  /** Only these hosts, each with or without a port. Default: any public one. */
  hosts?: readonly string[];
  /** No picture may have more bytes. Default and most: 64 MiB. */
  maxBytes?: number;
  signal?: AbortSignal;
}

const fetchOptions: readonly OptionSpec[] = [
  { name: "hosts", kind: "hosts", help: "only these hosts, each with or without a port", check: checkList },
  {
    name: "maxBytes",
    kind: "integer",
    min: 1,
    max: openInternet.maxBytes,
    default: openInternet.maxBytes,
    help: "no picture may have more bytes",
  },
  { name: "signal", kind: "signal", help: "stops the fetch" },
];

function checkList(value: unknown): void {
  if (!Array.isArray(value)) throw badArgument("GME_OPTION_INVALID", "options.hosts", "an array of host names", value);
}

/**
 * The bytes of a picture at an http(s) address, under the same guard as the option `remoteImages`. They are not looked at.
 * Rejects with GME_URL_REFUSED, GME_URL_FETCH_FAILED, GME_IMAGE_TOO_LARGE or GME_ABORTED.
 */
export async function fetchImage(address: string | URL, options?: FetchImageOptions): Promise<Uint8Array> {
  const {
    hosts = true,
    maxBytes,
    signal,
  } = readOptions<Required<Pick<FetchImageOptions, "maxBytes">> & FetchImageOptions>(fetchOptions, options);
  if (!(address instanceof URL) && (typeof address !== "string" || !URL.canParse(address)))
    throw badArgument("GME_INPUT_INVALID", "address", "an http(s) address", address);
  const policy = remotePolicy(hosts, "options.hosts") as RemotePolicy;
  return fetchRemoteImage(new URL(address), { ...policy, maxBytes }, { field: "address", signal });
}

interface Fetch {
  readonly field: string;
  readonly policy: RemotePolicy;
  /** Aborted by the caller or by the deadline. */
  readonly stop: AbortSignal;
}

/** address → checked → resolved → addresses checked → dialled → redirect? again from the start → bytes, counted. */
export async function fetchRemoteImage(
  address: URL,
  policy: RemotePolicy,
  { field, signal }: { field: string; signal?: AbortSignal },
): Promise<Uint8Array> {
  if (signal?.aborted) throw abortError(signal);
  const ending = new AbortController();
  const onAbort = () => ending.abort(abortError(signal));
  signal?.addEventListener("abort", onAbort, { once: true });
  const seconds = policy.totalMs / 1000;
  const onDeadline = () => ending.abort(failed(address, field, `not there after ${seconds} s`, "ETIMEDOUT"));
  const deadline = setTimeout(onDeadline, policy.totalMs);
  const fetch: Fetch = { field, policy, stop: ending.signal };
  try {
    let url = address;
    for (let hop = 0; hop <= policy.maxRedirects; hop++) {
      const answer = await fetchHop(url, fetch);
      if (answer instanceof Uint8Array) return answer;
      url = answer;
    }
    throw failed(address, field, `more than ${policy.maxRedirects} redirects`);
  } finally {
    clearTimeout(deadline);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** One request: the bytes, or where to go on. */
async function fetchHop(url: URL, fetch: Fetch): Promise<Uint8Array | URL> {
  checkRemoteUrl(url, fetch.policy.rules, fetch.field);
  const addresses = await checkedAddresses(url, fetch);
  const response = await openResponse(url, addresses, fetch);
  try {
    const status = response.statusCode ?? 0;
    const { location } = response.headers;
    if ([301, 302, 303, 307, 308].includes(status) && location !== undefined)
      return redirectTarget(url, location, fetch.field);
    if (status !== 200) throw failed(url, fetch.field, `the server answered ${status}`, undefined, status);
    return await readBody(url, response, fetch);
  } finally {
    response.on("error", () => undefined).destroy();
  }
}

type Address = { address: string; family: number };

/** Every address of the name must be allowed: a name with public and private ones is a trap. */
async function checkedAddresses(url: URL, fetch: Fetch): Promise<Address[]> {
  const literal = addressOfHost(url);
  const found = literal === undefined ? await resolved(url, fetch) : [{ address: literal, family: isIP(literal) }];
  const addresses = found.map(({ address }) => ({ address, family: isIP(address) }));
  if (addresses.length === 0) throw failed(url, fetch.field, "its name has no address", "ENOTFOUND");
  if (!addresses.every(({ address, family }) => family !== 0 && fetch.policy.isAllowedAddress(address)))
    throw refused(url, fetch.field, "its host is not a public one");
  return addresses;
}

async function resolved(url: URL, { field, policy, stop }: Fetch): Promise<readonly Address[]> {
  try {
    return await untilStopped(policy.resolve(plainHost(url.hostname)), stop);
  } catch (error) {
    if (error instanceof GmeError) throw error;
    throw failed(url, field, "its name does not resolve", errnoOf(error) ?? "ENOTFOUND");
  }
}

/** A lookup takes no signal: its answer comes too late and is dropped. */
function untilStopped<T>(work: Promise<T>, stop: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onStop = () => reject(stop.reason);
    if (stop.aborted) return onStop();
    stop.addEventListener("abort", onStop, { once: true });
    work.then(resolve, reject).finally(() => stop.removeEventListener("abort", onStop));
  });
}

/** Dials the checked addresses and no other: the name goes into Host and SNI only. No proxy, no connection that is kept. */
function openResponse(url: URL, addresses: readonly Address[], fetch: Fetch): Promise<IncomingMessage> {
  const { field, policy, stop } = fetch;
  const isSecure = url.protocol === "https:";
  const host = plainHost(url.hostname);
  const dial: LookupFunction = (_name, options, done) =>
    options.all ? done(null, [...addresses]) : done(null, addresses[0].address, addresses[0].family);
  return new Promise((resolve, reject) => {
    if (stop.aborted) return reject(stop.reason);
    const request = (isSecure ? httpsRequest : httpRequest)({
      protocol: url.protocol,
      host,
      port: url.port === "" ? (isSecure ? 443 : 80) : Number(url.port),
      path: `${url.pathname}${url.search}`,
      headers: { host: url.host, "user-agent": userAgent, accept: "image/*", "accept-encoding": "identity" },
      agent: isSecure ? new HttpsAgent({ keepAlive: false }) : new HttpAgent({ keepAlive: false }),
      lookup: dial,
      insecureHTTPParser: false,
      ...(isSecure && { rejectUnauthorized: true, servername: isIP(host) === 0 ? host : "", ca: policy.ca }),
    });
    let answered = false;
    const fail = (error: unknown) => {
      if (answered) return; // from here on the response has its own events
      settle();
      request.destroy();
      reject(error instanceof GmeError ? error : failed(url, field, "the connection failed", errnoOf(error)));
    };
    const onStop = () => fail(stop.reason);
    const seconds = policy.connectMs / 1000;
    const onLate = () => fail(failed(url, field, `no connection after ${seconds} s`, "ETIMEDOUT"));
    const connecting = setTimeout(onLate, policy.connectMs);
    const settle = () => {
      clearTimeout(connecting);
      stop.removeEventListener("abort", onStop);
    };
    stop.addEventListener("abort", onStop, { once: true });
    request.on("socket", (socket: Socket) => {
      socket.once("connect", () => {
        if (!policy.isAllowedAddress(socket.remoteAddress ?? ""))
          fail(refused(url, field, "its host is not a public one"));
      });
      socket.once(isSecure ? "secureConnect" : "connect", () => clearTimeout(connecting));
    });
    request.on("error", fail);
    request.on("close", () => fail(undefined));
    request.on("response", (response) => {
      answered = true;
      settle();
      resolve(response);
    });
    request.end();
  });
}

/** At most `maxBytes`, whatever the server announces; no encoding, so nothing swells. */
function readBody(url: URL, response: IncomingMessage, { field, policy, stop }: Fetch): Promise<Uint8Array> {
  const encoding = response.headers["content-encoding"];
  if (encoding !== undefined && encoding.trim().toLowerCase() !== "identity")
    return Promise.reject(failed(url, field, "the server sent an encoded body though none was asked for"));
  const announced = Number(response.headers["content-length"] ?? 0);
  if (announced > policy.maxBytes) return Promise.reject(tooManyBytes(url, announced, policy));
  return new Promise((resolve, reject) => {
    const parts: Uint8Array[] = [];
    let size = 0;
    const fail = (error: unknown) => {
      stop.removeEventListener("abort", onStop);
      response.destroy();
      reject(error instanceof GmeError ? error : failed(url, field, "the connection broke off", errnoOf(error)));
    };
    const onStop = () => fail(stop.reason);
    if (stop.aborted) return onStop();
    stop.addEventListener("abort", onStop, { once: true });
    response.on("data", (part: Uint8Array) => {
      size += part.length;
      if (size > policy.maxBytes) fail(tooManyBytes(url, size, policy));
      else parts.push(part);
    });
    response.on("error", fail);
    response.on("close", () => fail(undefined));
    response.on("end", () => {
      if (!response.complete) return fail(undefined);
      stop.removeEventListener("abort", onStop);
      resolve(new Uint8Array(Buffer.concat(parts)));
    });
  });
}

const userAgent = `gme-embed/${version} (picture fetch; Node.js)`;

function errnoOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

function tooManyBytes(url: URL, size: number, { maxBytes }: RemotePolicy): GmeError {
  const file = nameOfUrl(url);
  return new GmeError("GME_IMAGE_TOO_LARGE", `${file}: more than ${maxBytes} bytes`, {
    file,
    field: "image",
    value: size,
    expected: `at most ${maxBytes} bytes`,
  });
}

function failed(url: URL, field: string, reason: string, errno?: string, value?: number): GmeError {
  const file = nameOfUrl(url);
  return new GmeError("GME_URL_FETCH_FAILED", `${file}: ${reason}${errno === undefined ? "" : ` (${errno})`}`, {
    file,
    field,
    value,
    errno,
    expected: "a picture",
  });
}
