// The table of docs/packages.md.
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/** A row of the table; `found`: what the check of its native files saw. */
export function packageRow(name, { packed, unpackedSize }, found) {
  const floor = found?.floors === undefined ? "" : (found.floors.GLIBC ?? "no glibc");
  return [
    name,
    megabytes(packed),
    megabytes(unpackedSize),
    found === undefined ? "" : String(found.kernels.length),
    floor,
  ];
}

export function packageTable(rows) {
  const head = ["package", "packed", "installed", "levels of kernels", "newest glibc symbol"];
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}
