#!/usr/bin/env python3
"""Writes native/engine/unicode-tables.cpp: what the tokenizer knows about Unicode.

The yardstick is the reference tokenizer itself, Hugging Face `tokenizers` 0.23.3, so the tables are measured on it, code point
by code point, instead of being taken from one release of the Unicode database. It mixes two: its regular expressions know
letters, numbers and spaces as of Unicode 16.0, its NFC is as of Unicode 9.0 (later marks do not reorder, later letters do not compose).
Python's unicodedata only names the combining classes; each must be the one that the reference reorders by.

    pip install tokenizers==0.23.3
    python3 scripts/gen-unicode-tables.py [--check]      # --check: compare with the committed file, write nothing
"""
import argparse
import pathlib
import sys
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

PINNED = "0.23.3"
TARGET = pathlib.Path(__file__).resolve().parent.parent / "native" / "engine" / "unicode-tables.cpp"
BLOCK = 128
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
LETTER, NUMBER, SPACE = 1, 2, 3
NFC_ACTIVE = 4
LOWEST_MARK, HIGHEST_MARK = 0x0334, 0x0345  # combining classes 1 and 240
HANGUL_VOWELS, HANGUL_TAILS = range(0x1161, 0x1176), range(0x11A8, 0x11C3)

nfc = normalizers.NFC().normalize_str
nfd = normalizers.NFD().normalize_str


def matching(pattern: str) -> set[int]:
    """Code points that the reference's regular expressions match as one character."""
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    found = set()
    for start in range(0, len(CODE_POINTS), 4096):
        chunk = CODE_POINTS[start : start + 4096]
        kept = set()
        for _, (begin, end) in split.pre_tokenize_str("".join(map(chr, chunk))):
            kept.update(range(begin, end))
        found.update(c for i, c in enumerate(chunk) if i not in kept)
    return found


def reorders(first: int, second: int) -> bool:
    return nfd("a" + chr(first) + chr(second)) == "a" + chr(second) + chr(first) and first != second


def combining_classes() -> dict[int, int]:
    """Combining class of each mark that the reference reorders; a class it does not act on is left out."""
    low, high = LOWEST_MARK, HIGHEST_MARK
    moves = [c for c in CODE_POINTS if nfd(chr(c)) == chr(c) and (reorders(high, c) or reorders(c, low))]
    classes = {c: unicodedata.combining(chr(c)) for c in [*moves, low, high]}
    probes = {ccc: mark for mark, ccc in classes.items()}
    for mark, ccc in classes.items():
        before = {k for k, probe in probes.items() if reorders(probe, mark)}
        after = {k for k, probe in probes.items() if reorders(mark, probe)}
        if ccc == 0 or before != {k for k in probes if k > ccc} or after != {k for k in probes if k < ccc}:
            sys.exit(f"U+{mark:04X}: the reference reorders by another class than {ccc}")
    return classes


def is_hangul(c: int) -> bool:
    return 0xAC00 <= c < 0xAC00 + 11172


def decompositions() -> dict[int, str]:
    return {c: nfd(chr(c)) for c in CODE_POINTS if not is_hangul(c) and nfd(chr(c)) != chr(c)}


def compositions(full: dict[int, str]) -> list[tuple[int, int, int]]:
    """(first, second, composite) of every pair that the reference composes; Hangul is arithmetic and not listed."""
    pairs = []
    for composite, parts in full.items():
        first = nfc(parts[:-1])
        if len(first) == 1 and nfc(first + parts[-1]) == chr(composite):
            pairs.append((ord(first), ord(parts[-1]), composite))
    return sorted(pairs)


def properties(classes: dict[int, int], pairs: list[tuple[int, int, int]]) -> list[int]:
    """Per code point: bits 0-1 class, bit 2 NFC must look at it, bits 8-15 combining class."""
    table = [0] * 0x110000
    for pattern, kind in ((r"\p{L}", LETTER), (r"\p{N}", NUMBER), (r"\s", SPACE)):
        for c in matching(pattern):
            table[c] |= kind
    changed = {c for c in CODE_POINTS if nfc(chr(c)) != chr(c)}
    seconds = {second for _, second, _ in pairs}
    for c in changed | seconds | set(classes) | set(HANGUL_VOWELS) | set(HANGUL_TAILS):
        table[c] |= NFC_ACTIVE
    for c, ccc in classes.items():
        table[c] |= ccc << 8
    return table


def rows(numbers: list[str], width: int = 132) -> str:
    lines, line = [], "   "
    for number in numbers:
        if len(line) + len(number) + 2 > width:
            lines.append(line)
            line = "   "
        line += f" {number},"
    return "\n".join(lines + [line])


def render() -> str:
    classes = combining_classes()
    full = decompositions()
    pairs = compositions(full)
    table = properties(classes, pairs)
    blocks: dict[tuple[int, ...], int] = {}
    index = [blocks.setdefault(tuple(table[i : i + BLOCK]), len(blocks)) for i in range(0, len(table), BLOCK)]
    pool: list[int] = []
    entries = []
    for c, parts in sorted(full.items()):
        entries.append(f"{{0x{c:x}, {len(pool)}, {len(parts)}}}")
        pool.extend(map(ord, parts))
    flat = [f"{value:#x}" if value else "0" for block in blocks for value in block]
    return f"""// Generated by scripts/gen-unicode-tables.py from Hugging Face tokenizers {PINNED}; do not edit.
// Letters, numbers and spaces: Unicode 16.0. Combining classes, decompositions and compositions: Unicode 9.0.
#include "unicode-tables.h"

namespace gme {{

// [n_code_points / {BLOCK}] -> block
const uint16_t unicode_index[] = {{
{rows([str(i) for i in index])}
}};

// [n_blocks, {BLOCK}]
const uint16_t unicode_blocks[] = {{
{rows(flat)}
}};

// sorted by code point; the mapped characters are unicode_decomposed[begin … begin + size)
const unicode_decomposition unicode_decompositions[] = {{
{rows(entries)}
}};
const size_t n_unicode_decompositions = {len(entries)};

const uint32_t unicode_decomposed[] = {{
{rows([f"{c:#x}" for c in pool])}
}};

// sorted by first, then second
const unicode_composition unicode_compositions[] = {{
{rows([f"{{{a:#x}, {b:#x}, {c:#x}}}" for a, b, c in pairs])}
}};
const size_t n_unicode_compositions = {len(pairs)};

}}  // namespace gme
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed file")
    arguments = parser.parse_args()
    if tokenizers.__version__ != PINNED:
        sys.exit(f"needs tokenizers {PINNED}, found {tokenizers.__version__}")
    text = render()
    if arguments.check:
        sys.exit(0 if TARGET.read_text(encoding="utf-8") == text else f"{TARGET.name} differs from what {PINNED} does")
    TARGET.write_text(text, encoding="utf-8")
    print(f"{TARGET.name}: {len(text)} bytes")


if __name__ == "__main__":
    main()
