import { isIP } from "node:net";

/** [network, prefix length, what it is for]: addresses of IPv4 that no picture of the public web has. */
const closedV4: readonly (readonly [string, number, string])[] = [
  ["0.0.0.0", 8, "this network"],
  ["10.0.0.0", 8, "private"],
  ["100.64.0.0", 10, "shared by carriers; a cloud's metadata service"],
  ["127.0.0.0", 8, "loopback"],
  ["168.63.129.16", 32, "a cloud's host agent"],
  ["169.254.0.0", 16, "link-local; metadata services"],
  ["172.16.0.0", 12, "private"],
  ["192.0.0.0", 24, "protocol assignments"],
  ["192.0.2.0", 24, "documentation"],
  ["192.88.99.0", 24, "6to4 relays"],
  ["192.168.0.0", 16, "private"],
  ["198.18.0.0", 15, "benchmarks"],
  ["198.51.100.0", 24, "documentation"],
  ["203.0.113.0", 24, "documentation"],
  ["224.0.0.0", 4, "multicast"],
  ["240.0.0.0", 4, "reserved, broadcast"],
];

/** Of IPv6 only the global unicast block is open; in it these are not. Loopback, mapped, NAT64, fc00::, fe80::, ff00:: lie outside. */
const openV6: readonly [string, number] = ["2000::", 3];
const closedV6: readonly (readonly [string, number, string])[] = [
  ["2001::", 23, "protocol assignments; Teredo, which carries an IPv4 address"],
  ["2001:db8::", 32, "documentation"],
  ["2002::", 16, "6to4, which carries an IPv4 address"],
  ["3fff::", 20, "documentation"],
];

/** Whether an address in its text form is one of the public internet. Whatever cannot be read is not. */
export function isPublicAddress(address: string): boolean {
  const bits = bitsOf(address);
  if (bits === undefined) return false;
  const within = ([network, length]: readonly [string, number, string?]) =>
    bits.startsWith((bitsOf(network) as string).slice(0, length));
  if (bits.length === 32) return !closedV4.some(within);
  return within(openV6) && !closedV6.some(within);
}

/** The address as 32 or 128 binary digits; undefined: not an address, or one with a zone. */
function bitsOf(address: string): string | undefined {
  const family = address.includes("%") ? 0 : isIP(address);
  if (family === 4) return address.split(".").map(byteBits).join("");
  if (family === 6) return wordsOf(address).map(wordBits).join("");
  return undefined;
}

/** The eight words of an IPv6 address, `::` filled up, a dotted tail as two words. */
function wordsOf(address: string): number[] {
  const [head, tail] = address.split("::").map((part) => (part === "" ? [] : part.split(":").flatMap(wordsOfGroup)));
  if (tail === undefined) return head;
  return [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
}

function wordsOfGroup(group: string): number[] {
  if (!group.includes(".")) return [Number.parseInt(group, 16)];
  const [a, b, c, d] = group.split(".").map(Number);
  return [a * 256 + b, c * 256 + d];
}

const byteBits = (byte: string): string => Number(byte).toString(2).padStart(8, "0");
const wordBits = (word: number): string => word.toString(2).padStart(16, "0");
