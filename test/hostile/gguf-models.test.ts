import t from "tap";
import { cosine } from "../../lib/index";
import { leastCosine } from "../helpers/parity";
import { decoderTree, goodVector, mmprojTree, referenceCase, singleTree, vectorOf } from "./gguf-models";
import { accepted, sameBits, writeHostile } from "./gguf-refusal";

t.test("the models that hostile ones are made of are good", async (t) => {
  const [ours, golden] = await referenceCase();
  t.ok(cosine(ours, golden) >= leastCosine, "the pair gives the reference's vector");
  const pair = await goodVector();
  t.ok(sameBits(await goodVector(), pair), "twice the same bits");
  const single = writeHostile({ single: singleTree() });
  t.ok(sameBits(await vectorOf(single.path), pair), "the single file gives the pair's vector, bit for bit");
  await accepted(t, "G", "the pair written again", { decoder: decoderTree(), mmproj: mmprojTree() });
});
