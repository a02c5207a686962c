// The tokenizer against Hugging Face `tokenizers`: 1,908 texts with their ids, hostile input, time, and broken vocabularies.
#include "hostile-text.h"
#include "tokenizer-fixture.h"
#include "unicode-nfc.h"

#include <algorithm>
#include <functional>
#include <sstream>
#include <thread>

using checks::check;
using checks::code_of;
using hostile::processor_seconds;
using hostile::random_code_points;
using hostile::repeated;
using hostile::time_factor;

namespace {

std::vector<int32_t> ids_of(const gme::tokenizer & tokenizer, std::string_view text) {
    std::vector<int32_t> ids;
    tokenizer.tokenize(text, ids);
    return ids;
}

std::vector<int32_t> parsed_ids_of(const gme::tokenizer & tokenizer, std::string_view text) {
    std::vector<int32_t> ids;
    tokenizer.tokenize_parsed(text, ids);
    return ids;
}

// The reference reads special strings as control tokens, and five of the texts have some: parse mode equals it everywhere.
void check_golden(const gme::tokenizer & tokenizer, const std::string & path) {
    std::istringstream lines(json::read_file(path));
    std::string line;
    int n_cases = 0, n_equal = 0, n_plain = 0, n_with_special = 0, n_prefix = 0;
    while (std::getline(lines, line)) {
        const json::value item = json::parse(line);
        const std::string & text = item["text"].text;
        const std::vector<int32_t> expected = fixture::ids_of(item["ids"]);
        const bool has_special = std::any_of(expected.begin(), expected.end(), [](int32_t id) { return id >= 151643; });
        ++n_cases;
        n_with_special += has_special;
        n_equal += parsed_ids_of(tokenizer, text) == expected;
        n_plain += has_special || ids_of(tokenizer, text) == expected;
        std::vector<int32_t> first;
        const size_t limit = expected.size() / 2;
        tokenizer.tokenize_parsed(text, first, limit);
        n_prefix += first.size() >= limit && first.size() <= expected.size() && std::equal(first.begin(), first.end(), expected.begin());
    }
    const std::string n_texts = " of " + std::to_string(n_cases) + " texts";
    check(n_cases == 1908 && n_equal == n_cases, "the ids equal the reference tokenizer's on " + std::to_string(n_equal) + n_texts);
    check(n_plain == n_cases && n_with_special == 5, "T15 plain text has the same ids unless special strings are in it");
    check(n_prefix == n_cases, "tokenising that stops early gives the first ids of the whole");
}

// T15, T03: special strings are ordinary text unless parsed; NUL is a character like others.
void check_specials(const gme::tokenizer & tokenizer, const gme::vocabulary & vocabulary) {
    int32_t first_special = tokenizer.n_vocab();
    bool plain = true, parsed = true;
    for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
        if (vocabulary.token_types[i] != 3) {
            continue;
        }
        first_special = std::min(first_special, static_cast<int32_t>(i));
        const std::string & special = vocabulary.tokens[i];
        for (const std::string & text : {special, "a " + special + " b", special + special}) {
            const auto ids = ids_of(tokenizer, text);
            plain = plain && !ids.empty() && *std::max_element(ids.begin(), ids.end()) < first_special;
        }
        parsed = parsed && parsed_ids_of(tokenizer, vocabulary.tokens[i]) == std::vector<int32_t>{static_cast<int32_t>(i)};
        parsed = parsed && tokenizer.special_id(vocabulary.tokens[i]) == static_cast<int32_t>(i);
    }
    check(plain, "T15 special strings in plain text give ordinary ids only");
    check(parsed, "special strings give their ids in parse mode");
    check(tokenizer.special_id("[PAD151657]") == -1 && tokenizer.special_id("a") == -1,
          "padding and ordinary tokens are no special tokens");
    check(parsed_ids_of(tokenizer, "<|im_<|im_end|>|>") != ids_of(tokenizer, "<|im_<|im_end|>|>"),
          "T17 the leftmost whole special string counts");
    using namespace std::string_view_literals;
    const auto with_nul = ids_of(tokenizer, "a\0b"sv);
    check(with_nul.size() == 3 && with_nul != ids_of(tokenizer, "a"), "T03 NUL inside a text is kept");
    check(ids_of(tokenizer, "").empty() && parsed_ids_of(tokenizer, "").empty(), "T01 an empty text has no ids");
}

void check_encodings(const gme::tokenizer & tokenizer) {
    const std::pair<const char *, const char *> cases[] = {
        {"a\xFFz", "a\uFFFDz"}, {"\xC3", "\uFFFD"}, {"\xE2\x82", "\uFFFD"}, {"\xE2\x82z", "\uFFFDz"},
        {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"}, {"\xC0\xAF", "\uFFFD\uFFFD"}, {"\xF0\x9F\x98", "\uFFFD"},
        {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"}, {"\x80\x80", "\uFFFD\uFFFD"},
    };
    bool equal = true;
    for (const auto & item : cases) {
        equal = equal && ids_of(tokenizer, item.first) == ids_of(tokenizer, item.second);
    }
    check(equal, "T02 each maximal malformed sequence counts as U+FFFD");
    check(ids_of(tokenizer, "e\u0301 \u1100\u1161\u11A8") == ids_of(tokenizer, "\u00E9 \uAC01"),
          "T06 NFD and NFC of a text have the same ids");
    check(ids_of(tokenizer, "it'\u017F") != ids_of(tokenizer, "it\u017F"), "T20 an apostrophe and a long s are a contraction");
}

// T22: the bytes of the ids are the bytes of the normalised text.
void check_round_trip(const gme::tokenizer & tokenizer, const gme::vocabulary & vocabulary) {
    std::vector<int> byte_of(324, -1);
    for (int byte = 0, next = 256; byte < 256; ++byte) {
        const bool is_visible = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
        byte_of[static_cast<size_t>(is_visible ? byte : next++)] = byte;
    }
    const std::string text = random_code_points(200000, 1, 0xD7FF) + random_code_points(200000, 0xE000, 0x10FFFF);
    std::string decoded;
    for (const int32_t id : ids_of(tokenizer, text)) {
        const std::string & token = vocabulary.tokens[static_cast<size_t>(id)];
        for (size_t pos = 0; pos < token.size();) {
            const gme::utf8_code_point cur = gme::utf8_decode(token, pos);
            decoded += static_cast<char>(byte_of.at(cur.value));
            pos += cur.size;
        }
    }
    std::string buffer;
    check(decoded == gme::normalize_nfc(text, buffer), "T22 the ids of random text decode to the same bytes");
}

// T10, T11, T12, T19: hostile texts in linear time, without deep stacks.
void check_times(const gme::tokenizer & tokenizer) {
    constexpr size_t million = 1000000;
    struct timed { const char * title; std::string text; };
    std::vector<timed> cases = {
        {"T10 100,000 combining marks", "a" + random_code_points(200000, 0x300, 0x34E)}, {"T11 43,000 A", std::string(43000, 'A')},
        {"T11 131,072 Z", std::string(131072, 'Z')},               {"T11 1 M full stops", std::string(million, '.')},
        {"T11 1 M spaces", std::string(million, ' ')},             {"T11 1 M newlines", std::string(million, '\n')},
        {"T11 1 M CJK", repeated("\u5B57", million)},               {"T11 1 M digits", std::string(million, '7')},
        {"T11 'us', 500,000 times", repeated("'us'", million / 2)}, {"T19 1 MB of A", std::string(million, 'A')},
        {"T19 random letters", random_code_points(million, 'a', 'z')}, {"T19 random Latin-1", random_code_points(million, 0x80, 0xFF)},
        {"T19 random CJK", random_code_points(million, 0x4E00, 0x9FFF)}, {"T19 alternating pairs", repeated("qzxj", million / 4)},
        {"T19 repeats of a long token", repeated("ServletException", million / 16)}, {"T19 1 MB of '<|'", repeated("<|", million / 2)},
        {"T12 10 MB of prose", repeated("The quick brown fox jumps over the lazy dog, doesn't it? ", 10 * million / 57)},
        {"T12 10 MB of decomposed Korean", repeated("\u1112\u1161\u11AB\u1100\u1173\u11AF ", 10 * million / 19)},
    };
    for (const timed & item : cases) {
        double seconds = 0;
        size_t n_ids = 0;
        hostile::run_on_small_stack([&] {
            const double start = processor_seconds();
            n_ids = parsed_ids_of(tokenizer, item.text).size();
            seconds = processor_seconds() - start;
        });
        const double megabytes = static_cast<double>(item.text.size()) / million;
        char title[160];
        std::snprintf(title, sizeof title, "%s: %zu ids, %.0f ms, %.1f MB/s", item.title, n_ids, seconds * 1e3, megabytes / seconds);
        check(n_ids > 0 && seconds <= time_factor * (megabytes < 1 ? 1 : 2 * megabytes), title);
    }
}

void check_threads(const gme::vocabulary & vocabulary) {
    const gme::tokenizer tokenizer(vocabulary, "x.gguf");
    const std::string text = random_code_points(100000, 'a', 'z') + repeated("some words, and more of them. ", 3000);
    std::vector<int32_t> results[4];
    std::vector<std::thread> threads;
    for (auto & result : results) {
        threads.emplace_back([&] { tokenizer.tokenize(text, result); });
    }
    for (std::thread & thread : threads) {
        thread.join();
    }
    check(std::all_of(results, results + 4, [&](const auto & ids) { return ids == results[0]; }),
          "four threads get the same ids from one tokenizer");
}

// G078–G091: each change to a good vocabulary is refused, naming the entry.
void check_defects(const gme::vocabulary & good) {
    struct defect { const char * title; const char * field; std::function<void(gme::vocabulary &)> make; };
    const auto index_of = [&](const char * token) {
        return static_cast<size_t>(std::find(good.tokens.begin(), good.tokens.end(), token) - good.tokens.begin());
    };
    const size_t im_end = index_of("<|im_end|>"), image_pad = index_of("<|image_pad|>");
    const std::string at_5 = "tokenizer.ggml.tokens[1005]", types = "tokenizer.ggml.token_type", merges = "tokenizer.ggml.merges[7]";
    const defect defects[] = {
        {"G078 no tokens", "tokenizer.ggml.tokens", [](auto & v) { v.tokens.clear(); v.token_types.clear(); }},
        {"G079 a token twice", at_5.c_str(), [](auto & v) { v.tokens[1005] = v.tokens[1004]; }},
        {"G079 an empty token", at_5.c_str(), [](auto & v) { v.tokens[1005].clear(); }},
        {"G079 a token with a character that stands for no byte", at_5.c_str(), [](auto & v) { v.tokens[1005] = "a b"; }},
        {"G079 a token of malformed UTF-8", at_5.c_str(), [](auto & v) { v.tokens[1005] = "a\xFF"; }},
        {"G079 a token of 4 KiB + 1", at_5.c_str(), [](auto & v) { v.tokens[1005] = std::string(4097, 'a'); }},
        {"G080 types of another length", types.c_str(), [](auto & v) { v.token_types.pop_back(); }},
        {"G080 type -1", "tokenizer.ggml.token_type[3]", [](auto & v) { v.token_types[3] = -1; }},
        {"G080 type 99", "tokenizer.ggml.token_type[3]", [](auto & v) { v.token_types[3] = 99; }},
        {"G082 a merge without a space", merges.c_str(), [](auto & v) { v.merges[7] = "ab"; }},
        {"G082 a merge with two spaces", merges.c_str(), [](auto & v) { v.merges[7] = "a  b"; }},
        {"G082 a merge with nothing", merges.c_str(), [](auto & v) { v.merges[7] = " a"; }},
        {"G082 an empty merge", merges.c_str(), [](auto & v) { v.merges[7].clear(); }},
        {"G082 a merge of an unknown token", merges.c_str(), [](auto & v) { v.merges[7] = "qqqqqq zz"; }},
        {"G082 a merge twice", merges.c_str(), [](auto & v) { v.merges[7] = v.merges[6]; }},
        {"G083 a merge whose result is absent", merges.c_str(), [](auto & v) { v.merges[7] = "q \xC4\xA0"; }},
        {"G083 a merge that makes a special token", merges.c_str(), [](auto & v) {
            v.tokens.push_back("q~");
            v.token_types.push_back(3);
            v.merges[7] = "q ~";
        }},
        {"G086 <|im_end|> missing", "tokenizer.ggml.tokens", [=](auto & v) { v.tokens[im_end] = "<|renamed|>"; }},
        {"G086 <|im_end|> not a control token", "tokenizer.ggml.tokens", [=](auto & v) { v.token_types[im_end] = 1; }},
        {"G086 <|image_pad|> not a control token", "tokenizer.ggml.tokens", [=](auto & v) { v.token_types[image_pad] = 5; }},
        {"G087 two ids with one special text", nullptr, [=](auto & v) { v.tokens[image_pad] = "<|im_end|>"; }},
        {"G087 an ordinary token with a special text", nullptr, [=](auto & v) { v.tokens[1005] = "<|im_end|>"; }},
        {"G091 a byte missing", "tokenizer.ggml.tokens", [](auto & v) { v.tokens[0] = "some~other"; }},
    };
    for (const defect & item : defects) {
        gme::vocabulary bad = good;
        item.make(bad);
        gme::error thrown("", "");
        const std::string code = code_of([&] { gme::tokenizer tokenizer(bad, "x.gguf"); }, &thrown);
        const bool names_it = thrown.file == "x.gguf" && (item.field == nullptr || thrown.field == item.field);
        check(code == "GME_TOKENIZER_BAD" && names_it, std::string(item.title) + " rejects with GME_TOKENIZER_BAD");
    }
    gme::vocabulary inert = good;
    inert.tokens.insert(inert.tokens.end(), {"<0x-1>", "<0xZZ>"});
    inert.token_types.insert(inert.token_types.end(), {1, 6});
    check(code_of([&] { gme::tokenizer tokenizer(inert, "x.gguf"); }).empty(), "G089 malformed byte tokens are inert text");

    gme::vocabulary reversed = good;
    std::reverse(reversed.merges.begin(), reversed.merges.end());
    const gme::tokenizer tokenizer(reversed, "x.gguf");
    const double start = processor_seconds();
    const size_t n_ids = ids_of(tokenizer, random_code_points(1000000, 'a', 'z')).size();
    const double seconds = processor_seconds() - start;
    check(n_ids > 0 && seconds <= 2 * time_factor, "G084 merges in reversed order still end in time");
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string fixtures = argc > 1 ? argv[1] : "test/fixtures";
    try {
        const gme::vocabulary full = fixture::read_vocabulary(fixtures + "/tokenizer/tokenizer.json", 279);
        const double start = processor_seconds();
        const gme::tokenizer tokenizer(full, "full.gguf");
        const double seconds = processor_seconds() - start;
        check(tokenizer.n_vocab() == 151936 && seconds < time_factor,
              "the full vocabulary loads in " + std::to_string(int(seconds * 1e3)) + " ms");
        check_golden(tokenizer, fixtures + "/more/tokenizer-cases.jsonl");
        check_specials(tokenizer, full);
        check_encodings(tokenizer);
        check_round_trip(tokenizer, full);
        check_times(tokenizer);
        const gme::vocabulary small = fixture::read_vocabulary(fixtures + "/checkpoints/tiny-a/tokenizer.json");
        check_threads(small);
        check_defects(small);
    } catch (const std::exception & unexpected) {
        check(false, std::string("no unexpected exception: ") + unexpected.what());
    }
    return checks::result();
}
