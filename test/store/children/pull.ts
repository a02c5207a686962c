// Pulls as a process of its own: arguments are the endpoint and the repository; says `go` when it begins.
import { pull } from "../../../lib/store/pull";

const [endpoint, model] = process.argv.slice(2);
process.stdout.write("go\n");
pull({ model, onNote: (note) => process.stdout.write(`${note}\n`) }, { endpoint, retryDelayMs: 20 }).then(
  ({ file }) => process.stdout.write(`${file}\n`),
  (error) => {
    process.stdout.write(`${error.code}: ${error.message}\n`);
    process.exitCode = 1;
  },
);
