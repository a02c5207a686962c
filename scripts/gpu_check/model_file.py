"""Synthetic GGUF files: the shape of a real model, random weights, a tokenizer out of another file.

The same shapes and scales as lib/convert/synthetic-model.ts, without Node. Weights are pieces of a pool of random numbers, so that 15 GB take
as long as writing them.
"""

import math
import os
import random
import struct

ALIGNMENT = 32
F32, F16, Q8_0 = 0, 1, 8
TYPE_BYTES = {F32: (1, 4), F16: (1, 2), Q8_0: (32, 34)}  # numbers and bytes of a block
FILE_TYPES = {"f16": 1, "q8_0": 7}
POOL = 1_048_573  # prime: no two rows of a matrix come out alike
PIECE = 8 << 20

# width, layers, heads, heads of keys, feed forward; sections of the positions; the same of the tower; tokens
SHAPES = {
    "tiny": ((64, 2, 4, 2, 160), (2, 3, 3), (80, 2, 2), 4_096),
    "2b": ((1_536, 28, 12, 2, 8_960), (16, 24, 24), (1_280, 32, 16), 151_936),
    "7b": ((3_584, 28, 28, 4, 18_944), (16, 24, 24), (1_280, 32, 16), 152_064),
}


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


class Reader:
    """The keys of a GGUF file, as bytes with their types."""

    SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read(64 << 20)
        magic, version, _, n_keys = struct.unpack_from("<IIQQ", self.data)
        if magic != 0x46554747 or version != 3:
            raise ValueError(f"{path} is no GGUF file of version 3")
        self.at = 24
        self.keys = {}
        for _ in range(n_keys):
            name = self.string().decode()
            begin = self.at
            (kind,) = struct.unpack("<I", self.take(4))
            self.skip(kind)
            self.keys[name] = self.data[begin : self.at]

    def take(self, n):
        self.at += n
        return self.data[self.at - n : self.at]

    def string(self):
        return self.take(struct.unpack("<Q", self.take(8))[0])

    def skip(self, kind):
        if kind == 8:
            self.string()
        elif kind == 9:
            element, n = struct.unpack("<IQ", self.take(12))
            if element == 8:
                for _ in range(n):
                    self.string()
            else:
                self.take(n * self.SIZES[element])
        else:
            self.take(self.SIZES[kind])


def filled(value, size, filler):
    """An array's bytes with more elements at its end."""
    element, n = struct.unpack_from("<IQ", value, 4)
    if n > size:
        raise ValueError(f"the tokenizer has {n} tokens, more than {size}")
    return value[:4] + struct.pack("<IQ", element, size) + value[16:] + b"".join(filler(i) for i in range(n, size))


def tokenizer_keys(path, vocabulary):
    keys = {name: value for name, value in Reader(path).keys.items() if name.startswith("tokenizer.")}
    keys["tokenizer.ggml.tokens"] = filled(keys["tokenizer.ggml.tokens"], vocabulary, lambda i: text(f"[PAD{i}]"))
    keys["tokenizer.ggml.token_type"] = filled(keys["tokenizer.ggml.token_type"], vocabulary, lambda i: struct.pack("<i", 5))
    return keys


def u32(value):
    return struct.pack("<II", 4, value)


def f32(value):
    return struct.pack("<If", 6, value)


def flag(value):
    return struct.pack("<I?", 7, value)


def string(value):
    return struct.pack("<I", 8) + text(value)


def array(element, code, values):
    return struct.pack(f"<IIQ{len(values)}{code}", 9, element, len(values), *values)


def model_keys(shape, kind):
    (width, layers, heads, heads_kv, feed_forward), sections, (v_width, v_layers, v_heads), _ = SHAPES[shape]
    return {
        "general.architecture": string("qwen2vl"),
        "general.type": string("model"),
        "general.name": string(f"random-{shape}"),
        "general.file_type": u32(FILE_TYPES[kind]),
        "general.quantization_version": u32(2),
        "qwen2vl.block_count": u32(layers),
        "qwen2vl.context_length": u32(32_768),
        "qwen2vl.embedding_length": u32(width),
        "qwen2vl.feed_forward_length": u32(feed_forward),
        "qwen2vl.attention.head_count": u32(heads),
        "qwen2vl.attention.head_count_kv": u32(heads_kv),
        "qwen2vl.attention.layer_norm_rms_epsilon": f32(1e-6),
        "qwen2vl.rope.freq_base": f32(1e6),
        "qwen2vl.rope.dimension_sections": array(5, "i", [*sections, 0]),
        "clip.has_vision_encoder": flag(True),
        "clip.projector_type": string("qwen2vl_merger"),
        "clip.vision.projection_dim": u32(width),
        "clip.vision.image_size": u32(560),
        "clip.vision.patch_size": u32(14),
        "clip.vision.embedding_length": u32(v_width),
        "clip.vision.feed_forward_length": u32(4 * v_width),
        "clip.vision.block_count": u32(v_layers),
        "clip.vision.attention.head_count": u32(v_heads),
        "clip.vision.attention.layer_norm_epsilon": f32(1e-6),
        "clip.vision.image_mean": array(6, "f", [0.48145466, 0.4578275, 0.40821073]),
        "clip.vision.image_std": array(6, "f", [0.26862954, 0.26130258, 0.27577711]),
        "gme.positions": string("sequential"),
        "gme.loader_resize": flag(True),
        "gme.image_tokens_min": u32(256),
        "gme.image_tokens_max": u32(1_280),
        "gme.default_instruction": string("You are a helpful assistant."),
    }


def linear(name, rows, columns):
    return [(f"{name}.weight", (columns, rows)), (f"{name}.bias", (rows,))]


def norm(name, width):
    return [(f"{name}.weight", (width,)), (f"{name}.bias", (width,))]


def tensors_of(shape):
    """Names and sizes, rows last, in the order of the file."""
    (width, layers, heads, heads_kv, feed_forward), _, (v_width, v_layers, _), vocabulary = SHAPES[shape]
    kv_width = width // heads * heads_kv
    found = [("token_embd.weight", (width, vocabulary))]
    for i in range(layers):
        at = f"blk.{i}."
        found += [(f"{at}attn_norm.weight", (width,)), *linear(f"{at}attn_q", width, width)]
        found += [*linear(f"{at}attn_k", kv_width, width), *linear(f"{at}attn_v", kv_width, width)]
        found += [(f"{at}attn_output.weight", (width, width)), (f"{at}ffn_norm.weight", (width,))]
        found += [(f"{at}ffn_{part}.weight", (width, feed_forward)) for part in ("gate", "up")]
        found += [(f"{at}ffn_down.weight", (feed_forward, width))]
    found += [("output_norm.weight", (width,))]
    found += [(f"v.patch_embd.weight{end}", (14, 14, 3, v_width)) for end in ("", ".1")]
    for i in range(v_layers):
        at = f"v.blk.{i}."
        found += norm(f"{at}ln1", v_width)
        for part in ("q", "k", "v", "out"):
            found += linear(f"{at}attn_{part}", v_width, v_width)
        found += [*norm(f"{at}ln2", v_width), *linear(f"{at}ffn_up", 4 * v_width, v_width), *linear(f"{at}ffn_down", v_width, 4 * v_width)]
    merged = 4 * v_width
    return [*found, *norm("v.post_ln", v_width), *linear("mm.0", merged, merged), *linear("mm.2", width, merged)]


def type_of(ne, kind):
    if len(ne) != 2:
        return F32
    return Q8_0 if kind == "q8_0" and ne[0] % 32 == 0 else F16


def bytes_of(ne, kind):
    numbers, size = TYPE_BYTES[kind]
    return math.prod(ne) // numbers * size


def scale_of(name, ne):
    """Mean and deviation that keep the activations near one from layer to layer."""
    if name == "token_embd.weight":
        return 0.0, 1.0
    if len(ne) == 4:
        return 0.0, 1.2 / math.sqrt(2 * 3 * 14 * 14)
    if len(ne) == 2:
        return 0.0, 1.2 / math.sqrt(ne[0])
    return (0.0, 0.02) if name.endswith(".bias") else (1.0, 0.05)


class Pools:
    def __init__(self, seed=1):
        self.random = random.Random(seed)
        self.normals = [self.random.gauss(0, 1) for _ in range(POOL)]
        self.made = {}

    def pool(self, kind, mean, deviation):
        key = (kind, mean, deviation)
        if key not in self.made:
            values = [mean + deviation * each for each in self.normals]
            if kind == Q8_0:
                self.made[key] = b"".join(self.block(values[i : i + 32]) for i in range(0, POOL - POOL % 32, 32))
            else:
                self.made[key] = struct.pack(f"<{POOL}{'f' if kind == F32 else 'e'}", *values)
        return self.made[key]

    @staticmethod
    def block(values):
        scale = max(map(abs, values)) / 127 or 1.0
        return struct.pack("<e32b", scale, *(max(-127, min(127, round(each / scale))) for each in values))

    def pieces(self, name, ne, kind):
        pool = self.pool(kind, *scale_of(name, ne))
        unit = TYPE_BYTES[kind][1]
        left = bytes_of(ne, kind)
        whole = PIECE - PIECE % unit  # a piece that ended inside a block would shift all that follows
        while left > 0:
            size = min(left, whole)
            parts, at = [], 0
            while at < size:
                start = self.random.randrange(len(pool) // unit) * unit
                part = pool[start : start + size - at]
                parts.append(part)
                at += len(part)
            yield b"".join(parts)
            left -= size


def write_model(path, shape, kind, tokenizer):
    """Returns the file's size."""
    keys = {**model_keys(shape, kind), **tokenizer_keys(tokenizer, SHAPES[shape][3])}
    tensors = [(name, ne, type_of(ne, kind)) for name, ne in tensors_of(shape)]
    header = [struct.pack("<IIQQ", 0x46554747, 3, len(tensors), len(keys))]
    header += [text(name) + value for name, value in keys.items()]
    offset = 0
    for name, ne, number in tensors:
        header.append(text(name) + struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, number, offset))
        offset += -(-bytes_of(ne, number) // ALIGNMENT) * ALIGNMENT
    start = b"".join(header)
    pools = Pools()
    with open(path, "wb", buffering=0) as file:
        file.write(start + bytes(-len(start) % ALIGNMENT))
        for name, ne, number in tensors:
            for piece in pools.pieces(name, ne, number):
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) :]
            file.write(bytes(-bytes_of(ne, number) % ALIGNMENT))
    return os.path.getsize(path)
