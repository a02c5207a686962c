// Hostile texts against the tokenizer: seeded strings over all planes equal to the reference, every code point, linear time.
//
//   test-hostile-text FIXTURES                      the checks; with GME_TEST_LONG=1 at ten times the size
//   test-hostile-text FIXTURES --random FIRST COUNT the seeded strings and their ids, for test/reference/compare_tokenizer.py
#include "engine-model.h"
#include "hostile-text.h"
#include "tokenizer-fixture.h"
#include "unicode-nfc.h"

#include <algorithm>
#include <cstdlib>

#ifdef __linux__
#include <sys/resource.h>
#endif

using checks::check;
using hostile::processor_seconds;
using hostile::time_factor;

namespace {

const bool is_long = std::getenv("GME_TEST_LONG") != nullptr;

std::vector<int32_t> ids_of(const gme::tokenizer & tokenizer, std::string_view text, size_t ids_max = gme::tokenizer::no_limit) {
    std::vector<int32_t> ids;
    tokenizer.tokenize(text, ids, ids_max);
    return ids;
}

std::vector<int32_t> parsed_ids_of(const gme::tokenizer & tokenizer, std::string_view text) {
    std::vector<int32_t> ids;
    tokenizer.tokenize_parsed(text, ids);
    return ids;
}

// FNV-1a over 32-bit sizes and values, little-endian.
class checksum {
  public:
    void add(std::string_view bytes) {
        add_word(static_cast<uint32_t>(bytes.size()));
        for (const char byte : bytes) {
            step(static_cast<uint8_t>(byte));
        }
    }
    void add(const std::vector<int32_t> & ids) {
        add_word(static_cast<uint32_t>(ids.size()));
        for (const int32_t id : ids) {
            add_word(static_cast<uint32_t>(id));
        }
    }
    std::string hex() const {
        char text[17];
        std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(state));
        return text;
    }

  private:
    uint64_t state = 0xCBF29CE484222325u;

    void step(uint8_t byte) { state = (state ^ byte) * 0x100000001B3u; }
    void add_word(uint32_t word) {
        for (int i = 0; i < 4; ++i) {
            step(static_cast<uint8_t>(word >> 8 * i));
        }
    }
};

// The bytes that ordinary tokens stand for.
class decoder {
  public:
    explicit decoder(const gme::vocabulary & source) : vocabulary(source) {
        for (int byte = 0, next = 256; byte < 256; ++byte) {
            const bool is_visible = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
            byte_of[is_visible ? byte : next++] = static_cast<char>(byte);
        }
    }
    std::string decode(const std::vector<int32_t> & ids) const {
        std::string bytes;
        for (const int32_t id : ids) {
            const std::string & token = vocabulary.tokens.at(static_cast<size_t>(id));
            for (size_t pos = 0; pos < token.size();) {
                const gme::utf8_code_point cur = gme::utf8_decode(token, pos);
                bytes += byte_of[cur.value % 324];
                pos += cur.size;
            }
        }
        return bytes;
    }

  private:
    const gme::vocabulary & vocabulary;
    char byte_of[324] = {};
};

int32_t first_special_of(const gme::vocabulary & vocabulary) {
    const auto first = std::find(vocabulary.token_types.begin(), vocabulary.token_types.end(), 3);
    return static_cast<int32_t>(first - vocabulary.token_types.begin());
}

bool is_plain(const std::vector<int32_t> & ids, int32_t first_special) {
    return std::all_of(ids.begin(), ids.end(), [=](int32_t id) { return id >= 0 && id < first_special; });
}

void write_record(const void * data, size_t n, size_t size) {
    const auto count = static_cast<uint32_t>(n);
    std::fwrite(&count, sizeof count, 1, stdout);
    std::fwrite(data, size, n, stdout);
}

void write_random(const gme::tokenizer & tokenizer, uint64_t first, uint64_t count) {
    for (uint64_t i = first; i < first + count; ++i) {
        const std::string text = hostile::random_text(i);
        const auto parsed = parsed_ids_of(tokenizer, text), plain = ids_of(tokenizer, text);
        write_record(text.data(), text.size(), 1);
        write_record(parsed.data(), parsed.size(), sizeof(int32_t));
        write_record(plain.data(), plain.size(), sizeof(int32_t));
    }
}

// T15, T21, T22: the reference's ids are there as checksums of a thousand strings each.
void check_random(const gme::tokenizer & tokenizer, const gme::vocabulary & vocabulary, const std::string & path) {
    const json::value file = json::parse_file(path);
    const auto n_chunk = static_cast<uint64_t>(file["chunk"].integer());
    const int32_t first_special = first_special_of(vocabulary);
    const decoder bytes(vocabulary);
    const double start = processor_seconds();
    uint64_t index = 0, n_special = 0;
    size_t n_texts_equal = 0, n_parsed_equal = 0, n_plain_equal = 0, n_decoded = 0, n_ordinary = 0;
    std::string buffer;
    for (const json::value & chunk : file["chunks"].items) {
        checksum texts, parsed, plain;
        for (const uint64_t end = index + n_chunk; index < end; ++index) {
            const std::string text = hostile::random_text(index);
            const auto parsed_ids = parsed_ids_of(tokenizer, text), plain_ids = ids_of(tokenizer, text);
            texts.add(text);
            parsed.add(parsed_ids);
            plain.add(plain_ids);
            n_special += !is_plain(parsed_ids, first_special);
            n_ordinary += is_plain(plain_ids, first_special);
            n_decoded += bytes.decode(plain_ids) == gme::normalize_nfc(text, buffer);
        }
        n_texts_equal += texts.hex() == chunk["texts"].text;
        n_parsed_equal += parsed.hex() == chunk["parsed"].text;
        n_plain_equal += plain.hex() == chunk["plain"].text;
    }
    const size_t n_chunks = file["chunks"].items.size();
    const std::string of_all = " of " + std::to_string(index);
    check(n_chunks >= 20 && n_texts_equal == n_chunks, "T21 the seeded strings are those whose ids the reference gave");
    check(n_parsed_equal == n_chunks, "T21 random strings over all planes have the reference tokenizer's ids in parse mode");
    check(n_plain_equal == n_chunks, "T21 random strings over all planes have the reference tokenizer's ids as plain text");
    check(n_ordinary == index && n_special > index / 50, "T15 random mixes with special strings in plain text give ids below the first special one");
    check(n_decoded == index, "T22 ids of random strings decode to the bytes of their normal form");
    std::printf("# T21: %zu%s strings equal to tokenizers %s in both modes, %.1f s with decoding\n", n_parsed_equal * n_chunk, of_all.c_str(),
                file["tokenizers"].text.c_str(), processor_seconds() - start);
    std::printf("# T15: %zu%s strings without a special id, %zu of them with a special string in them\n", n_ordinary, of_all.c_str(), size_t(n_special));
    std::printf("# T22: %zu%s strings decoded byte for byte\n", n_decoded, of_all.c_str());
}

// T04, T20, T28, T22: a text of each code point.
void check_every_code_point(const gme::tokenizer & tokenizer, const gme::vocabulary & vocabulary) {
    const int32_t first_special = first_special_of(vocabulary);
    const decoder bytes(vocabulary);
    const double start = processor_seconds();
    size_t n = 0, n_good = 0;
    std::string text, buffer;
    for (uint32_t value = 0; value < 0x110000; ++value) {
        if (value >= 0xD800 && value < 0xE000) {
            continue;
        }
        text.clear();
        gme::utf8_append(text, value);
        const auto ids = ids_of(tokenizer, text);
        ++n;
        n_good += !ids.empty() && ids.size() <= 12 && is_plain(ids, first_special) && bytes.decode(ids) == gme::normalize_nfc(text, buffer);
    }
    check(n == 1112064 && n_good == n, "T28 each code point as a text of its own has ordinary ids that decode to it");
    std::printf("# T28: %zu code points tokenised and decoded in %.1f s\n", n_good, processor_seconds() - start);
    bool decoded = true;
    for (const char * special : {"\uFEFFa", "\uFFFE", "\uFFFF", "\uFDD0\uFDEF", "\U0001FFFE", "\U0010FFFF", "\uE000\uF8FF", "\U000E0001", "\u0378"}) {
        decoded = decoded && bytes.decode(ids_of(tokenizer, special)) == special;
    }
    check(decoded, "T04 byte order marks, noncharacters, private and unassigned characters are text");
}

double seconds_of(const gme::tokenizer & tokenizer, const std::string & text, size_t & n_ids) {
    double seconds = 0;
    hostile::run_on_small_stack([&] {
        const double start = processor_seconds();
        n_ids = parsed_ids_of(tokenizer, text).size();
        seconds = processor_seconds() - start;
    });
    return seconds;
}

// T10, T11, T12, T19: ten times the text takes about ten times as long; quadratic work would take a hundred times.
void check_linear(const gme::tokenizer & tokenizer) {
    constexpr double ratio_max = 40;
    const size_t n_large = is_long ? 10000000 : 1000000, n_small = n_large / 10;
    struct { std::string id; double ratio = 0, seconds_per_megabyte = 0; size_t n = 0; } worst[4];
    for (const hostile::long_text & kind : hostile::long_texts()) {
        const std::string small = kind.make(n_small), large = kind.make(n_large);
        size_t n_ids_small = 0, n_ids = 0;
        double small_seconds = 1e9;
        for (int i = 0; i < 3; ++i) {
            small_seconds = std::min(small_seconds, seconds_of(tokenizer, small, n_ids_small));
        }
        const double seconds = seconds_of(tokenizer, large, n_ids);
        const double ratio = seconds / std::max(small_seconds, 0.0005);
        const double per_megabyte = seconds / (static_cast<double>(large.size()) / 1e6);
        char title[160];
        std::snprintf(title, sizeof title, "%s: %zu MB in %.0f ms, %.1f times as long as a tenth of it", kind.title, n_large / 1000000, seconds * 1e3, ratio);
        const double limit = kind.title[1] == '1' && kind.title[2] == '9' ? 2 : 1;
        check(n_ids > n_ids_small && n_ids_small > 0 && ratio <= ratio_max && per_megabyte <= limit * time_factor, title);
        const std::string id(kind.title, 3);
        for (auto & cur : worst) {
            if (cur.id.empty() || cur.id == id) {
                cur.id = id;
                cur.ratio = std::max(cur.ratio, ratio);
                cur.seconds_per_megabyte = std::max(cur.seconds_per_megabyte, per_megabyte);
                ++cur.n;
                break;
            }
        }
    }
    for (const auto & cur : worst) {
        std::printf("# %s: %zu kinds of text on 256 KiB of stack, worst %.2f s per MB at %zu MB, worst ratio to a tenth of it %.1f\n", cur.id.c_str(), cur.n,
                    cur.seconds_per_megabyte, n_large / 1000000, cur.ratio);
    }
}

// T12: only as much of an endless piece is read as the wanted ids can reach.
void check_limit(const gme::tokenizer & tokenizer) {
    size_t n_equal = 0, n = 0;
    for (const hostile::long_text & kind : hostile::long_texts()) {
        const std::string text = kind.make(200000);
        const auto whole = ids_of(tokenizer, text);
        for (const size_t limit : {1, 2, 17, 100, 333}) {
            const auto some = ids_of(tokenizer, text, limit);
            ++n;
            n_equal += some.size() >= limit && std::equal(some.begin(), some.end(), whole.begin());
        }
    }
    check(n_equal == n, "T12 the first ids of a long piece are those of the whole, however few are wanted");
    const std::string text(10000000, 'Z');
    const double start = processor_seconds();
    const size_t n_ids = ids_of(tokenizer, text, 1000).size();
    const double seconds = processor_seconds() - start;
    check(n_ids == 1000 && seconds <= 0.5 * time_factor, "T12 1,000 ids of a piece of 10 MB do not cost its whole length");
    std::printf("# T12: %zu of %zu cut pieces begin as the whole; 1,000 ids of a 10 MB piece in %.0f ms\n", n_equal, n, seconds * 1e3);
}

// T31: the address space ends inside byte-pair encoding of one piece, and again inside normalisation.
void check_out_of_memory(const std::string & model_path) {
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    engine::model model(model_path);
    const std::string words = hostile::repeated("some words, ", 1000), piece(4000000, 'q');
    const std::string marks = hostile::repeated("e\u0301", 4000000);
    const auto ids_through_c = [&](const std::string & text, std::string & code) {
        int32_t *   ids   = nullptr;
        size_t      n     = 0;
        gme_error * error = nullptr;
        if (gme_tokenize(model.handle, {text.data(), text.size()}, false, &ids, &n, &error) != GME_STATUS_OK) {
            code = error->code;
            gme_error_free(error);
        }
        std::vector<int32_t> result(ids, ids + n);
        gme_ids_free(ids);
        return result;
    };
    std::string good;
    const auto before = ids_through_c(words, good);
    struct rlimit old;
    getrlimit(RLIMIT_AS, &old);
    long n_pages = 0;
    if (FILE * file = std::fopen("/proc/self/statm", "r")) {
        check(std::fscanf(file, "%ld", &n_pages) == 1, "the size of the address space is known");
        std::fclose(file);
    }
    const struct rlimit tight = {static_cast<rlim_t>(n_pages) * 4096 + (8u << 20), old.rlim_max};
    std::string codes[2];
    setrlimit(RLIMIT_AS, &tight);
    ids_through_c(piece, codes[0]);
    ids_through_c(marks, codes[1]);
    setrlimit(RLIMIT_AS, &old);
    check(codes[0] == "GME_OUT_OF_MEMORY" && codes[1] == "GME_OUT_OF_MEMORY", "T31 a text that memory does not suffice for rejects with GME_OUT_OF_MEMORY");
    check(good.empty() && !before.empty() && ids_through_c(words, good) == before && good.empty(), "T31 the tokenizer works as before when there is memory again");
    const auto n_refused = std::count(codes, codes + 2, "GME_OUT_OF_MEMORY");
    std::printf("# T31: %d of 2 texts refused with GME_OUT_OF_MEMORY under a limit of the address space, the next one tokenised\n", int(n_refused));
#else
    std::printf("not run with %s: a limit of the address space needs Linux and no sanitizer\n", model_path.c_str());
#endif
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string fixtures = argc > 1 ? argv[1] : "test/fixtures";
    try {
        if (argc < 5) {
            check_out_of_memory(fixtures + "/gguf/tiny-a-f32.gguf");  // first: memory that was freed before would be used again
        }
        const gme::vocabulary vocabulary = fixture::read_vocabulary(fixtures + "/tokenizer/tokenizer.json", 279);
        const gme::tokenizer tokenizer(vocabulary, "full.gguf");
        if (argc == 5 && std::string_view(argv[2]) == "--random") {
            write_random(tokenizer, std::strtoull(argv[3], nullptr, 10), std::strtoull(argv[4], nullptr, 10));
            return 0;
        }
        check_random(tokenizer, vocabulary, fixtures + "/more/tokenizer-random.json");
        check_every_code_point(tokenizer, vocabulary);
        check_limit(tokenizer);
        check_linear(tokenizer);
    } catch (const std::exception & unexpected) {
        check(false, std::string("no unexpected exception: ") + unexpected.what());
    }
    return checks::result();
}
