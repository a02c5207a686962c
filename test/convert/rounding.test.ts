import t from "tap";
import { binding, type NativeNumberType } from "../../lib/binding";

// Bits of f32 numbers (zeros, subnormals, ties, the ends of the ranges, 60 random ones) and what numpy 2 and torch 2 make of them;
// in f16 both agree.
const f32Bits =
  "000000008000000000000001800000013f800000bf8000007f800000ff8000007f7fffffff7fffff477fe000477fefff" +
  "477ff0004780000033800000330000003300000238800000387fe000387ff00033c00000342000003f8010003f801001" +
  "3f8030003f7ff000c77ff0003dcccccdbeaaaaaa322bcc772edbe6ff40490fdb3f8080003f8080013f8180007e967699" +
  "7f7f00007f7f0906000116c20001000000008000000180004345a94d3c753dadbfd0179ab2cd84493fa13283b7988b12" +
  "c73c3198c23cf92444ee35f837d1431d4131e972b0d5f0cfb2946737c3057a1c31696ac2b93c830ac7f5c7b1bcdb6898" +
  "be328e29c2b8e957b4f07eb3338497ee401bc63a4637d426c4ed78083dc0ed56bcc9799341cae3b5431dbed7bb574b30" +
  "b16d9e8843d5ec4ab5d96c3ebafb7917c2c8d8834753e7ca44ea7220c2a22fd634081f7944feb1f6332c0ad1b2b48a03" +
  "b50293773e6267c53405a805c4617d3d3cdbf5dbbb46824cb940b19d31a7a344328dd6dac184042fb6fc57c639ce23c9" +
  "3558492c3b282b9934f2c5bebcb0396241316ec5c3d72a0d";
const f16Bits =
  "00008000000080003c00bc007c00fc007c00fc007bff7bff7c007c00000100000001040004000400000200023c003c01" +
  "3c023c00fc002e66b5550000000042483c043c043c0c7c007c007c0000000000000000005a2d23aabe8180003d0a8131" +
  "f9e2d1e8677201a3498f80008000d82c000089e4fc00a6dbb194d5c78008000140de71bfe76c2e07a64c4e5758ee9aba" +
  "80005eaf801b97dcd6477a9f6754d511000267f600018000800833130002e30c26e09a348a0600000000cc20807e0e71" +
  "000e19410008a582498bdeb9";
const bf16Bits =
  "00008000000080003f80bf807f80ff807f80ff80478047804780478033803300330038803880388033c034203f803f80" +
  "3f803f80c7803dcdbeab322c2edc40493f803f813f827e967f7f7f7f000100010000000243463c75bfd0b2ce3fa1b799" +
  "c73cc23d44ee37d14132b0d6b294c3053169b93dc7f6bcdbbe33c2b9b4f03385401c4638c4ed3dc1bcc941cb431ebb57" +
  "b16e43d6b5d9bafbc2c9475444eac2a2340844ff332cb2b5b5033e623406c4613cdcbb47b94131a8328ec184b6fc39ce" +
  "35583b2834f3bcb04131c3d7";

function numbers(hex: string, digits: number): Buffer {
  const values = hex.match(new RegExp(`.{${digits}}`, "g")) ?? [];
  const bytes = Buffer.alloc(values.length * (digits / 2));
  for (const [i, value] of values.entries())
    bytes.writeUIntLE(Number.parseInt(value, 16), i * (digits / 2), digits / 2);
  return bytes;
}

async function converted(from: NativeNumberType, source: Uint8Array, to: NativeNumberType): Promise<Buffer> {
  return Buffer.from(await binding().convertNumbers(from, source, to).promise);
}

t.test("f32 rounds to f16 and bf16 as numpy and torch round", async (t) => {
  const source = numbers(f32Bits, 8);
  t.equal((await converted("f32", source, "f16")).toString("hex"), numbers(f16Bits, 4).toString("hex"));
  t.equal((await converted("f32", source, "bf16")).toString("hex"), numbers(bf16Bits, 4).toString("hex"));
});

t.test("NaN stays NaN", async (t) => {
  const source = numbers("7fc00000ffc000007f800001ff8000017fffffff", 8);
  const f16 = await converted("f32", source, "f16");
  const bf16 = await converted("f32", source, "bf16");
  for (let i = 0; i < f16.length; i += 2) {
    t.ok((f16.readUInt16LE(i) & 0x7fff) > 0x7c00, `f16 ${f16.readUInt16LE(i).toString(16)}`);
    t.ok((bf16.readUInt16LE(i) & 0x7fff) > 0x7f80, `bf16 ${bf16.readUInt16LE(i).toString(16)}`);
  }
});

t.test("every f16 and bf16 number survives the way through f32", async (t) => {
  const all = Buffer.alloc(2 * 65_536);
  for (let i = 0; i < 65_536; i++) all.writeUInt16LE(i, 2 * i);
  for (const [type, infinity] of [
    ["f16", 0x7c00],
    ["bf16", 0x7f80],
  ] as const) {
    const back = await converted("f32", await converted(type, all, "f32"), type);
    let different = 0;
    for (let i = 0; i < 65_536; i++) if ((i & 0x7fff) <= infinity && back.readUInt16LE(2 * i) !== i) different++;
    t.equal(different, 0, type);
  }
});
