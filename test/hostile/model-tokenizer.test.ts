// G078–G091: the tokenizer's arrays, ids and special tokens.
import t, { type Test } from "tap";
import { decoderTree, loadHostile, vectorOf } from "./gguf-models";
import { attempt, refused, refusedAt, removeHostile, writeHostile } from "./gguf-refusal";
import { entryOf, type GgufScalar, type GgufTree, layOut } from "./gguf-tree";
import {
  acceptedAs,
  acceptedBoth,
  arrayOf,
  both,
  dropKey,
  type Edit,
  edited,
  f32,
  i32,
  inPair,
  keyField,
  refusedBoth,
  setKey,
  text,
  typed,
  u32,
  modelRow as row,
} from "./model-edits";
import { randomNumbers } from "../lifetime/native-model";
import { decoderOf, modestWeights, smallShape, smallVocabulary } from "./model-shapes";

t.jobs = 1;

const tokensKey = "tokenizer.ggml.tokens";
const typesKey = "tokenizer.ggml.token_type";
const mergesKey = "tokenizer.ggml.merges";
const bad = "GME_TOKENIZER_BAD";

const good = decoderTree();
const tokens = entryOf(good, tokensKey).value as string[];
const types = entryOf(good, typesKey).value as number[];
const merges = entryOf(good, mergesKey).value as string[];
const rows = tokens.length;

const replaced = <T>(list: readonly T[], at: number, value: T): T[] => list.map((old, i) => (i === at ? value : old));
const setTokens = (value: GgufScalar[]): Edit => setKey(tokensKey, arrayOf("string", value));
const setTypes = (value: number[]): Edit => setKey(typesKey, arrayOf("i32", value));
const setMerges = (value: GgufScalar[]): Edit => setKey(mergesKey, arrayOf("string", value));

const refuse = (t: Test, id: string, title: string, edit: Edit, field: string, code: string | RegExp = bad) =>
  refused(t, id, title, inPair("decoder", edit), { code, field });

row(t, "G078", "tokens that are missing, none, no strings, or not one per row are refused", async (t) => {
  const refuseBoth = (title: string, edit: Edit) =>
    refusedBoth(t, "G078", title, "decoder", edit, { code: bad, field: tokensKey });
  await refuseBoth("missing", dropKey(tokensKey));
  await refuseBoth("no strings", setKey(tokensKey, arrayOf("u32", [1, 2])));
  await refuseBoth("a string", setKey(tokensKey, text("a")));
  await refuseBoth("none", setTokens([]));
  await refuseBoth("one", setTokens(["a"]));
  await refuseBoth("one less", setTokens(tokens.slice(0, -1)));
  await refuseBoth("one more", setTokens([...tokens, "more"]));
});

row(t, "G079", "tokens that are repeated, empty, too long or no byte-level strings are refused", async (t) => {
  const at = (i: number, value: GgufScalar) => setTokens(replaced(tokens as GgufScalar[], i, value));
  const named = (i: number) => `${tokensKey}[${i}]`;
  await refuse(t, "G079", "a token twice", at(300, tokens[299]), named(300));
  await refuse(
    t,
    "G079",
    "a special token's text as an ordinary token",
    at(300, "<|im_end|>"),
    named(tokens.indexOf("<|im_end|>")),
  );
  await refuse(t, "G079", "an empty token", at(300, ""), named(300));
  for (const [i, value] of [
    "日",
    "\u0000",
    " ",
    "\u00ad",
    "\u0144",
    Buffer.from([0xff]),
    Buffer.from([0xc4]),
  ].entries())
    await refuse(t, "G079", `characters that stand for no byte (${i})`, at(300, value), named(300));
  await refuse(
    t,
    "G079",
    "a token of 4 KiB and a byte",
    at(300, "a".repeat(4097)),
    keyField(tokensKey),
    "GME_GGUF_LIMIT",
  );
  await refuse(
    t,
    "G079",
    "as a special one",
    both(at(rows - 1, Buffer.alloc(4097, "a"))),
    keyField(tokensKey),
    "GME_GGUF_LIMIT",
  );
  await acceptedBoth(t, "G079", "a special token of 4 KiB", "decoder", at(rows - 1, "a".repeat(4096)));
  // A million tokens that really are there take a file of their size.
  const million = writeHostile(inPair("decoder", setTokens(Array.from({ length: 1 << 20 }, (_, i) => i.toString(36)))));
  const { error, milliseconds, growth } = await attempt(million.path, million.tower);
  t.match(error, { code: bad, field: tokensKey }, "2^20 tokens for 2,272 rows");
  t.ok(growth <= 128 << 20, `memory grows by ${growth}`);
  t.ok(milliseconds <= 2_000, `in ${milliseconds} ms`);
  removeHostile(million);
  await refuseCount(t, "G079", tokensKey, 1_000_000, /GME_GGUF_(LIMIT|TRUNCATED|BAD)/);
  await refuseCount(t, "G079", tokensKey, (1 << 20) + 1, "GME_GGUF_LIMIT");
});

/** The array's count alone says `count`. */
async function refuseCount(t: Test, id: string, key: string, count: number, code: string | RegExp): Promise<void> {
  const tree = decoderTree();
  const { bytes, keys } = layOut(tree);
  bytes.writeBigUInt64LE(BigInt(count), keys[tree.keys.findIndex((entry) => entry.key === key)].count as number);
  await refused(t, id, `${key} claims ${count} entries`, { decoder: bytes }, { code });
}

row(t, "G080", "token types that are missing, too many, too few or unknown are refused", async (t) => {
  const refuseBoth = (title: string, edit: Edit, field = typesKey) =>
    refusedBoth(t, "G080", title, "decoder", edit, { code: bad, field });
  await refuseBoth("missing", dropKey(typesKey));
  await refuseBoth("none", setTypes([]));
  await refuseBoth("one less", setTypes(types.slice(0, -1)));
  await refuseBoth("one more", setTypes([...types, 1]));
  await refuseBoth("of u8", setKey(typesKey, arrayOf("u8", types)));
  await refuseBoth("of strings", setKey(typesKey, arrayOf("string", ["1"])));
  await refuseBoth("a number", setKey(typesKey, i32(1)));
  for (const type of [-1, 0, 7, 99, -(2 ** 31)])
    await refuseBoth(`a type ${type}`, setTypes(replaced(types, 300, type)), `${typesKey}[300]`);
});

row(t, "G081", "scores of another type or number are refused, and never read", async (t) => {
  const key = "tokenizer.ggml.scores";
  const wrong = {
    "of u8": arrayOf("u8", [1, 2]),
    short: arrayOf("f32", [0]),
    none: arrayOf("f32", []),
    "a number": f32(0),
    strings: arrayOf("string", ["0"]),
  };
  for (const [name, value] of Object.entries(wrong))
    await refusedBoth(t, "G081", name, "decoder", setKey(key, value), {
      code: "GME_GGUF_WRONG_TYPE",
      field: keyField(key),
    });
  await acceptedBoth(
    t,
    "G081",
    "not a number each",
    "decoder",
    setKey(
      key,
      arrayOf(
        "f32",
        tokens.map(() => Number.NaN),
      ),
    ),
  );
});

row(t, "G082", "merges that are missing, malformed, unknown or repeated are refused", async (t) => {
  const at = (value: GgufScalar, i = 100) => setMerges(replaced(merges as GgufScalar[], i, value));
  const named = `${mergesKey}[100]`;
  await refuse(t, "G082", "missing", dropKey(mergesKey), mergesKey);
  await refuse(t, "G082", "no strings", setKey(mergesKey, arrayOf("u32", [1])), mergesKey);
  await refuse(t, "G082", "a string", setKey(mergesKey, text("a b")), mergesKey);
  for (const merge of ["", " ", "ab", "a b c", "a  b", " ab", "ab ", "a\tb", "a", "  "])
    await refuse(t, "G082", JSON.stringify(merge), at(merge), named);
  for (const merge of [
    "a 日",
    "zzqqzz a",
    "a <|im_end|>",
    `${"a".repeat(2040)} ${"a".repeat(2050)}`,
    Buffer.from([0x61, 0x20, 0xff]),
  ])
    await refuse(t, "G082", `unknown tokens: ${merge.slice(0, 12)}`, at(merge), named);
  await refuse(t, "G082", "a merge twice", at(merges[7]), named);
  await refuse(t, "G082", "a token with itself into nothing known", at("q q"), named);
  await refuseCount(t, "G082", mergesKey, 2_000_000, "GME_GGUF_LIMIT");
  await acceptedAs(t, "G082", "the good merges", inPair("decoder", setMerges(merges)));
});

row(t, "G083", "a merge into a token that the vocabulary lacks is refused", async (t) => {
  for (const merge of ["! !", "q Q", "Z z"]) {
    t.notOk(tokens.includes(merge.replace(" ", "")), `${merge} makes no token`);
    await refuse(t, "G083", merge, setMerges(replaced(merges, 5, merge)), `${mergesKey}[5]`);
  }
});

/** A vocabulary of bytes and `made`, whose merges compete for the same letters. */
const competing = (made: string[], rules: string[]): GgufTree =>
  decoderOf(smallShape(), modestWeights(randomNumbers(1)), smallVocabulary(made, rules));

let slowest = 0;

row(
  t,
  "G084",
  "merges in cycles or against their ranks end: a megabyte of text takes at most 2 s",
  async (t) => {
    const powers = Array.from({ length: 11 }, (_, i) => "a".repeat(2 ** (i + 1)));
    const doubling = powers.map((power) => `${power.slice(power.length / 2)} ${power.slice(power.length / 2)}`);
    const models: { [name: string]: GgufTree } = {
      "the fixture's merges backwards": edited(decoderTree(), setMerges([...merges].reverse())),
      "a cycle of two letters": competing(
        ["ab", "ba", "aba", "bab", "abab", "baba"],
        ["a b", "b a", "ab a", "ba b", "b ab", "a ba", "ab ab", "ba ba"],
      ),
      "the same backwards": competing(
        ["ab", "ba", "aba", "bab", "abab", "baba"],
        ["ba ba", "ab ab", "a ba", "b ab", "ba b", "ab a", "b a", "a b"],
      ),
      doubling: competing(powers, doubling),
      "doubling, the longest first": competing(powers, [...doubling].reverse()),
      "one letter at a time": competing(
        Array.from({ length: 62 }, (_, i) => "a".repeat(i + 2)),
        Array.from({ length: 62 }, (_, i) => `${"a".repeat(i + 1)} a`),
      ),
    };
    const texts = {
      a: "a".repeat(1 << 20),
      ab: "ab".repeat(1 << 19),
      aab: "aab".repeat(349_525),
      words: "ab aab ba ".repeat(104_857),
    };
    for (const [name, decoder] of Object.entries(models)) {
      const files = writeHostile({ decoder });
      const model = await loadHostile(files.path);
      for (const [of, long] of Object.entries(texts)) {
        let [took, tokenised] = [Infinity, 0];
        for (let tries = 0; tries < 3 && took > 2_000; tries++) {
          const start = performance.now();
          tokenised = (await model.tokenize(long)).length;
          took = Math.min(took, performance.now() - start);
        }
        slowest = Math.max(slowest, took);
        t.ok(
          took <= 2_000 && tokenised > 0,
          `${name}, a megabyte of ${of}: ${took.toFixed(0)} ms, ${tokenised} tokens`,
        );
      }
      await model.close();
      removeHostile(files);
    }
  },
  () => `a megabyte tokenised in at most ${slowest.toFixed(0)} ms under 6 sets of merges`,
);

row(t, "G085", "ids of tokens that do not exist are refused", async (t) => {
  for (const name of ["bos", "eos", "padding", "eot", "unknown", "separator", "mask"]) {
    const field = `tokenizer.ggml.${name}_token_id`;
    const values = [
      u32(rows),
      u32(2 ** 32 - 1),
      i32(-1),
      typed("u64", 2n ** 63n),
      typed("i64", -(2n ** 63n)),
      f32(1),
      text("1"),
      typed("bool", 1),
      arrayOf("u32", [1]),
    ];
    for (const [i, value] of values.entries()) await refuse(t, "G085", `${name} (${i})`, setKey(field, value), field);
  }
  await acceptedBoth(t, "G085", "the last token", "decoder", setKey("tokenizer.ggml.eot_token_id", u32(rows - 1)));
});

const alwaysNeeded = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"];
const pictureNeeds = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>"];

row(t, "G086", "special tokens of the prompt that are missing or no control tokens are refused", async (t) => {
  for (const [i, name] of [...alwaysNeeded, ...pictureNeeds].entries()) {
    const at = tokens.indexOf(name);
    await refusedBoth(t, "G086", `no ${name}`, "decoder", setTokens(replaced(tokens, at, `<|other ${i}|>`)), {
      code: bad,
      field: tokensKey,
    });
    for (const type of [1, 2, 4, 5, 6])
      await refuse(t, "G086", `${name} of type ${type}`, setTypes(replaced(types, at, type)), tokensKey);
  }
  // A decoder alone needs no tokens for pictures, and then refuses pictures for their own reason.
  const blind = writeHostile({
    decoder: edited(
      decoderTree(),
      setTokens(tokens.map((token, i) => (pictureNeeds.includes(token) ? `<|none ${i}|>` : token))),
    ),
  });
  const model = await loadHostile(blind.path);
  t.ok((await model.embed({ text: "a cat" })).every(Number.isFinite), "without a tower it embeds texts");
  await model.close();
  await refusedAt(t, "G086", "the same with a tower", blind, { code: bad, field: tokensKey });
  removeHostile(blind);
});

row(t, "G087", "a special token's text twice is refused", async (t) => {
  const at = tokens.indexOf("<|vision_pad|>");
  for (const name of alwaysNeeded) {
    const again = setTokens(replaced(tokens, at, name));
    await refuse(
      t,
      "G087",
      `${name} as a second control token`,
      again,
      `${tokensKey}[${Math.max(at, tokens.indexOf(name))}]`,
    );
    await refuse(
      t,
      "G087",
      `${name} as an unused token`,
      both(again, setTypes(replaced(types, at, 5))),
      `${tokensKey}[${Math.max(at, tokens.indexOf(name))}]`,
    );
  }
});

row(t, "G088", "another tokenizer is refused", async (t) => {
  for (const [key, values] of [
    ["tokenizer.ggml.model", ["llama", "plamo2", "", "bert", "gpt2 ", "GPT2", "rwkv", "none"]],
    ["tokenizer.ggml.pre", ["default", "llama-bpe", "", "qwen35", "deepseek-llm"]],
  ] as const)
    for (const value of values)
      await refusedBoth(t, "G088", `${key} ${JSON.stringify(value)}`, "decoder", setKey(key, text(value)), {
        code: "GME_MODEL_UNSUPPORTED",
        field: keyField(key),
      });
});

row(t, "G089", "strings that look like byte tokens are plain text", async (t) => {
  const at = tokens.indexOf("<|vision_pad|>");
  for (const name of ["<0x-1>", "<0xZZ>", "<0x>", "<0x41>", "<0xFFFFFFFFFF>"])
    for (const type of [1, 3, 4, 5, 6])
      await acceptedAs(
        t,
        "G089",
        `${name} of type ${type}`,
        inPair("decoder", both(setTokens(replaced(tokens, at, name)), setTypes(replaced(types, at, type)))),
      );
});

row(t, "G090", "a chat template is never read", async (t) => {
  const key = "tokenizer.chat_template";
  const jinja =
    "{% for m in messages %}{{ m.__class__.__mro__[1].__subclasses__() }}{% include '/etc/passwd' %}{% endfor %}";
  await acceptedBoth(t, "G090", "with code", "decoder", setKey(key, text(jinja)));
  await acceptedBoth(t, "G090", "of 4 MiB", "decoder", setKey(key, text("{{".repeat(1 << 21))));
  await acceptedBoth(t, "G090", "that is no string", "decoder", setKey(key, arrayOf("string", [jinja])));
});

row(t, "G091", "a vocabulary that lacks a byte is refused", async (t) => {
  for (let byte = 0; byte < 256; byte += 15)
    await refuse(t, "G091", `without ${tokens[byte]}`, setTokens(replaced(tokens, byte, `zqzqz${byte}`)), tokensKey);
});

t.test("G090 a name, an instruction and keys nobody knows are data, whatever they hold", async (t) => {
  const junk = Buffer.from("\u0007\u001b[2J</script>\u202e\ufffe");
  await acceptedAs(t, "G090", "a name of junk", inPair("decoder", setKey("general.name", text(junk))));
  const files = writeHostile(
    inPair(
      "decoder",
      both(setKey("gme.default_instruction", text(junk)), setKey("general.name", text("n".repeat(4 << 20)))),
    ),
  );
  t.ok((await vectorOf(files.path, files.tower)).every(Number.isFinite), "an instruction of junk");
  removeHostile(files);
  const long = writeHostile(inPair("decoder", setKey("gme.default_instruction", text("word ".repeat(400_000)))));
  await t.rejects(vectorOf(long.path, long.tower), { code: "GME_TEXT_TOO_LONG" }, "an instruction over the limit");
  removeHostile(long);
});
