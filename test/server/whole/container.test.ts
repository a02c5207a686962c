// As in a container that has been given nothing: no rights, nothing to write to, no network but loopback.
import { execFileSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import t from "tap";
import { pairPath } from "../../helpers/parity";
import { root } from "../../helpers/fixtures";

const nobody = 65_534;

/** Everything is read-only, /tmp too; then the server, asked from inside, as nobody without rights. */
const script = `
  set -e
  mount --make-rprivate /
  mount -o remount,bind,ro /
  if mountpoint -q /tmp; then mount -o remount,bind,ro /tmp; fi
  ip link set lo up
  cd "$1"; node="$2"; model="$3"
  exec setpriv --reuid=${nobody} --regid=${nobody} --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs \\
    env -i PATH="$PATH" HOME=/nonexistent GME_THREADS=1 "$node" -e '
    const { spawn } = require("node:child_process");
    const server = spawn(process.execPath, ["dist/cli/main.js", "serve", "--port", "0", "--model", process.argv[1]]);
    let said = "";
    server.on("exit", (code) => { console.log(JSON.stringify({ code, said })); });
    server.stderr.on("data", async (data) => {
      const before = said;
      said += data;
      const url = /listens at (\\S+)/.exec(said)?.[1];
      if (url === undefined || /listens at/.test(before)) return;
      try { require("node:fs").writeFileSync("/tmp/gme-container-test", ""); console.log("/tmp can be written"); } catch {}
      const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ input: "a cat" }) };
      const answer = await fetch(url + "/v1/embeddings", init);
      const { data: [{ embedding }] } = await answer.json();
      console.log(JSON.stringify({ status: answer.status, length: embedding.length, uid: process.getuid() }));
      server.kill("SIGTERM");
    });' "$model"`;

/** The folders on the way to the checkout may be closed to others. */
function isOpenToNobody(path: string): boolean {
  for (let folder = path; folder !== dirname(folder); folder = dirname(folder))
    if ((statSync(folder).mode & 0o005) !== 0o005) return false;
  return true;
}

function whyNot(): string | false {
  if (process.getuid?.() !== 0) return "needs root for a namespace of its own";
  if (!isOpenToNobody(root) || !isOpenToNobody(dirname(process.execPath))) return "the checkout or node is closed to other users"; // biome-ignore format: one line says it
  if (!existsSync(`${root}/dist/cli/main.js`)) return "dist is not built";
  try {
    execFileSync("unshare", [
      "-mn",
      "--fork",
      "--kill-child",
      "sh",
      "-c",
      "command -v setpriv && command -v ip && mount --make-rprivate /",
    ]);
    return false;
  } catch {
    return "unshare, setpriv or ip is missing, or namespaces are not allowed";
  }
}

t.test(
  "S44 it starts and serves as nobody, with nothing it may write to, and without a network",
  { skip: whyNot() },
  async (t) => {
    const output = execFileSync(
      "unshare",
      ["-mn", "--fork", "--kill-child", "sh", "-c", script, "sh", root, process.execPath, pairPath("tiny-a")],
      {
        encoding: "utf8",
        timeout: 60_000,
      },
    );
    const [answer, end] = output.trim().split("\n").map((line) => JSON.parse(line)); // biome-ignore format: one line says it
    t.match(answer, { status: 200, uid: nobody }, output);
    t.ok(answer.length > 0);
    t.equal(end.code, 0, end.said);
  },
);
