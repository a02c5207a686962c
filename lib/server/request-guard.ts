import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { GmeError, printable } from "../index";
import { routeNotFound } from "./error-answers";
import { isLoopback } from "./server-address";

// A request's head → its host, origin, key, route and content type are those that are served, or a GmeError. Nothing of the body has been
// read by then.

export interface GuardSettings {
  /** None: nobody is asked for a key. */
  readonly apiKeys: readonly string[];
  /** Names beside those of the address that a connection came in by; each with or without a port. `any`: not looked at. */
  readonly allowHosts: readonly string[] | "any";
  /** Origins of pages of others that may call: `https://app.example.org`. */
  readonly allowOrigins: readonly string[];
  /** Routes that want no key, as they were declared: `/health`, `/assets/*`. Only GET and HEAD of them. */
  readonly openRoutes: readonly string[];
}

/** To be called on an app before its routes. */
export function guardRequests(app: FastifyInstance, settings: GuardSettings): void {
  const routes: { url: string; methods: string[] }[] = [];
  const isKey = keyCheck(settings.apiKeys);
  const open = new Set(settings.openRoutes);
  const hosts = settings.allowHosts === "any" ? "any" : settings.allowHosts.map((host) => host.toLowerCase());
  const origins = new Set(settings.allowOrigins.map(originOf));
  app.addHook("onRoute", ({ url, method }) => {
    routes.push({ url, methods: [method].flat() });
  });
  app.addHook("onRequest", async (request, reply) => {
    const { raw } = request;
    checkTarget(raw);
    const host = checkHost(raw, hosts);
    const isOthers = checkOrigin(raw, host, origins);
    if (origins.size > 0) reply.header("vary", "origin");
    if (isOthers) allowOrigin(raw, reply);
    if (isOthers && isPreflight(raw)) return answerPreflight(raw, reply);
    const isOpen = isReading(raw) && open.has(request.routeOptions.url ?? "");
    if (settings.apiKeys.length > 0 && !isOpen) checkKey(raw, isKey);
    if (request.is404) throw methodOrRoute(raw, reply, routes);
    checkContent(raw);
  });
  app.addHook("onSend", async (request, reply, payload) => {
    for (const [name, value] of Object.entries(safeHeaders)) if (!reply.hasHeader(name)) reply.header(name, value);
    reply.header("x-request-id", request.id);
    return payload;
  });
}

/** Whose turn it is: the key that was sent, else the address that the connection came from. */
export function clientOf(request: FastifyRequest): string {
  const key = bearer(request.raw);
  return key === undefined ? `address ${request.ip}` : `key ${digest(key).toString("hex").slice(0, 16)}`;
}

const safeHeaders = {
  "x-content-type-options": "nosniff",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
};

const exposedHeaders = "retry-after, warning, x-request-id";

/** `GET http://elsewhere/ HTTP/1.1` is for proxies. */
function checkTarget({ url = "", method }: IncomingMessage): void {
  if (url.startsWith("/") || (url === "*" && method === "OPTIONS")) return;
  throw new GmeError("GME_REQUEST_UNREADABLE", "the request's address must begin with /", {
    field: "path",
    expected: "a path",
  });
}

/** The one Host header, if it is a name of ours: a page whose name was made to point here sends its own. */
function checkHost(raw: IncomingMessage, hosts: readonly string[] | "any"): string {
  const given = headerCount(raw, "host");
  const host = (raw.headers.host ?? "").toLowerCase();
  if (given !== 1 || host === "")
    throw new GmeError("GME_REQUEST_UNREADABLE", `the request has ${given} Host headers`, {
      field: "headers.host",
      value: given,
      expected: "one",
    });
  if (hosts === "any" || isOwnHost(host, raw) || isListed(host, hosts)) return host;
  throw new GmeError("GME_HOST_REFUSED", "the request is for a host that this server does not answer for", {
    field: "headers.host",
    value: printable(host),
    expected: "the server's own address, or a name that it was told of",
  });
}

/** The address that the connection came in by, with its port; on the loopback device its other names too. */
function isOwnHost(host: string, { socket }: IncomingMessage): boolean {
  const { localAddress, localPort } = socket;
  const [name, port] = splitHost(host);
  if (localAddress === undefined) return isLoopback(name); // a socket of the file system, or no network at all
  if (port !== String(localPort) && !(port === "" && localPort === 80)) return false;
  const own = localAddress.replace(/^::ffff:(?=\d+\.)/, "");
  return name.replace(/^\[|\]$/g, "") === own || (isLoopback(own) && isLoopback(name));
}

function isListed(host: string, hosts: readonly string[]): boolean {
  return hosts.includes(host) || hosts.includes(splitHost(host)[0]);
}

function splitHost(host: string): [name: string, port: string] {
  const [, name = "", port = ""] = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(host) ?? [];
  return [name, port];
}

/** true: another's page that may call. A page of our own has the origin that its Host says. */
function checkOrigin({ headers }: IncomingMessage, host: string, origins: ReadonlySet<string>): boolean {
  const { origin } = headers;
  if (origin === undefined) return false;
  if (origins.has(origin)) return true;
  if (origin === `http://${host}` || origin === `https://${host}`) return false;
  throw new GmeError("GME_HOST_REFUSED", "pages of that origin may not call this server", {
    field: "headers.origin",
    value: printable(origin),
    expected: "the server's own origin, or one that it was told of",
  });
}

/** As a browser writes it. */
function originOf(allowed: string): string {
  const origin = URL.canParse(allowed) ? new URL(allowed).origin : "null";
  if (origin !== "null") return origin;
  throw new GmeError("GME_OPTION_INVALID", `${printable(allowed)} is not an origin`, {
    field: "allowOrigins",
    value: printable(allowed),
    expected: "an origin such as https://app.example.org",
  });
}

function allowOrigin({ headers }: IncomingMessage, reply: FastifyReply): void {
  reply.header("access-control-allow-origin", headers.origin).header("access-control-expose-headers", exposedHeaders);
}

function isPreflight({ method, headers }: IncomingMessage): boolean {
  return method === "OPTIONS" && headers["access-control-request-method"] !== undefined;
}

/** A preflight carries no key. */
function answerPreflight({ headers }: IncomingMessage, reply: FastifyReply): FastifyReply {
  reply.header("access-control-allow-methods", "GET, HEAD, POST").header("access-control-max-age", "600");
  reply.header("access-control-allow-headers", "authorization, content-type");
  if (headers["access-control-request-private-network"] === "true")
    reply.header("access-control-allow-private-network", "true");
  return reply.code(204).send();
}

function isReading({ method }: IncomingMessage): boolean {
  return method === "GET" || method === "HEAD";
}

/** Digests are compared, all of them: the time does not depend on how much of a key is right. */
export function keyCheck(keys: readonly string[]): (given: string) => boolean {
  const digests = keys.map(digest);
  return (given) => {
    const found = digest(given);
    let isRight = false;
    for (const key of digests) isRight = timingSafeEqual(found, key) || isRight;
    return isRight;
  };
}

function checkKey(raw: IncomingMessage, isKey: (given: string) => boolean): void {
  const given = bearer(raw);
  if (isKey(given ?? "") && given !== undefined) return;
  throw new GmeError("GME_KEY_REFUSED", "the server wants its key in the header Authorization: Bearer …", {
    field: "headers.authorization",
    expected: "the server's key",
  });
}

function bearer(raw: IncomingMessage): string | undefined {
  if (headerCount(raw, "authorization") > 1) return undefined;
  return /^Bearer ([\x21-\x7e]+)$/i.exec(raw.headers.authorization ?? "")?.[1];
}

function digest(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

/** Node keeps only the first of some headers. */
function headerCount({ rawHeaders, headers }: IncomingMessage, name: string): number {
  if (rawHeaders === undefined) return headers[name] === undefined ? 0 : 1;
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i].toLowerCase() === name) count++;
  return count;
}

/** Why no route fits: nothing at this path, or not for this method. */
function methodOrRoute(
  { url = "", method = "" }: IncomingMessage,
  reply: FastifyReply,
  routes: readonly { url: string; methods: string[] }[],
): GmeError {
  const path = url.split(/[?#]/, 1)[0];
  const found = routes.filter((route) => fits(route.url, path)).flatMap(({ methods }) => methods);
  const methods = [...new Set(found)].sort();
  if (methods.length === 0) return routeNotFound();
  reply.header("allow", methods.join(", "));
  return new GmeError("GME_METHOD_REFUSED", `this path is not for ${printable(method)}`, {
    field: "method",
    value: printable(method),
    expected: methods.join(" or "),
  });
}

/** Whether a declared route, with `:name` and a `*` at its end, is for a path. */
function fits(route: string, path: string): boolean {
  const [wanted, given] = [route.split("/"), path.split("/")];
  const isOpenEnded = wanted.at(-1) === "*";
  if (isOpenEnded) wanted.pop();
  if (isOpenEnded ? given.length <= wanted.length : given.length !== wanted.length) return false;
  return wanted.every((part, i) => (part.startsWith(":") ? given[i] !== "" : part === given[i]));
}

/** Bodies are plain JSON in UTF-8. */
function checkContent({ headers }: IncomingMessage): void {
  const length = headers["content-length"];
  const hasBody = headers["transfer-encoding"] !== undefined || (length !== undefined && length !== "0");
  if (!hasBody) return;
  const encoding = (headers["content-encoding"] ?? "identity").toLowerCase();
  if (encoding !== "identity") throw badContent("content-encoding", encoding, "a body that is not compressed");
  const type = headers["content-type"] ?? "";
  if (!/^application\/json\s*(;\s*charset\s*=\s*"?utf-?8"?\s*)?;?\s*$/i.test(type))
    throw badContent("content-type", type, "application/json");
}

function badContent(header: string, value: string, expected: string): GmeError {
  const shown = value === "" ? "none" : printable(value);
  return new GmeError("GME_BODY_FORMAT", `the request's body must be plain JSON: ${header} is ${shown}`, {
    field: `headers.${header}`,
    value: shown,
    expected,
  });
}
