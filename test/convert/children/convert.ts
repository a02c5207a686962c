// Converts argv[2] to argv[3] in the type argv[4], slowly enough to be killed on the way; says when the first bytes are written.
import { convert } from "../../../lib/index";

const [source, target, type] = process.argv.slice(2);
const pause = new Int32Array(new SharedArrayBuffer(4));
let isBegun = false;

function onProgress(): void {
  if (!isBegun) process.stdout.write("begun\n");
  isBegun = true;
  Atomics.wait(pause, 0, 0, 3);
}

convert({ source, target, type: type as "q8_0", split: true, onProgress }).catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
