import { currentLibc, platformName, platformPackage, type LoadAttempt } from "./platform-package";
import { version } from "./version";

const supportedPlatforms = ["linux-x64", "linux-arm64", "linux-x64-musl", "darwin-arm64", "darwin-x64", "win32-x64"];

/** The message of an addon that does not load: what was tried, with reasons, then the commands that help on this platform. */
export function loadHelp(attempts: LoadAttempt[], libc = currentLibc()): string {
  const reasons = attempts.map(({ reason }) => reason).join("\n");
  return [
    `The native addon of gme-embed does not load on ${platformName(libc)} (Node ${process.version}).`,
    "Tried:",
    ...attempts.map(({ what, reason }) => `  - ${what}: ${firstLine(reason)}`),
    "What helps:",
    ...remedies(reasons, libc).map((line) => `  - ${line}`),
  ].join("\n");
}

const damage =
  /sha256|damaged|invalid ELF|mach-o|wrong architecture|not a valid Win32|Exec format|file too short|truncated/i;

function remedies(reasons: string, libc: string): string[] {
  const lines: string[] = [];
  if (!supportedPlatforms.includes(platformName(libc)))
    lines.push(
      "no binary is published for this platform: npm run build-from-source in node_modules/gme-embed (CMake, a C++17 compiler)",
    );
  // npm would take a damaged package for installed and leave it as it is.
  else if (damage.test(reasons))
    lines.push("the file is damaged or made for another system; remove node_modules and install again on this machine");
  else lines.push(`npm install ${platformPackage()}@${version}`);
  if (/GLIBC|GLIBCXX|CXXABI/.test(reasons)) {
    lines.push("the binary was built for a newer Linux than this one; build it here: npm run build-from-source");
  }
  if (libc === "musl" || /ld-musl|libc\.musl/.test(reasons)) {
    lines.push("Alpine and other musl systems need a binary built for musl; to build one: apk add cmake g++ make");
  }
  return [
    ...lines,
    "with a lock file made on another system: remove node_modules and package-lock.json, then npm install",
    "platform packages are optional dependencies: install without --omit=optional and --no-optional",
    "packaging for another system: npm install --os=linux --cpu=x64 --libc=glibc (its own values)",
    "in Electron: unpack node_modules/gme-embed and node_modules/@gme-embed from the asar archive",
    "in a checkout: npm run setup",
  ];
}

const firstLine = (text: string): string => text.trim().split("\n", 1)[0] ?? "";
