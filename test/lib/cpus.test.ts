import { availableParallelism } from "node:os";
import t from "tap";
import { coresOfProcCpuinfo, physicalCores } from "../../lib/cpus";

t.test("hyper-threads of one core count once", async (t) => {
  const block = (cpu: number, package_: number, core: number) =>
    `processor\t: ${cpu}\nphysical id\t: ${package_}\ncore id\t\t: ${core}\nflags\t\t: fpu\n`;
  const text = [block(0, 0, 0), block(1, 0, 1), block(2, 0, 0), block(3, 0, 1), block(4, 1, 0)].join("\n");
  t.equal(coresOfProcCpuinfo(text), 3);
  t.equal(coresOfProcCpuinfo("processor\t: 0\nBogoMIPS\t: 50\n"), undefined, "arm64 names no cores");
});

t.test("the default number of threads lies between 1 and the usable CPUs", async (t) => {
  const cores = physicalCores();
  t.ok(Number.isInteger(cores) && cores >= 1 && cores <= availableParallelism(), String(cores));
});
