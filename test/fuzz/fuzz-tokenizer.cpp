// The tokenizer of the tiny model: any bytes as a text.
//
//   2 bytes of flags, then the text -> normalisation, pieces, plain and parsed ids, prompts; looked at: ids in range, plain text never
//   becomes a special token, the ids spell the normalised text, a limit gives the beginning of the whole, twice gives the same, the
//   pieces are without gaps, time grows with the text.

#include "fuzz-checks.h"

#include "error.h"
#include "gguf-file.h"
#include "pre-tokenizer.h"
#include "prompt.h"
#include "tokenizer.h"
#include "unicode-nfc.h"
#include "utf8.h"

#include <algorithm>
#include <ctime>
#include <memory>
#include <vector>

using fuzz::must;

namespace {

// GPT-2's printable characters back to the bytes they stand for; written out here so that the engine's own map is not its own judge.
std::string spell(const std::string & token) {
    std::string bytes;
    for (size_t pos = 0; pos < token.size();) {
        const gme::utf8_code_point point = gme::utf8_decode(token, pos);
        uint32_t                   byte  = point.value;
        if (byte >= 256) {
            const uint32_t n = byte - 256;  // the n-th byte without a printable form of its own: 0..32, 127..160, 173
            byte             = n < 33 ? n : n < 67 ? n - 33 + 127 : 173;
        }
        bytes += static_cast<char>(byte);
        pos += point.size;
    }
    return bytes;
}

struct tiny_tokenizer {
    gme::vocabulary          vocabulary;
    std::vector<std::string> spelled;   // [n_vocab] what each id stands for
    std::vector<std::string> specials;  // texts that parsing turns into ids, longest first
    int32_t                  first_special = 0;
    std::unique_ptr<gme::tokenizer> tokens;

    tiny_tokenizer() {
        const gme::gguf_file file(fuzz::fixtures_folder() + "/gguf/tiny-a-f32.gguf");
        vocabulary.tokens      = *file.find_strings("tokenizer.ggml.tokens");
        vocabulary.merges      = *file.find_strings("tokenizer.ggml.merges");
        vocabulary.token_types = *file.find_integers("tokenizer.ggml.token_type");
        for (size_t i = 0; i < vocabulary.tokens.size(); i++) {
            const int32_t type = vocabulary.token_types[i];
            spelled.push_back(type == 1 ? spell(vocabulary.tokens[i]) : vocabulary.tokens[i]);
            if (type == 3 || type == 4) {
                specials.push_back(vocabulary.tokens[i]);
            }
            first_special += type == 1 && first_special == static_cast<int32_t>(i);
        }
        std::sort(specials.begin(), specials.end(), [](const auto & a, const auto & b) { return a.size() > b.size(); });
        tokens = std::make_unique<gme::tokenizer>(vocabulary, "tiny-a-f32.gguf");
    }

    std::string decode(const std::vector<int32_t> & ids) const {
        std::string text;
        for (const int32_t id : ids) {
            must(id >= 0 && id < tokens->n_vocab(), "an id lies in the vocabulary");
            text += spelled[static_cast<size_t>(id)];
        }
        return text;
    }
};

const tiny_tokenizer & tiny() {
    static const tiny_tokenizer made;
    return made;
}

double cpu_seconds() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

std::string normalised(std::string_view text) {
    std::string buffer;
    return std::string(gme::normalize_nfc(text, buffer));
}

void check_normalisation(std::string_view text) {
    const std::string once = normalised(text);
    for (size_t pos = 0; pos < once.size(); pos += gme::utf8_decode(once, pos).size) {
        must(gme::utf8_decode(once, pos).valid, "normalised text is valid UTF-8");
    }
    must(normalised(once) == once, "normalising twice is normalising once");
    must(once.size() <= 3 * text.size(), "normalising at most triples a text");
    gme::pre_tokenizer pieces(once);
    std::string_view   piece;
    size_t             pos = 0;
    while (pieces.next(piece)) {
        must(!piece.empty() && piece.data() == once.data() + pos, "pieces follow each other without gaps");
        must(!gme::utf8_is_continuation(piece[0]), "a piece begins with a character");
        pos += piece.size();
    }
    must(pos == once.size(), "the pieces cover the text");
}

std::vector<int32_t> ids_of(std::string_view text, bool parse, size_t ids_max = gme::tokenizer::no_limit) {
    std::vector<int32_t> ids;
    parse ? tiny().tokens->tokenize_parsed(text, ids, ids_max) : tiny().tokens->tokenize(text, ids, ids_max);
    return ids;
}

// What the parsed ids must spell: special strings as they are, leftmost and longest, and each run between them normalised alone.
std::string parsed_spelling(std::string_view text) {
    std::string result;
    size_t      run = 0;
    for (size_t pos = 0; pos < text.size();) {
        const auto match = std::find_if(tiny().specials.begin(), tiny().specials.end(),
                                        [&](const std::string & special) { return text.compare(pos, special.size(), special) == 0; });
        if (match == tiny().specials.end()) {
            pos++;
            continue;
        }
        result += normalised(text.substr(run, pos - run)) + *match;
        pos += match->size();
        run = pos;
    }
    return result + normalised(text.substr(run));
}

void check_ids(std::string_view text, size_t limit) {
    const auto plain = ids_of(text, false);
    must(std::all_of(plain.begin(), plain.end(), [](int32_t id) { return id < tiny().first_special; }), "plain text has ordinary tokens only");
    must(tiny().decode(plain) == normalised(text), "plain ids spell the normalised text");
    const auto parsed = ids_of(text, true);
    must(tiny().decode(parsed) == parsed_spelling(text), "parsed ids spell the text");
    for (const bool parse : { false, true }) {
        const auto & whole = parse ? parsed : plain;
        must(ids_of(text, parse) == whole, "the same text gives the same ids");
        const auto begin = ids_of(text, parse, limit);
        must(begin.size() <= whole.size() && std::equal(begin.begin(), begin.end(), whole.begin()), "a limit gives the first ids of the whole");
        must(begin.size() >= std::min(limit, whole.size()), "a limit gives as many ids as it says");
    }
}

void check_prompt(std::string_view text, uint8_t flags, int32_t tokens_max) {
    const gme::overflow      overflow = flags & 1 ? gme::overflow::truncate : flags & 2 ? gme::overflow::reference : gme::overflow::error;
    const gme::prompt_options options = { overflow, (flags & 4) != 0, tokens_max };
    const int32_t            n_image  = flags & 8 ? (flags >> 4) * 2 : 0;
    const size_t             half     = flags & 16 ? text.size() / 2 : 0;
    try {
        const gme::prompt made = gme::make_prompt(*tiny().tokens, text.substr(0, half), true, text.substr(half), n_image, options);
        must(static_cast<int32_t>(made.ids.size()) <= tokens_max, "a prompt keeps to its limit");
        must(std::all_of(made.ids.begin(), made.ids.end(), [](int32_t id) { return id >= 0 && id < tiny().tokens->n_vocab(); }), "a prompt's ids lie in the vocabulary");
        must(made.n_text >= 0 && made.n_opening >= 0 && made.n_opening <= static_cast<int32_t>(made.ids.size()), "a prompt's parts lie in it");
        must(made.n_image == 0 || (made.image_begin >= 0 && made.image_begin + made.n_image <= static_cast<int32_t>(made.ids.size())), "the image lies in the prompt");
    } catch (const gme::error & bad) {
        must(bad.code == "GME_TEXT_TOO_LONG", "a prompt is refused by GME_TEXT_TOO_LONG, not " + bad.code);
    }
}

// The text again and again up to 64 KiB: quadratic work would be seconds, linear work is milliseconds, even with the sanitizers.
void check_time(std::string_view text) {
    std::string many;
    while (many.size() < (1u << 16)) {
        many += text;
    }
    for (const bool parse : { false, true }) {
        const double begin = cpu_seconds();
        ids_of(many, parse);
        const double spent = cpu_seconds() - begin;
        must(spent < 0.05 + 20e-6 * static_cast<double>(many.size()), "tokenising takes time in proportion to the text");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    fuzz::byte_source      source(data, size);
    const uint8_t          flags = source.byte();
    const uint8_t          limit = source.byte();
    const std::string_view text  = source.rest();
    // An allocation of exactly the text's size: what reads past the end is seen.
    const std::vector<char> exact(text.begin(), text.end());
    const std::string_view  view(exact.data(), exact.size());
    check_normalisation(view);
    check_ids(view, limit);
    check_prompt(view, flags, 1 + limit);
    if ((flags & 0xE0) == 0xE0 && !view.empty()) {
        check_time(view);
    }
    return 0;
}
