#!/usr/bin/env python3
"""Compares our tokenizer with Hugging Face `tokenizers` on seeded random strings over all planes of Unicode.

The program build-cmake/bin/test-hostile-text makes the strings and their ids, in parse mode and as plain text; the reference reads the
same strings. `--write` keeps checksums of the reference's ids (never of ours) as the fixture that every test run checks.

    pip install tokenizers==0.23.3
    python3 test/reference/compare_tokenizer.py                                                        # 1,000,000 strings
    python3 test/reference/compare_tokenizer.py --count 20000 --write test/fixtures/more/tokenizer-random.json
"""
import argparse
import array
import json
import pathlib
import struct
import subprocess
import sys
import time

import tokenizers

PINNED = "0.23.3"
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CHUNK = 1000


def records(stream):
    """(text, parsed ids, plain ids) as the program wrote them."""
    def part(size):
        head = stream.read(4)
        return stream.read(struct.unpack("<I", head)[0] * size) if head else None

    while (text := part(1)) is not None:
        yield text.decode("utf-8"), array.array("i", part(4)), array.array("i", part(4))


class Checksum:
    """FNV-1a over 32-bit sizes and values, little-endian."""
    def __init__(self):
        self.state = 0xCBF29CE484222325

    def bytes(self, data):
        for byte in data:
            self.state = (self.state ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF

    def text(self, text):
        data = text.encode("utf-8")
        self.bytes(struct.pack("<I", len(data)) + data)

    def ids(self, ids):
        self.bytes(struct.pack(f"<I{len(ids)}i", len(ids), *ids))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=ROOT / "build-cmake/bin/test-hostile-text")
    parser.add_argument("--fixtures", default=ROOT / "test/fixtures", type=pathlib.Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--write", type=pathlib.Path)
    options = parser.parse_args()
    if tokenizers.__version__ != PINNED:
        sys.exit(f"tokenizers {PINNED} is the reference, this is {tokenizers.__version__}")

    source = str(options.fixtures / "tokenizer" / "tokenizer.json")
    parsing, plain = tokenizers.Tokenizer.from_file(source), tokenizers.Tokenizer.from_file(source)
    plain.encode_special_tokens = True
    command = [str(options.program), str(options.fixtures), "--random", str(options.first), str(options.count)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=1 << 20)
    chunks, batch, n, n_different, n_ids, start = [], [], 0, 0, 0, time.monotonic()

    def compare():
        nonlocal n, n_different, n_ids
        texts = [text for text, _, _ in batch]
        wanted = [[item.ids for item in t.encode_batch(texts, add_special_tokens=False)] for t in (parsing, plain)]
        for (text, *ours), *theirs in zip(batch, *wanted):
            n_ids += len(theirs[0])
            for mode, mine, reference in zip(("parse", "text"), ours, theirs):
                if mine.tolist() != reference:
                    n_different += 1
                    if n_different <= 20:
                        print(f"different ({mode}): {text!r}\n  ours      {mine.tolist()}\n  reference {reference}")
        if options.write:
            sums = Checksum(), Checksum(), Checksum()
            for text, a, b in zip(texts, *wanted):
                sums[0].text(text)
                sums[1].ids(a)
                sums[2].ids(b)
            chunks.append(dict(zip(("texts", "parsed", "plain"), (f"{s.state:016x}" for s in sums))))
        n += len(batch)
        batch.clear()

    for record in records(child.stdout):
        batch.append(record)
        if len(batch) == CHUNK:
            compare()
    if batch:
        compare()
    if child.wait() != 0 or n != options.count:
        sys.exit(f"{command[0]} ended with {child.returncode} after {n} strings")
    seconds = time.monotonic() - start
    print(f"T21: {n} random strings, {n_ids} ids, {n_different} differences to tokenizers {PINNED} in two modes, {seconds:.0f} s")
    if options.write:
        lines = ",\n".join(json.dumps(chunk) for chunk in chunks)
        options.write.write_text(f'{{"tokenizers": "{PINNED}", "chunk": {CHUNK}, "chunks": [\n{lines}\n]}}\n')
    sys.exit(n_different != 0)


if __name__ == "__main__":
    main()
