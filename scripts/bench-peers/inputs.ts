// The work's inputs, made from a seed: no text and no picture comes twice in a run, so that no side answers from memory.
//
// captions: 11 tokens, "A photo of a", then a subject that four captions in a row share, as pictures of one album do;
// unrelated: 11 tokens, no word twice in the whole run; long: exactly so many tokens; picture: random pixels as PNG.
import sharp from "sharp";
import { randomSource } from "./random";

/** Tokens of bare texts, without the template. */
export type CountText = (texts: readonly string[]) => Promise<number[]>;

const captionTokens = 11;
const captionsPerSubject = 4;

const adjectives =
  "red blue green yellow white black brown small large old new young bright dark clean dirty empty full wooden heavy round flat tall short warm cold quiet busy broken modern".split(
    " ",
  );
const nouns =
  "car dog cat horse bird boat train bus truck house tree flower table chair lamp book cup plate box bag hat coat shirt phone clock mirror door window bridge tower".split(
    " ",
  );
const places =
  "river garden kitchen street market station school church hotel factory museum beach forest mountain lake island field farm village city park harbor airport library office hospital castle temple shop square".split(
    " ",
  );
const prepositions = "near behind beside under above before inside outside".split(" ");

export class Inputs {
  private readonly random: () => number;
  private readonly seen = new Set<string>();
  private readonly seenWords = new Set<string>();

  constructor(
    private readonly count: CountText,
    seed: number,
  ) {
    this.random = randomSource(seed);
  }

  captions(wanted: number): Promise<string[]> {
    let subject = "";
    let left = 0;
    return this.draw(wanted, captionTokens, () => {
      if (left-- === 0) {
        subject = `${this.pick(adjectives)} ${this.pick(nouns)}`;
        left = captionsPerSubject - 1;
      }
      return `A photo of a ${subject} ${this.pick(prepositions)} the ${this.pick(adjectives)} ${this.pick(places)}.`;
    });
  }

  unrelated(wanted: number): Promise<string[]> {
    return this.draw(wanted, captionTokens, () => {
      const words = Array.from({ length: 3 + Math.floor(this.random() * 4) }, () => this.newWord());
      return words.join(" ");
    });
  }

  /** A text of exactly `tokens` tokens. */
  async long(tokens: number): Promise<string> {
    const all = [...adjectives, ...nouns, ...places, ...prepositions];
    const words = Array.from({ length: tokens }, () => this.pick(all));
    for (let tries = 0; tries < 20; tries++) {
      const text = words.join(" ");
      const surplus = (await this.count([text]))[0] - tokens;
      if (surplus === 0 && !this.seen.has(text)) {
        this.seen.add(text);
        return text;
      }
      if (surplus > 0) words.splice(words.length - surplus);
      else for (let i = surplus; i <= 0; i++) words.push(this.pick(all));
    }
    throw new Error(`no text of exactly ${tokens} tokens came out`);
  }

  picture(width: number, height: number): Promise<Buffer> {
    const pixels = Buffer.alloc(width * height * 3);
    for (let i = 0; i < pixels.length; i++) pixels[i] = this.random() * 256;
    return sharp(pixels, { raw: { width, height, channels: 3 } })
      .png({ compressionLevel: 1 })
      .toBuffer();
  }

  private async draw(wanted: number, tokens: number, make: () => string): Promise<string[]> {
    const texts: string[] = [];
    for (let tries = 0; texts.length < wanted && tries < 50; tries++) {
      const drawn = Array.from({ length: wanted }, make);
      const counts = await this.count(drawn);
      for (const [i, text] of drawn.entries()) {
        if (counts[i] !== tokens || this.seen.has(text) || texts.length === wanted) continue;
        this.seen.add(text);
        texts.push(text);
      }
    }
    if (texts.length < wanted) throw new Error(`only ${texts.length} of ${wanted} texts of ${tokens} tokens came out`);
    return texts;
  }

  private pick(words: readonly string[]): string {
    return words[Math.floor(this.random() * words.length)];
  }

  /** Pronounceable, never made before. */
  private newWord(): string {
    for (;;) {
      const syllables = Array.from(
        { length: 2 + Math.floor(this.random() * 2) },
        () => this.pick([..."bdfgklmnprstvz"]) + this.pick([..."aeiou"]),
      );
      const word = syllables.join("") + this.pick(["", "n", "r", "s", "x"]);
      if (this.seenWords.has(word)) continue;
      this.seenWords.add(word);
      return word;
    }
  }
}
