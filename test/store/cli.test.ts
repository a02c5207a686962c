import { existsSync, readdirSync } from "node:fs";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import t from "tap";
import { attribution } from "../../lib/index";
import { gme } from "../helpers/cli";
import { blobs, checkpointHub, freshStore, repository, weights } from "./pull-setup";

t.test("gme pull, embed, pull --list and rm, as a user types them", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  const env = { GME_HOME: place.store, HF_HUB_CACHE: place.hub, HF_ENDPOINT: hub.endpoint };
  const pulled = await gme(["pull", repository, "--name", "tiny", "--type", "f32"], { env });
  t.equal(pulled.code, 0, pulled.stderr);
  t.match(pulled.stdout.toString(), /^tiny: .*tiny-f32\.gguf \(\d.* MB\), commit 0123456789ab\n/);
  t.match(pulled.stderr, "Licence: apache-2.0");
  t.match(pulled.stderr, attribution);
  t.match(pulled.stderr, "not one of the known models");

  const [byDefault, byName, listed] = await Promise.all([
    gme(["embed", "--text", "a"], { env }),
    gme(["embed", "--text", "a", "--model", "tiny"], { env }),
    gme(["pull", "--list", "--json"], { env }),
  ]);
  t.equal(byDefault.code, 0, byDefault.stderr);
  t.equal(byDefault.stderr, "", "the only model of the store needs no notice");
  t.same(byDefault.stdout, byName.stdout);
  const { models, known } = JSON.parse(listed.stdout.toString());
  t.match(models, [{ name: "tiny", isDefault: true, isPresent: true, type: "f32" }]);
  t.match(known, [{ name: "gme-2b" }, { name: "gme-7b" }]);
  t.same(listed.addons, [], "a list needs no engine");

  const [again, chosen, removed] = [
    await gme(["pull", repository, "--name", "tiny", "--type", "f32", "--json"], { env }),
    await gme(["pull", "--default", "tiny"], { env }),
    await gme(["rm", "tiny", "--all"], { env }),
  ];
  t.match(JSON.parse(again.stdout.toString()), { name: "tiny", isNew: false });
  t.match(chosen.stdout.toString(), "tiny is the default model");
  t.equal(removed.code, 0);
  t.same(blobs(place), []);
  t.same(readdirSync(join(place.store, "models")), []);
});

t.test("exit codes: 2 for wrong usage, 1 for what fails, 130 for Ctrl-C, which can be gone on with", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  const env = { GME_HOME: place.store, HF_HUB_CACHE: place.hub, HF_ENDPOINT: hub.endpoint };
  const rows: [string[], number, RegExp][] = [
    [["pull"], 2, /name a model/],
    [["pull", "gme-3b"], 2, /org\/repository/],
    [["pull", repository, "--type", "q9"], 2, /f16/],
    [["pull", "--list", "x"], 2, /takes no model/],
    [["pull", "someone/none"], 1, /no such repository.*GME_MODEL_NOT_FOUND/],
    [["rm", "none"], 1, /GME_MODEL_NOT_FOUND/],
    [["rm"], 2, /missing required argument/],
    [["embed", "--text", "a", "--model", "gme-2b"], 1, /gme pull gme-2b brings one.*GME_MODEL_NOT_FOUND/],
  ];
  const runs = await Promise.all(rows.map(([args]) => gme(args, { env })));
  for (const [i, { code, stderr, stdout }] of runs.entries()) {
    t.equal(code, rows[i][1], `gme ${rows[i][0].join(" ")}`);
    t.match(stderr, rows[i][2]);
    t.equal(stdout.length, 0);
  }

  hub.pace = { bytes: 50_000, ms: 50 };
  const seen = new Promise<void>((resolve) => {
    hub.intercept = ({ where }) => {
      if (where === "cdn") setTimeout(resolve, 300);
      return false;
    };
  });
  const stopped = await gme(["pull", repository], {
    env,
    during: (child) => void seen.then(() => child.kill("SIGINT")),
  });
  t.equal(stopped.code, 130, stopped.stderr);
  t.ok(
    blobs(place).some((name) => name.endsWith(".incomplete")),
    "the unfinished file is kept",
  );
  t.same(readdirSync(join(place.hub, ".locks", "models--someone--tiny-a")), [], "no lock is left");
  hub.pace = undefined;
  hub.take();
  t.equal((await gme(["pull", repository], { env })).code, 0);
  t.match(hub.take().find(({ where }) => where === "cdn")?.range, /^bytes=[1-9]/);
  t.ok(existsSync(join(place.store, "models", "tiny-a", "tiny-a-f16.gguf")));
});

t.test("HTTP_PROXY is used, NO_PROXY is not", async (t) => {
  const hub = await checkpointHub();
  const tunnels: string[] = [];
  const proxy = createServer((incoming, response) => {
    tunnels.push(incoming.url ?? "");
    incoming.pipe(
      request(incoming.url ?? "", { method: incoming.method, headers: incoming.headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      }),
    );
  });
  proxy.on("connect", (incoming, socket, head) => {
    tunnels.push(incoming.url ?? "");
    const [host, port] = (incoming.url ?? "").split(":");
    const upstream = connect(Number(port), host, () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      upstream.write(head);
      upstream.pipe(socket).pipe(upstream);
    });
    for (const stream of [upstream, socket]) stream.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  t.teardown(() => proxy.close());
  const address = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  for (const noProxy of ["", "127.0.0.1"]) {
    const place = freshStore();
    const env = {
      GME_HOME: place.store,
      HF_HUB_CACHE: place.hub,
      HF_ENDPOINT: hub.endpoint,
      http_proxy: address,
      no_proxy: noProxy,
      NO_PROXY: noProxy,
    };
    tunnels.length = 0;
    const { code, stderr } = await gme(["pull", repository], { env });
    t.equal(code, 0, stderr);
    t.equal(tunnels.length > 0, noProxy === "", `NO_PROXY=${noProxy}`);
  }
  t.ok(hub.take().some(({ path }) => path.includes(weights)));
});
