// The prompt's ids against the reference's, in both modes, and every way of being too long.
#include "prompt.h"
#include "tokenizer-fixture.h"

#include <algorithm>
#include <climits>

using checks::check;
using checks::code_of;

namespace {

constexpr gme::prompt_options plain{gme::overflow::error, false, INT32_MAX};
constexpr gme::prompt_options parsed{gme::overflow::error, true, INT32_MAX};

gme::tokenizer tokenizer_of(const std::string & folder) {
    return gme::tokenizer(fixture::read_vocabulary(folder + "/tokenizer.json"), folder);
}

gme::prompt text_prompt(const gme::tokenizer & tok, std::string_view text, const gme::prompt_options & options) {
    return gme::make_prompt(tok, gme::default_instruction, true, text, 0, options);
}

void check_cases(const gme::tokenizer & tok, const std::string & path) {
    const json::value file = json::parse_file(path);
    const int32_t image_pad = tok.special_id("<|image_pad|>");
    int n_cases = 0, n_equal = 0, n_pictures = 0, n_placed = 0;
    for (const json::value & item : file["cases"].items) {
        const json::value * n_image = item.find("n_image_tokens");
        const int32_t n_image_tokens = n_image == nullptr ? 0 : n_image->integer();
        const bool has_text = !item["text"].is_null();
        bool same = true;
        for (const gme::prompt_options & options : {plain, parsed}) {
            const gme::prompt got = gme::make_prompt(tok, item["instruction"].text, has_text, item["text"].text, n_image_tokens, options);
            const json::value * ids = item.find("ids");
            same = same && static_cast<int32_t>(got.ids.size()) == item["n_tokens"].integer()
                && (ids == nullptr || got.ids == fixture::ids_of(*ids));
            if (n_image_tokens > 0) {
                ++n_pictures;
                const auto begin = got.ids.begin() + got.image_begin;
                n_placed += got.n_image == n_image_tokens && std::count(begin, begin + got.n_image, image_pad) == n_image_tokens
                         && begin[-1] == tok.special_id("<|vision_start|>") && begin[got.n_image] == tok.special_id("<|vision_end|>");
            }
        }
        ++n_cases;
        n_equal += same;
    }
    check(n_cases == 59 && n_equal == n_cases,
          path.substr(path.size() - 17) + ": ids or counts equal the reference's in " + std::to_string(n_equal) + " cases");
    check(n_pictures == 56 && n_placed == n_pictures, "the image tokens stand between the vision tokens");
}

void check_extra(const gme::tokenizer & tok, const std::string & path) {
    int n_plain = 0, n_parsed = 0;
    for (const json::value & item : json::parse_file(path).items) {
        const std::string & text = item["text"].text;
        if (item.find("ids_text") != nullptr) {
            n_plain += text_prompt(tok, text, plain).ids == fixture::ids_of(item["ids_text"]);
            n_parsed += text_prompt(tok, text, parsed).ids == fixture::ids_of(item["ids_parse"]);
            continue;
        }
        const std::vector<int32_t> whole = text_prompt(tok, text, plain).ids;
        check(whole.size() == 3642, "the long text has the reference's 3,642 tokens");
        if (item.find("overflow") != nullptr) {
            for (const bool parse : {false, true}) {
                const gme::prompt cut = text_prompt(tok, text, {gme::overflow::reference, parse, 1800});
                check(cut.ids == std::vector<int32_t>(whole.begin(), whole.begin() + 1800),
                      "overflow reference cuts the whole sequence on the right");
            }
        }
    }
    check(n_plain == 31, "special strings are text by default: " + std::to_string(n_plain) + " of 31 prompts equal");
    check(n_parsed == 31, "special strings count in parse mode: " + std::to_string(n_parsed) + " of 31 prompts equal");
}

// T14, T16, T17, T26: limits, and where the image goes.
void check_limits(const gme::tokenizer & tok) {
    const std::string text = "\n\nSome words 12345, that are cut one by one; d\u00E9j\u00E0 vu \u5B57\u5B57";
    std::vector<int32_t> closing;
    tok.tokenize_parsed("<|im_end|>\n<|im_start|>assistant\n<|endoftext|>", closing);
    bool equal = true, refused = true;
    for (const int32_t n_image : {0, 5}) {
        for (const bool parse : {false, true}) {
            const auto make = [&](std::string_view user, gme::overflow overflow, size_t limit) {
                return gme::make_prompt(tok, "Be brief.", true, user, n_image, {overflow, parse, static_cast<int32_t>(limit)});
            };
            const gme::prompt whole = make(text, gme::overflow::error, INT32_MAX);
            const std::vector<int32_t> empty = make("", gme::overflow::error, INT32_MAX).ids;
            equal = equal && whole.n_text == static_cast<int32_t>(whole.ids.size() - empty.size());
            for (size_t limit = empty.size(); limit <= whole.ids.size() + 1; ++limit) {
                const gme::prompt got = make(text, gme::overflow::truncate, limit);
                const size_t n_ids = std::min(limit, whole.ids.size());
                std::vector<int32_t> expected(whole.ids.begin(), whole.ids.begin() + static_cast<std::ptrdiff_t>(n_ids - closing.size()));
                expected.insert(expected.end(), closing.begin(), closing.end());
                equal = equal && got.ids == expected && got.n_text == static_cast<int32_t>(n_ids - empty.size()) && got.n_image == n_image;
            }
            gme::error thrown("", "");
            refused = refused && code_of([&] { make(text, gme::overflow::truncate, empty.size() - 1); }, &thrown) == "GME_TEXT_TOO_LONG"
                   && thrown.value == std::to_string(empty.size());
            refused = refused && code_of([&] { make(text, gme::overflow::error, whole.ids.size() - 1); }, &thrown) == "GME_TEXT_TOO_LONG"
                   && thrown.value == std::to_string(whole.ids.size())
                   && thrown.expected.find(std::to_string(whole.ids.size() - 1)) != std::string::npos;
            refused = refused && code_of([&] { make(text, gme::overflow::error, whole.ids.size()); }).empty();
        }
    }
    check(equal, "overflow truncate cuts the text's last tokens and keeps the closing ones");
    check(refused, "T14 one token over the limit rejects with GME_TEXT_TOO_LONG and both numbers");
}

// T16, T17, T25: what the caller writes never moves the image in plain mode, and does as in the reference in parse mode.
void check_image(const gme::tokenizer & tok) {
    const int32_t image_pad = tok.special_id("<|image_pad|>");
    std::string pads;
    for (int i = 0; i < 1000; ++i) {
        pads += "<|image_pad|>";
    }
    const gme::prompt safe = gme::make_prompt(tok, pads, true, pads, 4, plain);
    check(std::count(safe.ids.begin(), safe.ids.end(), image_pad) == 4 && safe.n_image == 4
              && safe.ids[static_cast<size_t>(safe.image_begin)] == image_pad,
          "T16 the image binds to the template's slot only");
    const gme::prompt moved = gme::make_prompt(tok, "See <|image_pad|>", true, "tail", 4, parsed);
    const auto first = std::find(moved.ids.begin(), moved.ids.end(), image_pad) - moved.ids.begin();
    check(moved.image_begin == first && moved.n_image == 4 && moved.ids[static_cast<size_t>(first) + 1] == tok.special_id("<|im_end|>"),
          "in parse mode the image's rows begin at the first <|image_pad|>");
    const gme::prompt none = gme::make_prompt(tok, "", true, "<|image_pad|>", 0, parsed);
    check(none.image_begin == -1 && none.n_image == 0, "without an image no rows are replaced");

    const size_t begin = static_cast<size_t>(safe.image_begin);
    const gme::prompt half = gme::make_prompt(tok, pads, true, pads, 4, {gme::overflow::reference, false, static_cast<int32_t>(begin) + 2});
    check(half.image_begin == static_cast<int32_t>(begin) && half.n_image == 2 && half.n_text == 0,
          "overflow reference counts the image tokens that are left");
    const gme::prompt lost = gme::make_prompt(tok, pads, true, pads, 4, {gme::overflow::reference, false, static_cast<int32_t>(begin)});
    check(lost.image_begin == -1 && lost.n_image == 0, "overflow reference may lose the whole image");

    const gme::prompt split = text_prompt(tok, "text <|im_", plain);
    check(std::count(split.ids.begin(), split.ids.end(), tok.special_id("<|im_end|>")) == 2,
          "T17 half a special string never joins the template's");
    check(text_prompt(tok, "text <|im_", parsed).ids == split.ids, "T17 half a special string is text in parse mode too");
}

void check_refusals(const gme::tokenizer & tok, gme::vocabulary vocabulary) {
    check(code_of([&] { gme::make_prompt(tok, "", false, "", 0, plain); }) == "GME_INPUT_INVALID",
          "neither text nor image rejects with GME_INPUT_INVALID");
    check(code_of([&] { gme::make_prompt(tok, "", true, "a", -1, plain); }) == "GME_INPUT_INVALID",
          "a negative image rejects with GME_INPUT_INVALID");
    check(gme::make_prompt(tok, "", false, "ignored", 3, plain).ids == gme::make_prompt(tok, "", true, "", 3, plain).ids,
          "an image alone has an empty text");
    check(text_prompt(tok, "", plain).n_text == 0, "T01 an empty text is a text");
    for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
        if (vocabulary.tokens[i].find("<|vision_") == 0 || vocabulary.tokens[i] == "<|image_pad|>") {
            vocabulary.tokens[i] = "<|gone_" + std::to_string(i) + "|>";
        }
    }
    const gme::tokenizer blind(vocabulary, "x.gguf");
    check(text_prompt(blind, "a photo", plain).ids == text_prompt(tok, "a photo", plain).ids,
          "a vocabulary without vision tokens takes texts");
    for (const gme::prompt_options & options : {plain, parsed}) {
        check(code_of([&] { gme::make_prompt(blind, "", true, "a", 4, options); }) == "GME_TOKENIZER_BAD",
              "an image without vision tokens rejects with GME_TOKENIZER_BAD");
    }
    const std::string huge(10000000, 'a');
    std::string prose;
    while (prose.size() < 10000000) {
        prose += "some words and more of them, ";
    }
    for (const std::string & text : {huge, prose}) {
        const gme::prompt cut = text_prompt(tok, text, {gme::overflow::truncate, false, 32768});
        check(cut.ids.size() == 32768 && cut.ids.back() == tok.special_id("<|endoftext|>"), "T12 overflow truncate takes 10 MB");
    }
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string fixtures = argc > 1 ? argv[1] : "test/fixtures";
    try {
        const gme::tokenizer tiny_a = tokenizer_of(fixtures + "/checkpoints/tiny-a");
        check_cases(tiny_a, fixtures + "/tiny-a/cases.json");
        check_cases(tokenizer_of(fixtures + "/checkpoints/tiny-b"), fixtures + "/tiny-b/cases.json");
        check_extra(tiny_a, fixtures + "/more/text-extra-cases.json");
        check_limits(tiny_a);
        check_image(tiny_a);
        check_refusals(tiny_a, fixture::read_vocabulary(fixtures + "/checkpoints/tiny-a/tokenizer.json"));
    } catch (const std::exception & unexpected) {
        check(false, std::string("no unexpected exception: ") + unexpected.what());
    }
    return checks::result();
}
