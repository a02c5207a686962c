// Processes that come from one with an open model.
import t from "tap";
import { runChild } from "./child";
import { childSetup } from "./native-model";

t.test("L23 forked processes and cluster workers of a process with a busy model embed on their own", async (t) => {
  const end = await runChild("family.cjs", [], { setup: childSetup(16), patience: 60_000 });
  t.match(end, { code: 0, signal: null }, end.output);
  const { parent, children } = JSON.parse(end.output) as { parent: string; children: string[] };
  t.equal(children.length, 6);
  t.ok(
    children.every((vectors) => vectors === parent),
    "all with the parent's vectors",
  );
  t.comment(
    "L23: 3 forks and 3 cluster workers beside a computing parent: 6 of 6 with the parent's vectors, exit code 0 each",
  );
});
