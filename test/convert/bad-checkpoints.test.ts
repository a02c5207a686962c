import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { readCheckpointConfig } from "../../lib/convert/checkpoint-config";
import { convert } from "../../lib/index";
import { fixture, temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import { checkpointVariant, type Json, type Variant } from "./checkpoint-variant";

const folder = temporaryFolder();
const target = join(folder, "never.gguf");
const query = "model.layers.0.self_attn.q_proj.weight";

function config(change: (config: Json) => void): Variant {
  return { json: { "config.json": change } };
}

const cases: [string, Variant, string, string?][] = [
  [
    "another architecture",
    config((c) => {
      c.model_type = "qwen2_5_vl";
    }),
    "GME_MODEL_UNSUPPORTED",
    "model_type",
  ],
  [
    "quantised weights",
    config((c) => {
      c.quantization_config = { bits: 4 };
    }),
    "GME_MODEL_UNSUPPORTED",
    "quantization_config",
  ],
  [
    "another activation",
    config((c) => {
      c.hidden_act = "gelu";
    }),
    "GME_MODEL_UNSUPPORTED",
    "hidden_act",
  ],
  [
    "another rope",
    config((c) => {
      c.rope_scaling.type = "yarn";
    }),
    "GME_MODEL_UNSUPPORTED",
    "rope_scaling.type",
  ],
  [
    "another patch size",
    config((c) => {
      c.vision_config.patch_size = 16;
    }),
    "GME_MODEL_UNSUPPORTED",
    "vision_config.patch_size",
  ],
  [
    "a missing size",
    config((c) => {
      delete c.num_hidden_layers;
    }),
    "GME_CHECKPOINT_BAD",
    "num_hidden_layers",
  ],
  [
    "a size out of range",
    config((c) => {
      c.num_hidden_layers = 1e9;
    }),
    "GME_HPARAM_RANGE",
    "num_hidden_layers",
  ],
  [
    "heads that do not divide the width",
    config((c) => {
      c.num_attention_heads = 3;
    }),
    "GME_HPARAM_RANGE",
    "num_attention_heads",
  ],
  [
    "sections of another head",
    config((c) => {
      c.rope_scaling.mrope_section = [16, 24, 24];
    }),
    "GME_HPARAM_RANGE",
    "rope_scaling.mrope_section",
  ],
  ["a config that is not JSON", { json: { "config.json": "{" } }, "GME_CHECKPOINT_BAD"],
  ["a config that is a list", { json: { "config.json": "[]" } }, "GME_CHECKPOINT_BAD"],
  [
    "one layer more than there is",
    config((c) => {
      c.num_hidden_layers = 4;
    }),
    "GME_TENSOR_MISSING",
  ],
  [
    "one layer less than there is",
    config((c) => {
      c.num_hidden_layers = 2;
    }),
    "GME_MODEL_UNSUPPORTED",
  ],
  [
    "another vocabulary size",
    config((c) => {
      c.vocab_size = 2_273;
    }),
    "GME_TENSOR_SHAPE",
  ],
  [
    "an unknown tensor",
    {
      header: (h) => {
        rename(h, query, "model.layers.0.self_attn.q_norm.weight");
      },
    },
    "GME_MODEL_UNSUPPORTED",
  ],
  [
    "two names of one tensor",
    {
      header: (h) => {
        rename(h, query, "model.language_model.norm.weight");
      },
    },
    "GME_TENSOR_DUP",
  ],
  [
    "another shape of the same size",
    {
      header: (h) => {
        h["model.layers.0.mlp.up_proj.weight"].shape.reverse();
      },
    },
    "GME_TENSOR_SHAPE",
  ],
  [
    "integers",
    {
      header: (h) => {
        h[query].dtype = "I32";
      },
    },
    "GME_TENSOR_TYPE",
    `tensor["${query}"].dtype`,
  ],
  [
    "an unknown type",
    {
      header: (h) => {
        h[query].dtype = "F4";
      },
    },
    "GME_TENSOR_TYPE",
  ],
  [
    "a range of another size",
    {
      header: (h) => {
        h[query].data_offsets[1] -= 4;
      },
    },
    "GME_SAFETENSORS_BAD",
    `tensor["${query}"].data_offsets`,
  ],
  [
    "overlapping ranges",
    {
      header: (h) => {
        h[query].data_offsets = h["model.layers.1.self_attn.q_proj.weight"].data_offsets;
      },
    },
    "GME_SAFETENSORS_BAD",
  ],
  [
    "a shape that overflows",
    {
      header: (h) => {
        h[query].shape = [2 ** 40, 2 ** 40];
      },
    },
    "GME_SAFETENSORS_BAD",
  ],
  [
    "a negative size",
    {
      header: (h) => {
        h[query].shape = [-64, -64];
      },
    },
    "GME_SAFETENSORS_BAD",
  ],
  [
    "an entry without shape",
    {
      header: (h) => {
        delete h[query].shape;
      },
    },
    "GME_SAFETENSORS_BAD",
  ],
  ["weights cut short", { weights: (b) => b.subarray(0, b.length - 1) }, "GME_SAFETENSORS_BAD", "file size"],
  [
    "bytes after the weights",
    { weights: (b) => Buffer.concat([b, Buffer.alloc(1)]) },
    "GME_SAFETENSORS_BAD",
    "file size",
  ],
  ["an empty weights file", { weights: () => Buffer.alloc(0) }, "GME_SAFETENSORS_BAD", "header"],
  [
    "an impossible header length",
    {
      weights: (b) => {
        b.writeBigUInt64LE(2n ** 60n);
        return b;
      },
    },
    "GME_SAFETENSORS_BAD",
    "header",
  ],
  [
    "a header that is not JSON",
    {
      weights: (b) => {
        b[8] = 0;
        return b;
      },
    },
    "GME_SAFETENSORS_BAD",
    "header",
  ],
  [
    "another split of texts",
    {
      json: {
        "tokenizer.json": (j) => {
          j.pre_tokenizer.pretokenizers[0].pattern.Regex = "\\p{N}{1,3}";
        },
      },
    },
    "GME_TOKENIZER_BAD",
    "pre_tokenizer",
  ],
  [
    "another kind of tokenizer",
    {
      json: {
        "tokenizer.json": (j) => {
          j.model.type = "Unigram";
        },
      },
    },
    "GME_TOKENIZER_BAD",
    "model.type",
  ],
  [
    "a token outside the vocabulary",
    {
      json: {
        "tokenizer.json": (j) => {
          j.model.vocab.extra = 2_272;
        },
      },
    },
    "GME_TOKENIZER_BAD",
  ],
  [
    "two tokens of one id",
    {
      json: {
        "tokenizer.json": (j) => {
          j.model.vocab.extra = 5;
        },
      },
    },
    "GME_TOKENIZER_BAD",
  ],
  [
    "a merge of three",
    {
      json: {
        "tokenizer.json": (j) => {
          j.model.merges[7] = "a b c";
        },
      },
    },
    "GME_TOKENIZER_BAD",
    "merges[7]",
  ],
  [
    "an end token that does not exist",
    {
      json: {
        "tokenizer_config.json": (j) => {
          j.eos_token = "<|nowhere|>";
        },
      },
    },
    "GME_TOKENIZER_BAD",
    "eos_token",
  ],
  [
    "a picture budget upside down",
    {
      json: {
        "preprocessor_config.json": (j) => {
          j.max_pixels = 784;
        },
      },
    },
    "GME_HPARAM_RANGE",
    "max_pixels",
  ],
];

function rename(header: Json, from: string, to: string): void {
  header[to] = header[from];
  delete header[from];
}

for (const [title, variant, code, field] of cases) {
  t.test(`${title} is refused: ${code}`, async (t) => {
    const source = checkpointVariant(variant);
    const error = await rejectsWith(t, () => convert({ source, target }), code);
    if (field !== undefined) t.equal(error.field, field);
    t.ok(error.file?.startsWith(source), `names the file: ${error.file}`);
  });
}

t.test("Qwen2-VL's general picture budget becomes GME's own", async (t) => {
  const budget = async (min_pixels?: number, max_pixels?: number) => {
    const change = (json: Json) => Object.assign(json, { min_pixels, max_pixels });
    return (await readCheckpointConfig(checkpointVariant({ json: { "preprocessor_config.json": change } })))
      .imageTokens;
  };
  t.same(await budget(3_136, 12_845_056), { min: 256, max: 1_280 });
  t.same(await budget(), { min: 256, max: 1_280 });
  t.same(await budget(12_544, 12_544), { min: 16, max: 16 });
  t.same(await budget(3_136, 1_003_520), { min: 4, max: 1_280 });
});

t.test("shards are looked for beside their index, and must hold what it says", async (t) => {
  const original = fixture("more", "checkpoint-tiny-b-bf16-sharded");
  const copy = (change: (index: Json) => void) => {
    const source = join(folder, `shards-${Math.random()}`);
    cpSync(original, source, { recursive: true });
    const file = join(source, "model.safetensors.index.json");
    const index = JSON.parse(readFileSync(file, "utf8"));
    change(index);
    rmSync(file);
    writeFileSync(file, JSON.stringify(index));
    return source;
  };
  const first = "lm_head.weight";
  const outside = copy((index) => {
    index.weight_map[first] = "../model-00001-of-00002.safetensors";
  });
  await rejectsWith(t, () => convert({ source: outside, target }), "GME_SAFETENSORS_BAD");
  const absent = copy((index) => {
    index.weight_map[first] = "model-00003-of-00002.safetensors";
  });
  await rejectsWith(t, () => convert({ source: absent, target }), "GME_IO_ERROR");
  const elsewhere = copy((index) => {
    index.weight_map[first] = "model-00002-of-00002.safetensors";
  });
  await rejectsWith(t, () => convert({ source: elsewhere, target }), "GME_TENSOR_MISSING");
  const unmapped = copy((index) => {
    delete index.weight_map;
  });
  await rejectsWith(t, () => convert({ source: unmapped, target }), "GME_SAFETENSORS_BAD");
});

t.test("a source that is no checkpoint is refused", async (t) => {
  const empty = join(folder, "empty");
  mkdirSync(empty);
  await rejectsWith(t, () => convert({ source: empty, target }), "GME_CHECKPOINT_BAD");
  copyFileSync(fixture("checkpoints", "tiny-a", "config.json"), join(empty, "config.json"));
  await rejectsWith(t, () => convert({ source: empty, target }), "GME_CHECKPOINT_BAD");
  await rejectsWith(t, () => convert({ source: join(folder, "nowhere"), target }), "GME_IO_ERROR");
  await rejectsWith(t, () => convert({ source: join(empty, "config.json"), target }), "GME_GGUF_BAD_MAGIC");
});
