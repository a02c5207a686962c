import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { graphicsVendors } from "../../lib/graphics-cards";
import { temporaryFolder } from "../helpers/fixtures";

t.test("makers of display controllers and accelerators are known by their numbers", async (t) => {
  const bus = temporaryFolder();
  const slots = [
    ["0000:00:02.0", "0x8086", "0x030000"],
    ["0000:01:00.0", "0x10de", "0x030200"],
    ["0000:02:00.0", "0x10de", "0x030200"],
    ["0000:03:00.0", "0x1002", "0x120000"],
    ["0000:04:00.0", "0x10de", "0x040300"], // its sound
    ["0000:05:00.0", "0x1a03", "0x030000"], // a server's own picture
  ];
  for (const [slot, vendor, kind] of slots) {
    mkdirSync(join(bus, slot));
    writeFileSync(join(bus, slot, "vendor"), `${vendor}\n`);
    writeFileSync(join(bus, slot, "class"), `${kind}\n`);
  }
  mkdirSync(join(bus, "0000:06:00.0"));
  t.strictSame(graphicsVendors(bus), ["amd", "intel", "nvidia"]);
  t.strictSame(graphicsVendors(join(bus, "nowhere")), []);
});
