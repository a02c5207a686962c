import { isIP } from "node:net";
import { badArgument, GmeError, printable } from "./errors";

/** Hosts that pictures may come from: `true` any public one, or a list of names, each with or without a port. */
export type RemoteHosts = boolean | readonly string[];

/** The same, read: undefined = none, "public" = any, else names with their ports (0 = the scheme's own). */
export type HostRules = "public" | readonly HostRule[] | undefined;

export interface HostRule {
  readonly host: string;
  readonly port: number;
}

const expectedHosts = "true, false or an array of host names such as images.example.org or images.example.org:8080";

/** Reads the option; the list is copied, so that nobody changes it later. */
export function readHostRules(value: unknown, field = "options.remoteImages"): HostRules {
  if (value === undefined || value === false) return undefined;
  if (value === true) return "public";
  if (!Array.isArray(value)) throw badArgument("GME_OPTION_INVALID", field, expectedHosts, value);
  return [...value].map((entry, i) => readHostRule(entry, `${field}[${i}]`));
}

/** The entry goes through the one URL parser, so that it is spelt as the host of an address will be. */
function readHostRule(entry: unknown, field: string): HostRule {
  const isName = typeof entry === "string" && /^[^\s/\\?#@%*]{1,260}$/.test(entry) && URL.canParse(`http://${entry}/`);
  if (!isName) throw badArgument("GME_OPTION_INVALID", field, "a host name, with or without a port", entry);
  const { hostname } = new URL(`http://${entry}/`);
  return { host: plainHost(hostname), port: Number(/:(\d+)$/.exec(entry.replace(/^\[.*\]/, ""))?.[1] ?? 0) };
}

/** Without the brackets of an IPv6 address and without the root's dot. */
export function plainHost(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
}

/** http(s), no credentials, a port and a host that are allowed; the address behind the name is checked when it is dialled. */
export function checkRemoteUrl(url: URL, rules: Exclude<HostRules, undefined>, field: string): void {
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw refused(url, field, "its scheme is not http or https");
  if (url.username !== "" || url.password !== "") throw refused(url, field, "it carries a user name or password");
  const host = plainHost(url.hostname);
  if (host === "") throw refused(url, field, "it names no host");
  const ownPort = url.protocol === "https:" ? 443 : 80;
  const port = url.port === "" ? ownPort : Number(url.port);
  if (rules === "public") {
    if (port !== 80 && port !== 443 && port < 1024) throw refused(url, field, `port ${port} serves no pictures`);
    return;
  }
  const known = rules.some((rule) => rule.host === host && (rule.port === 0 ? port === ownPort : port === rule.port));
  if (!known) throw refused(url, field, "its host is not among those that are allowed");
}

/** Where a redirect leads. Never from https to http. */
export function redirectTarget(from: URL, location: string, field: string): URL {
  if (!URL.canParse(location, from.href))
    throw refused(from, field, "it redirects to something that is not an address");
  const target = new URL(location, from);
  if (from.protocol === "https:" && target.protocol === "http:")
    throw refused(from, field, "it redirects from https to http");
  return target;
}

/** Scheme, host and path: queries and credentials may be secrets and stay out of messages. */
export function nameOfUrl(url: URL): string {
  return printable(`${url.protocol}//${url.host}${url.pathname}`);
}

export function refused(url: URL, field: string, reason: string): GmeError {
  const file = nameOfUrl(url);
  return new GmeError("GME_URL_REFUSED", `${file} is not fetched: ${reason}`, {
    file,
    field,
    expected: "an http(s) address of an allowed, public host",
  });
}

/** The host as an address, if it is written as one. */
export function addressOfHost(url: URL): string | undefined {
  const host = plainHost(url.hostname);
  return isIP(host) === 0 ? undefined : host;
}
