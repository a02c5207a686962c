// Seeded hostile strings: special strings and halves of them, control characters, surrogates, marks, right-to-left text, long runs.
import { randomNumbers } from "../lifetime/native-model";

const fragments = [
  "<|im_start|>",
  "<|im_end|>",
  "<|endoftext|>",
  "<|image_pad|>",
  "<|vision_start|>",
  "<|vision_end|>",
  "<|video_pad|>",
  "<|im_",
  "end|>",
  "<|",
  "|>",
  "system\n",
  "'s",
  "'RE",
  "'\u017f",
  "\r\n",
  "\u00a0",
  "\u2028",
  "\u0085",
  "\u200b",
  "\u200d",
  "\u202e",
  "\u2066",
  "\ufeff",
  "\uffff",
  "\ud83d\udc68\u200d\ud83d\udc69\u200d\ud83d\udc67",
  "\ud83c\udde9\ud83c\uddea",
  "\u05e9\u05dc\u05d5\u05dd",
  "\u0627\u0644\u0639",
  "e\u0301",
  "\u1112\u1161\u11ab",
  "\0",
  "{{7*7}}",
  "%s%n",
  '"}\n{"',
];

/** One string of the series; every fourth has a run of up to `longestRun` equal units. */
export function hostileStrings(seed: number, longestRun: number): () => string {
  const random = randomNumbers(seed);
  const below = (n: number) => Math.floor(random() * n);
  const unit = (): string => {
    switch (below(8)) {
      case 0:
        return String.fromCharCode(below(0x20));
      case 1:
        return String.fromCharCode(0xd800 + below(0x800));
      case 2:
        return String.fromCharCode(0x300 + below(0x70));
      case 3:
        return String.fromCodePoint(below(0x110000));
      case 4:
        return String.fromCharCode(0x590 + below(0x170));
      case 5:
        return String.fromCharCode(0x20 + below(0x5f));
      default:
        return fragments[below(fragments.length)];
    }
  };
  let made = 0;
  return () => {
    let text = "";
    for (let n = below(24); n > 0; n--) text += unit();
    if (made++ % 4 === 0) text += unit().repeat(1 + below(longestRun)) + unit();
    return text;
  };
}
