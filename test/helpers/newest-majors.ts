const oldest = 22;

/** Why the newest majors of the clients do not run here, as tap's `skip`; they are type-checked everywhere. */
export const newestMajorsRun: string | false =
  Number.parseInt(process.versions.node, 10) >= oldest ? false : `needs Node ${oldest}, this is ${process.version}`;
