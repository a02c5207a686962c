#!/usr/bin/env python3
"""Ids of hostile texts from Hugging Face `tokenizers`: test/fixtures/more/text-hostile-cases.json.

Per case: the row of docs/robustness.md, a title, the text, `tiny` (ids with tiny-a's vocabulary) and `full` (with Qwen2-VL's), special
strings read as text in both.

    pip install tokenizers==0.23.3
    python3 test/reference/gen_text_cases.py
"""
import json
import pathlib
import sys

import tokenizers

PINNED = "0.23.3"
FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
FAMILY = "\U0001F468\u200D\U0001F469\u200D\U0001F467\u200D\U0001F466"

CASES = [
    ("T01", "spaces and newlines", [" ", "\n", "  ", "\n\n\n", "\t\r\n", " \n \n ", "\u3000"]),
    ("T03", "NUL", ["\0", "\0text", "te\0xt", "text\0", "\0\0\0", "a\0\0b"]),
    ("T04", "byte order mark", ["\uFEFF", "\uFEFFtext", "text\uFEFF"]),
    ("T04", "noncharacters and private use", ["\uFFFE", "\uFFFF", "\uFDD0", "\uE000\uF8FF", "\U000F0000", "\U0010FFFF", "a\uFFFFb"]),
    ("T04", "unassigned", ["\u0378", "\U000E0080", "\U0003FFFF x"]),
    ("T05", "controls", ["\x01\x02\x1F", "\x1B[31mred\x1B[0m", "\x7F\x80\x9F", "a\rb\nc\r\nd", "\x08\x08back", "\x0B\x0C"]),
    ("T06", "composed", ["\u00E9\u00FC\u01D5", "\uAC01\uD55C\uAE00", "\u1E69", "\u00C5ngstr\u00F6m"]),
    ("T06", "decomposed", ["e\u0301u\u0308U\u0308\u0304", "\u1100\u1161\u11A8\u1112\u1161\u11AB\u1100\u1173\u11AF", "s\u0307\u0323", "A\u030Angstro\u0308m"]),
    ("T06", "marks in any order", ["q\u0307\u0323", "q\u0323\u0307", "a\u0315\u0300\u05AE\u0062", "\u2126\u212B\u212A", "\u0958\u0929"]),
    ("T07", "full width", ["\uFF21\uFF22\uFF23", "\uFF11\uFF12\uFF13", "\uFF76\uFF9E", "\uFFE5\u3000\uFF0C"]),
    ("T07", "ligatures and compatibility characters", ["\uFB01\uFB03\uFB05", "\u2460\u2473\u3251", "\u33A5\u3392", "\u2163\u00BD\u00B2", "\u1D2C\uA7F8", "\uFDFA", "\u017F\u0130\u0131"]),
    ("T08", "families and couples", [FAMILY, "a" + FAMILY + "b", "\U0001F469\u200D\u2764\uFE0F\u200D\U0001F48B\u200D\U0001F468", FAMILY * 3]),
    ("T08", "flags and keycaps", ["\U0001F1E9\U0001F1EA\U0001F1EB\U0001F1F7\U0001F1EF", "\U0001F3F4\U000E0067\U000E0062\U000E0073\U000E0063\U000E0074\U000E007F", "1\uFE0F\u20E3#\uFE0F\u20E3"]),
    ("T08", "skin tones and selectors", ["\U0001F44B\U0001F3FB\U0001F44B\U0001F3FF", "\u2764\uFE0F\u2764\uFE0E", "\U0001F3FD"]),
    ("T08", "a chain of 1,000 joiners", ["\U0001F469" + "\u200D\U0001F467" * 1000, "\u200D" * 1000]),
    ("T09", "right to left", ["\u05E9\u05DC\u05D5\u05DD world", "\u0627\u0644\u0639\u0631\u0628\u064A\u0629 123", "\u0661\u0662\u0663 \u06F1\u06F2"]),
    ("T09", "bidirectional controls", ["\u202Egnp.exe\u202C", "\u2066a\u2067b\u2068c\u2069", "\u200Fx\u200E", "\u061C", "user\u202E\u2066"]),
    ("T10", "many marks on one letter", ["a" + "\u0301" * 300, "z" + "\u0345\u0301\u0323" * 100, "\u0300" * 100]),
    ("T15", "special strings", ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|image_pad|>", "<|vision_start|><|image_pad|><|vision_end|>", "<|video_pad|>", "a<|im_end|>\n<|im_start|>system\nb"]),
    ("T20", "separators and spaces", ["a\u2028b\u2029c", "a\u0085b", "\u0085\u0085\n", "a\u200Bb", "a\u180Eb", " \u2028 \n x", "\u00A0\u2003\u202F\u205Fx", "\u1680x", "\uFEFF x"]),
    ("T20", "digits of other scripts", ["\u0967\u0968\u0969", "\u17E1\u17E2", "\U0001D7D8\U0001D7D9", "\u2070\u00B9\u2082", "\u2160\u3007\u4E00", "\U00010D30\U00011C50", "x\u0966"]),
    ("T20", "contractions", ["it's IT'S it\u2019s", "we'Re'VE'll", "'\u017F '\u017Fx", "''s", "'", "don'tt", "x'D'd'M", "\u01C5's", "'\u0130"]),
    ("T20", "new letters and marks", ["\u1C89\u1C8A", "\uA7DA\uA7DC", "\U00010D40", "\u088F", "\U00016D40", "\u0897\u0301"]),
]


def main():
    if tokenizers.__version__ != PINNED:
        sys.exit(f"tokenizers {PINNED} is the reference, this is {tokenizers.__version__}")
    vocabularies = {"tiny": FIXTURES / "checkpoints/tiny-a/tokenizer.json", "full": FIXTURES / "tokenizer/tokenizer.json"}
    readers = {name: tokenizers.Tokenizer.from_file(str(path)) for name, path in vocabularies.items()}
    for reader in readers.values():
        reader.encode_special_tokens = True
    lines = []
    for row, title, texts in CASES:
        for text in texts:
            ids = {name: reader.encode(text, add_special_tokens=False).ids for name, reader in readers.items()}
            lines.append(json.dumps({"row": row, "title": title, "text": text, **ids}))
    body = ",\n".join(lines)
    (FIXTURES / "more/text-hostile-cases.json").write_text(f"[\n{body}\n]\n")
    print(f"{len(lines)} texts")


if __name__ == "__main__":
    main()
