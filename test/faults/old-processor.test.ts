// Processors that lack what this build needs, emulated by qemu-user where it is installed: an error that names it, never SIGILL.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";
import { root } from "../helpers/fixtures";

const program = join(root, "build-cmake", "bin", "test-required-cpu");
const qemu = [process.env.GME_QEMU, "qemu-x86_64-static", "qemu-x86_64"].find(
  (name) => name && spawnSync(name, ["--version"]).status === 0,
);
const skip = qemu === undefined ? "qemu-user is not installed; GME_QEMU may name it" : false;

t.test("L27 a build refuses processors that lack its instructions by name", { skip }, (t) => {
  const outcomes: string[] = [];
  for (const model of ["qemu64", "Nehalem", "SandyBridge"]) {
    const { status, signal, stdout } = spawnSync(
      qemu as string,
      ["-cpu", model, program, join(root, "test", "fixtures")],
      {
        encoding: "latin1",
      },
    );
    t.strictSame([status, signal], [0, null], `${model}: ${stdout}`);
    t.match(stdout, /refused, no [A-Z0-9. -]+\n/, model);
    outcomes.push(`${model}: no ${/refused, no (.+)/.exec(stdout)?.[1]}`);
  }
  t.comment(`L27: GME_DEVICE_UNAVAILABLE on emulated processors: ${outcomes.join("; ")}; 0 SIGILL`);
  t.end();
});
