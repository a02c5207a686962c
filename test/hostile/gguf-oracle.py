"""What PyPI's gguf makes of files, in the words of test/engine/gguf-dump.h. A file that it refuses is one line."""

import sys

import numpy as np
from gguf import GGUFReader, GGUFValueType

NAMES = ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"]


def digits(part):
    return np.ascontiguousarray(part).tobytes().hex()


def value(field):
    kind = field.types[0]
    if kind != GGUFValueType.ARRAY:
        return f"{NAMES[kind]} {digits(field.parts[field.data[0]])}"
    # key's length, key, type | element's type, count, elements
    element, count = int(field.parts[3][0]), int(field.parts[4][0])
    parts = [digits(field.parts[index]) for index in field.data]
    joined = " ".join(parts) if element == GGUFValueType.STRING else "".join(parts)
    return f"array:{NAMES[element]} {count} {joined}"


def describe(path):
    reader = GGUFReader(path)
    lines = [f"file {int(reader.alignment)} {int(reader.data_offset)}"]
    for name, field in reader.fields.items():
        if not name.startswith("GGUF."):
            lines.append(f"key {name} {value(field)}")
    for tensor in reader.tensors:
        sides = "x".join(str(int(side)) for side in tensor.shape)
        lines.append(f"tensor {tensor.name} {int(tensor.tensor_type)} {sides} {int(tensor.data_offset)} {int(tensor.n_bytes)}")
    return lines


for path in sys.argv[1:]:
    print(f"path {path}")
    try:
        print("\n".join(describe(path)))
    except Exception as error:
        print(f"refused {type(error).__name__}: {' '.join(str(error).split())[:200]}")
