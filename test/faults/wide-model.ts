// A model of any size that costs no disk: tiny-a with its feed-forward as wide as may be and its last layer repeated as often as
// wanted; the feed-forward's weights are zeros that the file system makes up. It embeds like any other model.
import { closeSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { encodeHeader } from "../../lib/convert/gguf-header";
import { readGgufHeader } from "../../lib/convert/gguf-reader";
import { aligned, tensorBytes, u32 } from "../../lib/convert/gguf-types";

/** Bytes of the file it writes, at least `bytes`. */
export async function writeWideModel(source: string, target: string, bytes: number): Promise<number> {
  const { metadata, tensors } = await readGgufHeader(source);
  const width = tensors.get("blk.0.attn_norm.weight")?.ne[0] ?? 0;
  const feedForward = 64 * width; // a wider one is refused
  const layers = Math.ceil(bytes / (3 * width * feedForward * 4));
  const known = [...tensors.values()].filter(({ name }) => Number(/^blk\.(\d+)/.exec(name)?.[1] ?? 0) < layers);
  const layer = known.filter(({ name }) => name.startsWith("blk.0."));
  const present = new Set(known.map(({ name }) => name));
  const more = Array.from({ length: layers }, (_, il) =>
    layer.map((tensor) => ({ ...tensor, name: tensor.name.replace("blk.0.", `blk.${il}.`) })),
  );
  const wide = [...known, ...more.flat().filter(({ name }) => !present.has(name))].map((tensor) => {
    if (!isFeedForward(tensor.name)) return tensor;
    return { ...tensor, ne: tensor.name.includes("ffn_down") ? [feedForward, width] : [width, feedForward] };
  });
  const sizes = [
    ["qwen2vl.feed_forward_length", u32(feedForward)],
    ["qwen2vl.block_count", u32(layers)],
  ] as const;
  const header = encodeHeader(new Map([...metadata, ...sizes]), wide);
  const from = openSync(source, "r");
  const to = openSync(target, "w");
  let at = header.length;
  writeSync(to, header);
  for (const tensor of wide) {
    const size = tensorBytes(tensor.type, tensor.ne);
    if (!isFeedForward(tensor.name)) {
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

function isFeedForward(name: string): boolean {
  return /\.ffn_(gate|up|down)\.weight$/.test(name);
}
