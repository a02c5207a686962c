// Converts argv[2] to argv[3], in the type argv[4]; says when it begins.
import { convert } from "../../../lib/index";

const [source, target, type] = process.argv.slice(2);
process.stdout.write("begun\n");
convert({ source, target, type: type as "q8_0", split: process.argv[5] === "split" }).catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
