"""Writes a random-weight GME-shaped Hugging Face checkpoint directory."""
import argparse, json, pathlib, torch
from tokenizers import Tokenizer
from transformers import Qwen2VLConfig, Qwen2VLModel, Qwen2VLForConditionalGeneration

SHAPES = {
    # name: text(hidden, inter, layers, heads, kv, mrope), vision(embed, depth, heads), vocab merges kept, tied
    "tiny-a": dict(t=(64, 160, 3, 4, 2, [2, 3, 3]), v=(80, 3, 2), merges=2000, tied=True),
    "tiny-b": dict(t=(112, 224, 4, 7, 1, [2, 3, 3]), v=(64, 3, 4), merges=6000, tied=False),
    "gme-2b": dict(t=(1536, 8960, 28, 12, 2, [16, 24, 24]), v=(1280, 32, 16), merges=None, tied=True),
}
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
           "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]

def tokenizer(src, merges):
    t = json.load(open(src))
    m = t["model"]
    if merges is not None:
        m["merges"] = m["merges"][:merges]
        keep = {k: v for k, v in m["vocab"].items() if v < 256 + merges}
        assert len(keep) == 256 + merges, len(keep)
        m["vocab"] = keep
    base = len(m["vocab"])
    t["added_tokens"] = [dict(id=base + i, content=s, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
                         for i, s in enumerate(SPECIAL)]
    return t, {s: base + i for i, s in enumerate(SPECIAL)}

def main():
    a = argparse.ArgumentParser(); a.add_argument("shape"); a.add_argument("out"); a.add_argument("--seed", type=int, default=0)
    a.add_argument("--tokenizer", default="test/fixtures/tokenizer/tokenizer.json"); a.add_argument("--dtype", default="float32")
    a.add_argument("--std", type=float, default=None)
    a = a.parse_args()
    s = SHAPES[a.shape]; out = pathlib.Path(a.out); out.mkdir(parents=True, exist_ok=True)
    tok, ids = tokenizer(a.tokenizer, s["merges"])
    json.dump(tok, open(out / "tokenizer.json", "w"), ensure_ascii=False)
    hid, inter, layers, heads, kv, mrope = s["t"]; ve, vd, vh = s["v"]
    n_vocab = 151936 if s["merges"] is None else (len(tok["model"]["vocab"]) + len(SPECIAL) + 31) // 32 * 32
    cfg = Qwen2VLConfig(
        text_config=dict(vocab_size=n_vocab, hidden_size=hid, intermediate_size=inter, num_hidden_layers=layers, num_attention_heads=heads,
             num_key_value_heads=kv, rms_norm_eps=1e-6, max_position_embeddings=32768, rope_parameters=dict(rope_type="default", mrope_section=mrope, rope_theta=1e6),
             bos_token_id=ids["<|endoftext|>"], eos_token_id=ids["<|im_end|>"], tie_word_embeddings=s["tied"]),
        vision_config=dict(depth=vd, embed_dim=ve, hidden_size=hid, num_heads=vh, mlp_ratio=4),
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"], vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=s["tied"])
    torch.manual_seed(a.seed)
    dt = getattr(torch, a.dtype)
    torch.set_default_dtype(dt)
    m = Qwen2VLForConditionalGeneration(cfg)
    g = torch.Generator().manual_seed(a.seed)
    with torch.no_grad():
        for n, p in m.named_parameters():
            if p.ndim >= 2:
                std = a.std or (1.0 / p[0].numel()) ** 0.5 * 1.2
                if "embed_tokens" in n: std = 1.0 if a.std is None else a.std
                p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float32).mul_(std).to(dt))
            elif n.endswith("bias"):
                p.copy_(torch.randn(p.shape, generator=g).mul_(0.1).to(dt))
            else:
                p.copy_((1 + 0.1 * torch.randn(p.shape, generator=g)).to(dt))
    m.save_pretrained(out)
    json.dump(dict(tokenizer_class="Qwen2Tokenizer", model_max_length=32768, padding_side="left", add_bos_token=False, add_prefix_space=False, bos_token=None, eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None,
        added_tokens_decoder={str(i): dict(content=s, lstrip=False, normalized=False, rstrip=False, single_word=False, special=True) for s, i in ids.items()}), open(out / "tokenizer_config.json", "w"), indent=1)
    json.dump(dict(min_pixels=256*784, max_pixels=1280*784, patch_size=14, temporal_patch_size=2, merge_size=2, image_mean=[0.48145466, 0.4578275, 0.40821073], image_std=[0.26862954, 0.26130258, 0.27577711], image_processor_type="Qwen2VLImageProcessor", processor_class="Qwen2VLProcessor"), open(out / "preprocessor_config.json", "w"), indent=1)
    v = {k: i for k, i in tok["model"]["vocab"].items()}
    json.dump(v, open(out / "vocab.json", "w"), ensure_ascii=False)
    open(out / "merges.txt", "w").write("#version: 0.2\n" + "\n".join(" ".join(x) if isinstance(x, list) else x for x in tok["model"]["merges"]) + "\n")
    print(out, sum(p.numel() for p in m.parameters()) / 1e6, "M params")
main()
