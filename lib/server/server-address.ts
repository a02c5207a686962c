import { isIP } from "node:net";
import { GmeError, printable } from "../index";

/** Whether only this machine can reach what listens there. */
export function isLoopback(host: string): boolean {
  const plain = host.replace(/^\[|\]$/g, "").toLowerCase();
  return plain === "localhost" || plain === "::1" || (isIP(plain) === 4 && plain.startsWith("127."));
}

/** Throws unless the server may listen there: what others can reach has a key. */
export function checkBinding(host: string, apiKeys: readonly string[]): void {
  for (const key of apiKeys) checkKey(key);
  if (isLoopback(host) || apiKeys.length > 0) return;
  throw new GmeError("GME_OPTION_INVALID", `others can reach ${printable(host)}: listening there needs an API key`, {
    field: "host",
    value: printable(host),
    expected: "127.0.0.1, or an API key",
  });
}

/** A key travels in a header: what a header cannot carry as it is would never match. Keys are not repeated in messages. */
function checkKey(key: string): void {
  if (/^[\x21-\x7e]{8,512}$/.test(key)) return;
  const expected = "8 to 512 visible ASCII characters without spaces";
  throw new GmeError("GME_OPTION_INVALID", `the API key must have ${expected}; it has ${key.length} characters`, {
    field: "apiKey",
    value: key.length,
    expected,
  });
}

const reasons: Record<string, string> = {
  EADDRINUSE: "something listens there already; choose another port",
  EACCES: "this user may not listen there; ports below 1024 need more rights",
  EADDRNOTAVAIL: "this machine has no such address",
  ENOTFOUND: "the host's name does not resolve",
  EAFNOSUPPORT: "this machine does not have that kind of address",
};

/** Why listening failed, in words. */
export function listenFailed(error: unknown, where: string): GmeError {
  const { code = "", message = "" } = (error ?? {}) as NodeJS.ErrnoException;
  const name = printable(where);
  const reason = reasons[code] ?? (printable(message) || "no reason given");
  return new GmeError("GME_IO_ERROR", `cannot listen at ${name}: ${reason}${code === "" ? "" : ` (${code})`}`, {
    field: "host",
    value: name,
    errno: code === "" ? undefined : code,
    cause: error,
  });
}
