// children/flat-memory.ts in a process whose young generation is kept small: V8 lets it grow by up to 16 MB when it sees fit, which
// would hide, or look like, the growth that is looked for.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import t from "tap";

const flags = ["--max-semi-space-size=1", "--import", pathToFileURL(require.resolve("tsx")).href];
t.spawn(process.execPath, [...flags, join(__dirname, "children", "flat-memory.ts")], "with a small young generation");
