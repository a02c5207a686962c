"""Expected results of the pixel stages: writes test/fixtures/more/resize-cases.tsv (Pillow 13, transformers 5.23).

    python test/reference/gen_resize_cases.py

The pictures are made from a seed on both sides, so that the C++ tests need no decoder. Lines, tab-separated:
    size    w h tokens_min tokens_max W H     single resize of an image of w x h; W = H = 0 when the processor refuses it
    resize  w h W H seed hash                 Image.resize of noise(w, h, seed)
    pixels  w h seed frames hash              pixel_values of noise(w, h, seed), first `frames` of the two equal frames
hash: FNV-1a over 64-bit little-endian words, the bytes zero-padded to a whole word, as hexadecimal.
"""
import pathlib
import random

import numpy as np
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

MASK = 2**64 - 1
OUT = pathlib.Path(__file__).parent.parent / "fixtures" / "more" / "resize-cases.tsv"


def noise(w, h, seed):
    """xorshift64 bytes; odd seeds give only 0 and 255, where the kernel overshoots most."""
    n = w * h * 3
    state, words = (seed * 0x9E3779B97F4A7C15) & MASK, np.empty((n + 7) // 8, "<u8")
    for i in range(len(words)):
        state ^= (state << 13) & MASK
        state ^= state >> 7
        state ^= (state << 17) & MASK
        words[i] = state
    data = words.view(np.uint8)[:n]
    if seed % 2:
        data = np.where(data >= 128, 255, 0).astype(np.uint8)
    return data.reshape(h, w, 3)


def fnv(data):
    data = data + b"\0" * (-len(data) % 8)
    value = 0xCBF29CE484222325
    for word in np.frombuffer(data, "<u8").tolist():
        value = ((value ^ word) * 0x100000001B3) & MASK
    return f"{value:016x}"


RESIZES = [
    (1, 1, 56, 56), (1, 1, 1, 1), (2, 1, 5, 3), (1, 2, 3, 5), (3, 3, 56, 56), (27, 29, 28, 28), (28, 28, 448, 448),
    (30, 40, 30, 17), (30, 40, 17, 40), (30, 40, 91, 40), (30, 40, 30, 91), (20, 21, 22, 23), (21, 5, 22, 64), (43, 7, 64, 8),
    (640, 480, 644, 476), (800, 600, 812, 588), (630, 840, 616, 840), (588, 812, 588, 812), (1654, 2339, 1652, 2352),
    (1652, 2352, 812, 1176), (1092, 2408, 672, 1484), (300, 900, 280, 300), (300, 900, 200, 100), (900, 300, 100, 280),
    (2000, 30, 1988, 28), (1988, 28, 3976, 56), (30, 2000, 28, 1988), (28, 1988, 56, 3976), (5600, 28, 2800, 28), (28, 5600, 28, 1400),
    (1500, 1100, 28, 28), (1000, 70, 28, 56), (70, 1000, 56, 28), (32768, 3, 56, 28), (3, 32768, 28, 56), (7, 3, 2000, 28),
    (333, 77, 85, 20), (500, 200, 129, 300), (500, 200, 55, 51), (200, 500, 26, 499), (260, 260, 259, 258), (260, 260, 258, 258),
    (4000, 3000, 4004, 2996), (2002, 1498, 574, 420),
]


def single_sizes():
    draw = random.Random(20)
    for _ in range(400):
        w, h = (int(2 ** draw.uniform(0, 13.5)) for _ in range(2))
        lo, hi = draw.choice([(256, 1280), (4, 1280), (1, 64), (1280, 1280), (4, 16384)])
        try:
            to_h, to_w = smart_resize(h, w, min_pixels=lo * 784, max_pixels=hi * 784)
        except ValueError:
            to_h = to_w = 0
        yield "size", w, h, lo, hi, to_w, to_h


def resizes():
    for seed, (w, h, to_w, to_h) in enumerate(RESIZES, 1):
        picture = Image.fromarray(noise(w, h, seed)).resize((to_w, to_h))
        yield "resize", w, h, to_w, to_h, seed, fnv(picture.tobytes())


def pixel_values():
    processor = Qwen2VLImageProcessorPil(do_resize=False)
    for seed, (w, h) in enumerate([(28, 28), (56, 28), (28, 84), (448, 448), (812, 588)], 100):
        out = np.asarray(processor(Image.fromarray(noise(w, h, seed)), return_tensors="np")["pixel_values"], "<f4")
        frames = out.reshape(-1, 3, 2, 196)
        yield "pixels", w, h, seed, 2, fnv(out.tobytes())
        yield "pixels", w, h, seed, 1, fnv(np.ascontiguousarray(frames[:, :, 0]).tobytes())


if __name__ == "__main__":
    lines = ["\t".join(map(str, line)) for part in (single_sizes(), resizes(), pixel_values()) for line in part]
    OUT.write_text("\n".join(lines) + "\n")
    print(OUT.name, len(lines), "lines")
