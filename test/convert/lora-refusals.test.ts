import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { convert } from "../../lib/index";
import { fixture, temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import { type AdapterVariant, adapterPrefix, adapterVariant, rename, reshape } from "./adapter-variant";
import { type Json, withHeader } from "./checkpoint-variant";

const source = fixture("checkpoints", "tiny-a");
const target = join(temporaryFolder(), "never.gguf");
const query = `${adapterPrefix}0.self_attn.q_proj.lora_A.weight`;
const queryB = query.replace("lora_A", "lora_B");
const [other, otherB] = [query, queryB].map((name) => name.replace("q_proj", "r_proj"));

/** An adapter whose configuration has these fields. */
function config(fields: Json): AdapterVariant {
  return { config: (content) => Object.assign(content, fields) };
}

const refusedFields: [string, Json, string][] = [
  ["DoRA", { use_dora: true }, "use_dora"],
  ["trained biases", { bias: "lora_only" }, "bias"],
  ["biases of the factors", { lora_bias: true }, "lora_bias"],
  ["modules that were trained whole", { modules_to_save: ["visual.merger"] }, "modules_to_save"],
  ["trained tokens", { trainable_token_indices: [1, 2] }, "trainable_token_indices"],
  ["trained tokens by module", { trainable_token_indices: { embed_tokens: [1] } }, "trainable_token_indices"],
  ["transposed weights", { fan_in_fan_out: true }, "fan_in_fan_out"],
  ["replicated layers", { layer_replication: [[0, 2]] }, "layer_replication"],
  ["targeted parameters", { target_parameters: ["experts.w1"] }, "target_parameters"],
  ["Megatron's layers", { megatron_config: { tensor_model_parallel_size: 2 } }, "megatron_config"],
  ["activated LoRA", { alora_invocation_tokens: [1] }, "alora_invocation_tokens"],
  ["QALoRA", { use_qalora: true }, "use_qalora"],
  ["changed base weights", { init_lora_weights: "pissa_niter_16" }, "init_lora_weights"],
  ["a variant of later days", { use_wonder: true }, "use_wonder"],
  ["a variant with its own settings", { wonder_config: { a: 1 } }, "wonder_config"],
  ["another kind of adapter", { peft_type: "ADALORA" }, "peft_type"],
];

for (const [title, fields, field] of refusedFields) {
  t.test(`an adapter is refused for ${title}, by the name of the field ${field}`, async (t) => {
    const lora = adapterVariant(config(fields));
    const error = await rejectsWith(t, () => convert({ source, target, lora }), "GME_MODEL_UNSUPPORTED");
    t.equal(error.field, field);
    t.match(error.message, field);
    t.equal(error.file, join(lora, "adapter_config.json"));
  });
}

t.test("fields that say nothing are not refused", async () => {
  const nothing = {
    ...{ modules_to_save: null, trainable_token_indices: null, layer_replication: null, megatron_config: null },
    ...{ megatron_core: "megatron.core", loftq_config: {}, eva_config: null, corda_config: null, lora_bias: false },
    ...{ use_qalora: false, qalora_group_size: 16, init_lora_weights: true, layers_to_transform: null, revision: null },
    ...{ rank_pattern: null, alpha_pattern: null, inference_mode: true, exclude_modules: null, peft_version: "0.18.0" },
  };
  await convert({ source, target: `${target}.whole`, lora: adapterVariant(config(nothing)) });
});

const cases: [string, AdapterVariant, string, string?][] = [
  ["no rank", config({ r: undefined }), "GME_CHECKPOINT_BAD", "r"],
  ["no alpha", config({ lora_alpha: undefined }), "GME_CHECKPOINT_BAD", "lora_alpha"],
  ["a rank of 0", config({ r: 0 }), "GME_HPARAM_RANGE", "r"],
  ["a rank that is no integer", config({ r: 7.5 }), "GME_HPARAM_RANGE", "r"],
  ["an alpha of 0", config({ lora_alpha: 0 }), "GME_HPARAM_RANGE", "lora_alpha"],
  ["an alpha that is a text", config({ lora_alpha: "32" }), "GME_HPARAM_RANGE", "lora_alpha"],
  ["use_rslora that is a text", config({ use_rslora: "yes" }), "GME_HPARAM_RANGE", "use_rslora"],
  ["a pattern that is a list", config({ rank_pattern: [] }), "GME_HPARAM_RANGE", "rank_pattern"],
  ["a pattern's rank of 0", config({ rank_pattern: { q_proj: 0 } }), "GME_HPARAM_RANGE", 'rank_pattern["q_proj"]'],
  ["a pattern that does not compile", config({ alpha_pattern: { "(": 1 } }), "GME_MODEL_UNSUPPORTED", "alpha_pattern"],
  [
    "a pattern that takes forever",
    config({ alpha_pattern: { "(\\w+\\.?)+(\\w+\\.?)+!": 1 } }),
    "GME_MODEL_UNSUPPORTED",
    "alpha_pattern",
  ],
  ["a rank other than the tensors'", config({ r: 16 }), "GME_TENSOR_SHAPE"],
  ["a pattern's rank other than the tensors'", config({ rank_pattern: { q_proj: 4 } }), "GME_TENSOR_SHAPE"],
  ["a factor without its pair", { header: (h) => rename(h, queryB, otherB) }, "GME_TENSOR_MISSING"],
  ["the other factor without its pair", { header: (h) => rename(h, query, other) }, "GME_TENSOR_MISSING"],
  [
    "a base of another width",
    {
      header: (h) => rename(h, query, "base_model.model.lm_head.lora_A.weight"),
      more: { [query]: [8, 32], "base_model.model.lm_head.lora_B.weight": [2_272, 8] },
    },
    "GME_TENSOR_SHAPE",
    `tensor["${query}"].shape`,
  ],
  ["a factor of one dimension", { header: (h) => reshape(h, query, [512]) }, "GME_TENSOR_SHAPE"],
  ["a transposed factor", { header: (h) => reshape(h, queryB, [8, 64]) }, "GME_TENSOR_SHAPE"],
  [
    "a layer that the base does not have",
    { header: (h) => renamePair(h, "0.self_attn.q_proj", "3.self_attn.q_proj") },
    "GME_MODEL_UNSUPPORTED",
    "target_modules",
  ],
  [
    "a norm as target",
    { header: (h) => renamePair(h, "0.self_attn.q_proj", "0.input_layernorm") },
    "GME_MODEL_UNSUPPORTED",
    "target_modules",
  ],
  [
    "token embeddings as target",
    {
      more: {
        "base_model.model.model.embed_tokens.lora_embedding_A": [8, 2_272],
        "base_model.model.model.embed_tokens.lora_embedding_B": [64, 8],
      },
    },
    "GME_MODEL_UNSUPPORTED",
    'tensor["base_model.model.model.embed_tokens.lora_embedding_A"]',
  ],
  [
    "token embeddings as a linear target",
    {
      more: {
        "base_model.model.model.embed_tokens.lora_A.weight": [8, 64],
        "base_model.model.model.embed_tokens.lora_B.weight": [2_272, 8],
      },
    },
    "GME_MODEL_UNSUPPORTED",
    "target_modules",
  ],
  [
    "the patch embedding as target",
    {
      more: {
        "base_model.model.visual.patch_embed.proj.lora_A.weight": [8, 3, 2, 14, 14],
        "base_model.model.visual.patch_embed.proj.lora_B.weight": [80, 8, 1, 1, 1],
      },
    },
    "GME_MODEL_UNSUPPORTED",
    "target_modules",
  ],
  [
    "whole weights among the factors",
    { more: { "base_model.model.model.embed_tokens.weight": [2_272, 64] } },
    "GME_MODEL_UNSUPPORTED",
    'tensor["base_model.model.model.embed_tokens.weight"]',
  ],
  [
    "DoRA's magnitudes",
    { more: { [query.replace("lora_A", "lora_magnitude_vector")]: [64] } },
    "GME_MODEL_UNSUPPORTED",
  ],
  ["a second adapter", { more: { [query.replace("lora_A", "lora_A.other")]: [8, 64] } }, "GME_MODEL_UNSUPPORTED"],
  ["a module twice", { more: { [query.replace("lora_A", "lora_A.default")]: [8, 64] } }, "GME_TENSOR_DUP"],
  [
    "a module in both spellings",
    { more: { [query.replace("language_model.", "")]: [8, 64] } },
    "GME_TENSOR_DUP",
    `tensor["${query.replace("language_model.", "")}"]`,
  ],
  [
    "names of another writer",
    { header: (h) => rename(h, query, query.replace("base_model.", "")) },
    "GME_MODEL_UNSUPPORTED",
  ],
  [
    "factors of whole numbers",
    {
      header: (h) => {
        h[query].dtype = "I32";
      },
    },
    "GME_TENSOR_TYPE",
  ],
  [
    "a factor that is not a number",
    { data: (data, header) => void data.writeFloatLE(Number.NaN, header[query].data_offsets[0]) },
    "GME_NON_FINITE",
    "model.language_model.layers.0.self_attn.q_proj",
  ],
];

for (const [title, variant, code, field] of cases) {
  t.test(`an adapter is refused for ${title}: ${code}`, async (t) => {
    const lora = adapterVariant(variant);
    const error = await rejectsWith(t, () => convert({ source, target, lora }), code);
    if (field !== undefined) t.equal(error.field, field);
    t.match(error.file ?? "", lora);
  });
}

t.test("an adapter of another model is refused by the first shape that does not fit", async (t) => {
  const lora = fixture("more", "lora-tiny-a-new");
  const other = fixture("checkpoints", "tiny-b");
  const error = await rejectsWith(t, () => convert({ source: other, target, lora }), "GME_TENSOR_SHAPE");
  t.match(error.message, /in the checkpoint/);
});

t.test("a folder without an adapter, or with more than one, is refused", async (t) => {
  const call = (lora: string) => () => convert({ source, target, lora });
  await rejectsWith(t, call(join(source, "none")), "GME_CHECKPOINT_BAD", "no such folder");
  await rejectsWith(t, call(source), "GME_CHECKPOINT_BAD", "a checkpoint");
  const pickled = adapterVariant({});
  rmSync(join(pickled, "adapter_model.safetensors"));
  writeFileSync(join(pickled, "adapter_model.bin"), "x");
  t.match((await rejectsWith(t, call(pickled), "GME_CHECKPOINT_BAD")).message, /adapter_model\.bin is not read/);
  const none = adapterVariant({});
  writeFileSync(join(none, "adapter_model.safetensors"), withHeader({}, Buffer.alloc(0)));
  await rejectsWith(t, call(none), "GME_CHECKPOINT_BAD", "no tensors");
  const tower = adapterVariant({});
  writeFileSync(join(tower, "vit.safetensors"), "x");
  t.match((await rejectsWith(t, call(tower), "GME_MODEL_UNSUPPORTED")).message, /vit\.safetensors/);
});

t.test("an adapter for GGUF files is refused with the reason, and so are wrong options", async (t) => {
  const lora = fixture("more", "lora-tiny-a-new");
  const pair = [fixture("gguf", "tiny-a-f32.gguf"), fixture("gguf", "mmproj-tiny-a-f32.gguf")] as const;
  const error = await rejectsWith(t, () => convert({ source: pair, target, lora }), "GME_OPTION_INVALID");
  t.equal(error.field, "options.lora");
  t.match(error.message, /before they are split and rounded/);
  for (const [name, value] of Object.entries({ lora: 1, positions: "grid", loaderResize: "on" })) {
    const call = () => convert({ source, target, [name]: value } as never);
    t.equal((await rejectsWith(t, call, "GME_OPTION_INVALID")).field, `options.${name}`);
  }
  await rejectsWith(t, () => convert({ source, target, lora: "" }), "GME_OPTION_INVALID", "an empty path");
});

function renamePair(header: Json, from: string, to: string): void {
  for (const half of ["lora_A", "lora_B"]) {
    rename(header, `${adapterPrefix}${from}.${half}.weight`, `${adapterPrefix}${to}.${half}.weight`);
  }
}
