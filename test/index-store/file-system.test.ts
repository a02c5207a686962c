import t from "tap";
import { fileSystemWarning, warningFor } from "../../lib/index-store/file-system";
import { indexPlace } from "../../lib/index-store/index-place";

t.test("local file systems are taken without a word, others with one line that names them", async (t) => {
  for (const type of [0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x794c7630, 0x2fc12fc1, 0xf2f52010])
    t.equal(warningFor(type, "/index"), undefined, type.toString(16));
  const others = { NFS: 0x6969, SMB: 0xfe534d42, FUSE: 0x65735546, exFAT: 0x2011bab0 };
  for (const [name, type] of Object.entries(others)) {
    const warning = warningFor(type, "/index") ?? "";
    t.match(warning, `type 0x${type.toString(16)}`, name);
    t.notMatch(warning, "\n");
  }
});

t.test("object storage and a folder that is not there have no file system", async (t) => {
  t.equal(await fileSystemWarning(indexPlace("s3://bucket/prefix")), undefined);
  t.equal(await fileSystemWarning(indexPlace("/no/such/folder")), undefined);
});

const onProc = { skip: process.platform !== "linux" && "only Linux tells" };
t.test("what the system says is asked for", onProc, async (t) => {
  t.match(await fileSystemWarning(indexPlace("/proc")), "type 0x9fa0");
});
