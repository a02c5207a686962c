// A model of any size that costs no disk: tiny-a with a feed-forward as wide as wanted, whose weights are zeros that the file system
// makes up. It embeds like any other model.
import { closeSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { encodeHeader } from "../../lib/convert/gguf-header";
import { readGgufHeader } from "../../lib/convert/gguf-reader";
import { aligned, tensorBytes, u32 } from "../../lib/convert/gguf-types";

/** Bytes of the file it writes, at least `bytes`. */
export async function writeWideModel(source: string, target: string, bytes: number): Promise<number> {
  const { metadata, tensors } = await readGgufHeader(source);
  const all = [...tensors.values()];
  const matrices = all.filter(({ name }) => /\.ffn_(gate|up|down)\.weight$/.test(name));
  const width = tensors.get("blk.0.attn_norm.weight")?.ne[0] ?? 0;
  const feedForward = Math.ceil(bytes / (matrices.length * width * 4) / 32) * 32;
  const wide = all.map((tensor) => {
    if (!matrices.includes(tensor)) return tensor;
    const ne = tensor.name.includes("ffn_down") ? [feedForward, width] : [width, feedForward];
    return { ...tensor, ne };
  });
  const header = encodeHeader(new Map([...metadata, ["qwen2vl.feed_forward_length", u32(feedForward)]]), wide);
  const from = openSync(source, "r");
  const to = openSync(target, "w");
  let at = header.length;
  writeSync(to, header);
  for (const tensor of wide) {
    const size = tensorBytes(tensor.type, tensor.ne);
    if (tensor.ne === tensors.get(tensor.name)?.ne) {
      const data = Buffer.alloc(size);
      readSync(from, data, 0, size, tensor.offset);
      writeSync(to, data, 0, size, at);
    }
    at += aligned(size);
  }
  ftruncateSync(to, at);
  closeSync(from);
  closeSync(to);
  return at;
}
