"""The long case: a text that fills 32,768 tokens of tiny-a, and its vector from the reference.

Attention runs through torch's scaled-dot-product kernel, because the eager one would hold 32,768² scores per head (17 GB a layer);
both are float32 softmax attention. Run in this folder: python3 gen_long_case.py ../fixtures
"""
import pathlib, random, sys
import torch
from safetensors.numpy import save_file
from transformers import Qwen2VLModel
from gme_ref import GmeRef, DEFAULT_INSTRUCTION

LENGTH = 32768
fixtures = pathlib.Path(sys.argv[1])
checkpoint = fixtures / "checkpoints" / "tiny-a"
g = GmeRef(checkpoint, max_length=LENGTH)
g.model = Qwen2VLModel.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="sdpa").eval()


def count(text):
    return len(g.tok.encode(g.prompt(text, 0, DEFAULT_INSTRUCTION), add_special_tokens=False).ids)


rng = random.Random(20261123)
words = ["river", "stone", "an", "of", "lantern", "7", "blue", "walks", "over", "the", "2024", "and", "window,", "paper.", "x", "Genève", "石"]
parts, text = [], ""
while count(text) < LENGTH - 400:
    parts += [rng.choice(words) for _ in range(100)]
    text = " ".join(parts)
while count(text + " x") <= LENGTH:  # " x" is one token
    text += " x"
assert count(text) == LENGTH, count(text)
with torch.no_grad():
    trace = {}
    vector = g.embed(text=text, trace=trace)
assert len(trace["ids"]) == LENGTH
(fixtures / "more" / "long-32768.txt").write_text(text, encoding="utf-8")
save_file({"long-32768": vector.astype("f4")}, fixtures / "more" / "long-vectors.safetensors")
print(LENGTH, "tokens,", len(text), "characters")
