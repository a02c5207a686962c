"""Trains a very small Qwen2-VL-architecture model to embed emoji pictures and their names in one space.

Every input is put in the GME prompt (fixed system line), the embedding is the final-norm state of the last token,
L2-normalised, and the loss is InfoNCE in both directions with a learned temperature.  Decoder positions are plain 0..T-1.
Each side is also classified among one learned anchor vector per trained emoji; the anchors start from a factorisation of the
emoji-by-word table, so both encoders have a meaningful target from the first step.  They are thrown away at the end.
The result is saved as an ordinary Hugging Face directory.  OpenMoji is only ever looked at to print progress.

Two exact savings make a CPU run possible.  The system prompt is the same for every row and attention is causal, so its
keys and values are computed once a step and shared.  And only the last token is pooled, so the last decoder layer is run
for that token alone.  selfcheck() compares this short path with transformers' own forward before training starts.
"""
import argparse, json, math, pathlib, random, time
import numpy as np, torch, torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision, rotate_half
from transformers.vision_utils import get_vision_position_ids
import emojidata

HERE = pathlib.Path(__file__).parent
MERGES = 3826                                    # 256 bytes + 3826 merges + 14 special tokens = 4096 rows
TEXT = dict(hidden_size=192, intermediate_size=512, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2)
VISION = dict(depth=4, embed_dim=128, num_heads=4, mlp_ratio=4)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
           "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
HEAD = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
IMAGE = "<|vision_start|>" + "<|image_pad|>" * 16 + "<|vision_end|>"
TAIL = "<|im_end|>\n<|im_start|>assistant\n<|endoftext|>"
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
FRAMES = ["{}", "{}", "{}", "{}", "a picture of a {}", "a picture of {}", "picture of {}", "an emoji of {}", "{} emoji", "a drawing of a {}", "the {}", "a {}", "{} icon"]


# ---------------------------------------------------------------- model and checkpoint directory
def new_model(out, seed):
    """Writes the tokenizer and processor files to out, and returns a fresh model with fan-in scaled weights."""
    out.mkdir(parents=True, exist_ok=True)
    t = json.load(open(HERE / "../../../test/fixtures/tokenizer/tokenizer.json"))
    m = t["model"]
    m["merges"] = m["merges"][:MERGES]
    m["vocab"] = {k: v for k, v in m["vocab"].items() if v < 256 + MERGES}
    ids = {s: 256 + MERGES + i for i, s in enumerate(SPECIAL)}
    flags = dict(lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
    t["added_tokens"] = [dict(id=i, content=s, **flags) for s, i in ids.items()]
    json.dump(t, open(out / "tokenizer.json", "w"), ensure_ascii=False)
    json.dump(dict(tokenizer_class="Qwen2Tokenizer", model_max_length=32768, padding_side="left", add_bos_token=False, add_prefix_space=False, bos_token=None, eos_token="<|im_end|>",
                   pad_token="<|endoftext|>", unk_token=None, added_tokens_decoder={str(i): dict(content=s, **flags) for s, i in ids.items()}), open(out / "tokenizer_config.json", "w"), indent=1)
    json.dump(dict(min_pixels=16 * 784, max_pixels=16 * 784, patch_size=14, temporal_patch_size=2, merge_size=2, image_mean=MEAN.flatten().tolist(), image_std=STD.flatten().tolist(),
                   image_processor_type="Qwen2VLImageProcessor", processor_class="Qwen2VLProcessor"), open(out / "preprocessor_config.json", "w"), indent=1)
    json.dump(m["vocab"], open(out / "vocab.json", "w"), ensure_ascii=False)
    (out / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(x) if isinstance(x, list) else x for x in m["merges"]) + "\n")
    cfg = Qwen2VLConfig(
        text_config=dict(vocab_size=256 + MERGES + len(SPECIAL), rms_norm_eps=1e-6, max_position_embeddings=32768, tie_word_embeddings=True, bos_token_id=ids["<|endoftext|>"], eos_token_id=ids["<|im_end|>"],
                         rope_parameters=dict(rope_type="default", mrope_section=[4, 6, 6], rope_theta=1e6), **TEXT),
        vision_config=dict(hidden_size=TEXT["hidden_size"], **VISION), image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"], tie_word_embeddings=True)
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration(cfg)
    deep = {"o_proj": TEXT["num_hidden_layers"], "down_proj": TEXT["num_hidden_layers"], "attn.proj": VISION["depth"], "fc2": VISION["depth"]}
    with torch.no_grad():
        for n, p in model.named_parameters():
            if p.ndim >= 2:                        # branch outputs are made smaller with depth
                std = 0.1 if "embed_tokens" in n else p[0].numel() ** -0.5
                p.normal_(0, std * next(((2 * d) ** -0.5 for k, d in deep.items() if k in n), 1.0))
            elif n.endswith("bias"):
                p.zero_()
    return model


# ---------------------------------------------------------------- the short forward path
class Embedder:
    def __init__(self, model, tok):
        self.visual, self.lm, self.tok = model.model.visual, model.model.language_model, tok
        self.head = torch.tensor(tok.encode(HEAD, add_special_tokens=False).ids)
        self.image = tok.encode(IMAGE, add_special_tokens=False).ids
        self.tail = tok.encode(TAIL, add_special_tokens=False).ids
        self.known = {}
        grid = torch.tensor([[1, 8, 8]])
        self.vcos, self.vsin = self.visual.rotary_pos_emb(torch.zeros(1), get_vision_position_ids(grid, 2))
        d = TEXT["hidden_size"] // TEXT["num_attention_heads"]
        ang = torch.arange(256.0)[:, None] * (1e6 ** (-torch.arange(0, d, 2) / d))[None]
        self.cos, self.sin = torch.cat([ang, ang], 1).cos(), torch.cat([ang, ang], 1).sin()

    def see(self, x):
        """(B, 3, 112, 112) normalised pictures -> (B, 16, hidden), as Qwen2VLModel.visual does for an 8 x 8 grid."""
        v, b = self.visual, x.shape[0]
        x = x.view(b, 3, 4, 2, 14, 4, 2, 14).permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(b * 64, 588)
        w = v.patch_embed.proj.weight                     # a still picture is the same in both frames of a patch
        x = (x @ w.sum(2).reshape(w.shape[0], -1).T).view(b, 64, -1)
        for blk in v.blocks:
            q, k, u = blk.attn.qkv(blk.norm1(x)).view(b, 64, 3, blk.attn.num_heads, -1).unbind(2)
            q, k = apply_rotary_pos_emb_vision(q, k, self.vcos, self.vsin)
            a = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), u.transpose(1, 2))
            x = x + blk.attn.proj(a.transpose(1, 2).reshape(b, 64, -1))
            x = x + blk.mlp(blk.norm2(x))
        return v.merger(x.reshape(b * 64, -1)).view(b, 16, -1)

    def ids(self, text):
        if text not in self.known:
            self.known[text] = self.tok.encode(text, add_special_tokens=False).ids
        return self.known[text]

    def __call__(self, pictures=None, texts=None):
        """Unit embeddings of B pictures, B texts, or B picture-and-text pairs."""
        b = len(pictures) if pictures is not None else len(texts)
        rows = [(self.image if pictures is not None else []) + (self.ids(texts[i]) if texts is not None else []) + self.tail for i in range(b)]
        last = torch.tensor([len(r) - 1 for r in rows])
        t = int(last.max()) + 1
        x = self.lm.embed_tokens(torch.tensor([r + [self.tail[-1]] * (t - len(r)) for r in rows]))   # right padding is never attended to
        if pictures is not None:
            x = torch.cat([x[:, :1], self.see(pictures), x[:, 17:]], 1)
        p = self.lm.embed_tokens(self.head)[None]
        n = p.shape[1]
        keep = torch.cat([torch.ones(t, n, dtype=torch.bool), torch.ones(t, t, dtype=torch.bool).tril()], 1)
        for i, l in enumerate(self.lm.layers):
            pn, xn = l.input_layernorm(p), l.input_layernorm(x)
            pk, pv = self.kv(l, pn, 0)
            xk, xv = self.kv(l, xn, n)
            k, v = (torch.cat([a.expand(b, -1, -1, -1), c], 2) for a, c in ((pk, xk), (pv, xv)))
            if i + 1 < len(self.lm.layers):
                p = self.layer(l, p, pn, pk, pv, torch.arange(n), None, True)
                x = self.layer(l, x, xn, k, v, torch.arange(n, n + t), keep)
            else:
                r = torch.arange(b)
                x = self.layer(l, x[r, last][:, None], xn[r, last][:, None], k, v, (n + last)[:, None, None], keep[last][:, None, None])
        return F.normalize(self.lm.norm(x[:, 0]), dim=-1)

    def kv(self, l, h, start):
        a = l.self_attn
        k, v = (f(h).view(h.shape[0], h.shape[1], -1, a.head_dim).transpose(1, 2) for f in (a.k_proj, a.v_proj))
        pos = torch.arange(start, start + h.shape[1])
        return k * self.cos[pos] + rotate_half(k) * self.sin[pos], v

    def layer(self, l, x, h, k, v, pos, keep, causal=False):
        a, (b, t, _) = l.self_attn, x.shape
        q = a.q_proj(h).view(b, t, -1, a.head_dim).transpose(1, 2)
        q = q * self.cos[pos] + rotate_half(q) * self.sin[pos]
        g = a.num_key_value_groups
        o = F.scaled_dot_product_attention(q, k.repeat_interleave(g, 1), v.repeat_interleave(g, 1), attn_mask=keep, is_causal=causal)
        x = x + a.o_proj(o.transpose(1, 2).reshape(b, t, -1))
        return x + l.mlp(l.post_attention_layernorm(x))


def selfcheck(model, emb, pix):
    """The short path must agree with transformers' own modules, row by row, for the three kinds of input."""
    x = (torch.from_numpy(pix).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
    texts = ["dog", "a picture of a red apple", "face"]
    worst = 0.0
    with torch.no_grad():
        for pics, txt in ((x, None), (None, texts), (x, texts)):
            fast = emb(pics, txt)
            for i in range(3):
                ids = torch.tensor([emb.tok.encode(HEAD + (IMAGE if pics is not None else "") + (txt[i] if txt else "") + TAIL, add_special_tokens=False).ids])
                e = emb.lm.embed_tokens(ids)
                if pics is not None:
                    q = x[i:i + 1].repeat(2, 1, 1, 1).view(2, 3, 4, 2, 14, 4, 2, 14).permute(2, 5, 3, 6, 1, 0, 4, 7).reshape(64, 1176)
                    e[ids == model.config.image_token_id] = emb.visual(q, grid_thw=torch.tensor([[1, 8, 8]])).pooler_output
                pos = torch.arange(ids.shape[1]).view(1, 1, -1).expand(3, 1, -1)
                h = emb.lm(inputs_embeds=e, position_ids=pos, use_cache=False).last_hidden_state[0, -1]
                worst = max(worst, (F.normalize(h, dim=0) - fast[i]).abs().max().item())
    assert worst < 1e-5, worst
    print(f"short path agrees with transformers to {worst:.1e}", flush=True)


# ---------------------------------------------------------------- data
def augment(u8, may_flip, g):
    """Random placement, background, colour, and (for some) darkened contours: (B, 112, 112, 4) uint8 -> normalised (B, 3, 112, 112)."""
    b = len(u8)
    r = lambda lo, hi, *s: torch.rand(b, *s, generator=g) * (hi - lo) + lo
    x = torch.from_numpy(u8).permute(0, 3, 1, 2).float().div_(255)
    x[:, :3] *= x[:, 3:]
    inv, ang, asp = 1 / r(0.6, 1.08), r(-0.2, 0.2), r(0.9, 1.1)
    fl = torch.where(may_flip & (torch.rand(b, generator=g) < 0.4), -1.0, 1.0)
    c, s = ang.cos() * inv, ang.sin() * inv
    th = torch.stack([torch.stack([c * asp * fl, -s * fl, r(-0.12, 0.12) * inv], 1), torch.stack([s * asp, c, r(-0.12, 0.12) * inv], 1)], 1)
    x = F.grid_sample(x, F.affine_grid(th, list(x.shape), align_corners=False), align_corners=False)
    white = (torch.rand(b, 1, 1, 1, generator=g) < 0.6).float()
    x = x[:, :3] + (1 - x[:, 3:]) * (white + (1 - white) * r(0.6, 1.0, 3, 1, 1))
    edge = F.max_pool2d(x, 3, 1, 1) + F.max_pool2d(-x, 3, 1, 1)
    x = x * (1 - (torch.rand(b, 1, 1, 1, generator=g) < 0.4).float() * (edge.amax(1, keepdim=True) * r(1, 3, 1, 1, 1)).clamp(0, 1))
    x = torch.einsum("bij,bjhw->bihw", torch.eye(3) + (torch.rand(b, 3, 3, generator=g) - 0.5) * 0.2, x)
    grey = x.mean(1, keepdim=True)
    sat = torch.where(torch.rand(b, 1, 1, 1, generator=g) < 0.08, torch.zeros(1), r(0.5, 1.4, 1, 1, 1))
    x = (grey + (x - grey) * sat) * r(0.85, 1.15, 1, 1, 1)
    return (x.clamp(0, 1) - MEAN) / STD


def caption(c, rng, kind=None):
    """A random way of saying what an emoji shows: its name, another name, or a few of its keywords."""
    kind = kind or rng.choices(["name", "other", "tags"], [0.6, 0.15, 0.25])[0]
    if kind == "tags" and len(c["tags"]) >= 2:
        t = rng.sample(c["tags"], min(len(c["tags"]), rng.randint(2, 3)))
        s = rng.choice([" ", ", "]).join(t)
    else:
        s = rng.choice(FRAMES).format(rng.choice(c["other"]) if kind == "other" and c["other"] else c["name"])
    return s[0].upper() + s[1:] if rng.random() < 0.2 else s


def info_nce(a, b, scale):
    z = scale.exp().clamp(max=100) * a @ b.T
    y = torch.arange(len(a))
    return (F.cross_entropy(z, y) + F.cross_entropy(z.T, y)) / 2


def word_anchors(rows, dim):
    """One vector per emoji from its names' and keywords' words: centred tf-idf table, truncated SVD, damped spectrum."""
    bags = [[w for t, n in ((c["name"], 2), (" ".join(c["other"]), 1), (" ".join(c["tags"]), 1)) for w in t.lower().split() * n] for c in rows]
    vocab = {w: i for i, w in enumerate(sorted({w for b in bags for w in b}))}
    x = torch.zeros(len(rows), len(vocab))
    for r, b in enumerate(bags):
        for w in b:
            x[r, vocab[w]] += 1
    x = F.normalize(x.sqrt() * torch.log(len(rows) / (x > 0).sum(0)), dim=1)
    u, s, _ = torch.svd_lowrank(x - x.mean(0), q=dim, niter=3)
    return F.normalize(u * s.sqrt(), dim=1)


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix updates are orthogonalised by a Newton-Schulz iteration, in float32 (torch's own uses bfloat16: slow on this CPU)."""
    def __init__(self, params, lr, momentum=0.95, weight_decay=0.01):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for gr in self.param_groups:
            for p in (p for p in gr["params"] if p.grad is not None):   # a text-only step leaves the vision tower alone
                buf = self.state[p].setdefault("buf", torch.zeros_like(p))
                buf.mul_(gr["momentum"]).add_(p.grad)
                u = p.grad + gr["momentum"] * buf
                u = u.T if p.shape[0] > p.shape[1] else u
                u = u / (u.norm() + 1e-7)
                for _ in range(5):
                    m = u @ u.T
                    u = 3.4445 * u + (-4.7750 * m + 2.0315 * m @ m) @ u
                u = u.T if p.shape[0] > p.shape[1] else u
                p.mul_(1 - gr["lr"] * gr["weight_decay"]).add_(u, alpha=-gr["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5)


# ---------------------------------------------------------------- evaluation
@torch.no_grad()
def embed_all(emb, pix=None, texts=None, step=128):
    n = len(pix) if pix is not None else len(texts)
    out = []
    for i in range(0, n, step):
        x = (torch.from_numpy(pix[i:i + step]).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD if pix is not None else None
        out.append(emb(x, texts[i:i + step] if texts is not None else None))
    return torch.cat(out)


def recall(q, g, truth=None):
    """Share of queries whose own row of the gallery ranks within the first 1, 5, 10."""
    z = q @ g.T
    truth = torch.arange(len(q)) if truth is None else truth
    rank = (z > z[torch.arange(len(q)), truth][:, None]).sum(1)
    return [round((rank < k).float().mean().item(), 4) for k in (1, 5, 10)]


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--out", default=str(HERE / "checkpoint")); a.add_argument("--minutes", type=float, default=35)
    a.add_argument("--pairs", type=int, default=125000); a.add_argument("--batch", type=int, default=128); a.add_argument("--lr", type=float, default=1.2e-3)
    a.add_argument("--muon", type=float, default=0.02); a.add_argument("--seed", type=int, default=0); a.add_argument("--every", type=int, default=100)
    a = a.parse_args()
    torch.set_num_threads(2)
    rng, g = random.Random(a.seed), torch.Generator().manual_seed(a.seed)
    rows = emojidata.concepts()
    held = set(random.Random(1234).sample(range(len(rows)), 100))          # names never trained on, in any style
    train_rows = [i for i in range(len(rows)) if i not in held]
    pix, prow, pstyle = emojidata.training_pictures(rows)
    where = {}
    for i, r in enumerate(prow):
        where.setdefault(int(r), []).append(i)
    flippable = torch.tensor([c["group"] in ("Animals & Nature", "Food & Drink", "Activities", "Objects") and not any(w in c["name"] for w in ("left", "right")) for c in rows])
    test = emojidata.openmoji_test(rows)
    names = [c["name"] for c in rows]
    out = pathlib.Path(a.out)
    model = new_model(out, a.seed).train()
    emb = Embedder(model, Tokenizer.from_file(str(out / "tokenizer.json")))
    selfcheck(model, emb, test[:3])
    scale = torch.nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    par = list(model.parameters())
    anchors = torch.nn.Parameter(word_anchors([rows[i] for i in train_rows], TEXT["hidden_size"]))
    nth = {r: i for i, r in enumerate(train_rows)}
    table = model.model.language_model.embed_tokens.weight
    wide = [p for p in par if p.ndim == 2 and p is not table]
    thin = [p for p in par if p.ndim != 2] + [scale]
    opts = [Muon(wide, a.muon),
            torch.optim.AdamW([dict(params=thin, lr=a.lr), dict(params=[table, anchors], lr=2 * a.lr)], weight_decay=0.0, betas=(0.9, 0.98))]
    groups = [(gr, gr["lr"]) for o in opts for gr in o.param_groups]
    print(f"{sum(p.numel() for p in par) / 1e6:.2f} M parameters, {len(rows)} emoji, {len(train_rows)} trained on, {len(pix)} pictures", flush=True)
    t0, order, avg, pairs, step, clock_led = time.time(), [], {}, 0, 0, 0
    while True:
        clock = (time.time() - t0) / 60 / a.minutes        # the schedule follows the pairs seen, or the clock where that is ahead
        done, clock_led = max(pairs / a.pairs, clock), clock_led + (clock > pairs / a.pairs)
        if done >= 1:
            break
        batch = a.batch // 2 if done < 0.4 else a.batch    # more, smaller steps while there is little to tell apart
        lr = min(1, (step + 1) / 40) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        for gr, top in groups:
            gr["lr"] = lr * top
        if len(order) < batch:
            order = train_rows[:]
            rng.shuffle(order)
        pick, order = order[:batch], order[batch:]
        shot = lambda: augment(pix[[rng.choice(where[r]) for r in pick]], flippable[pick], g)
        say = lambda kind=None: [caption(rows[r], rng, kind) for r in pick]
        mode = rng.choices(["I-T", "T-T", "IT-T", "IT-I"], [0.76, 0.08, 0.08, 0.08])[0]
        left = emb(None, say("name")) if mode == "T-T" else emb(shot(), say("tags") if mode == "IT-T" else say() if mode == "IT-I" else None)
        right = emb(shot()) if mode == "IT-I" else emb(None, say("tags") if mode == "T-T" else say("name") if mode == "IT-T" else say())
        loss, own = info_nce(left, right, scale), torch.tensor([nth[r] for r in pick])
        sort = scale.exp().clamp(max=100) * torch.cat([left, right]) @ F.normalize(anchors, dim=1).T
        aid = F.cross_entropy(sort, torch.cat([own, own]))
        model.zero_grad(set_to_none=True)
        anchors.grad = scale.grad = None
        (loss + 0.7 * aid).backward()
        torch.nn.utils.clip_grad_norm_([p for p in thin + [table] if p.grad is not None], 1.0)
        for o in opts:
            o.step()
        avg["aid"] = 0.95 * avg.get("aid", aid.item()) + 0.05 * aid.item()
        avg[mode] = 0.95 * avg.get(mode, loss.item()) + 0.05 * loss.item()
        step, pairs = step + 1, pairs + batch
        if step % a.every == 0 or step == 20:
            print(f"step {step} pairs {pairs} {(time.time() - t0) / 60:.1f} min rate {lr:.2f} temp {scale.exp().item():.1f}", {k: round(v, 3) for k, v in avg.items()}, end=" ", flush=True)
            if step % (3 * a.every) == 0:
                ti, tt = embed_all(emb, test), embed_all(emb, texts=names)
                print("openmoji text->image", recall(tt, ti), "held-out names", recall(tt[sorted(held)], ti, torch.tensor(sorted(held))), end=" ")
            print(flush=True)
    model.eval().save_pretrained(out)
    json.dump(dict(minutes=round((time.time() - t0) / 60, 2), steps=step, pairs=pairs, steps_paced_by_clock=clock_led, batch=a.batch, lr=a.lr, muon=a.muon, seed=a.seed, temperature=scale.exp().item(), held_out=[rows[i]["key"] for i in sorted(held)],
                   train_pictures=int(np.isin(prow, train_rows).sum()), parameters=sum(p.numel() for p in par)), open(HERE / "train_info.json", "w"), indent=1)


if __name__ == "__main__":
    main()
