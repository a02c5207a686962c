// The vocabulary's way into memory.
//
// In: the GGUF file's token strings and types. Per token:
//   normal -> byte-level characters back to bytes -> index of ordinary tokens
//   control, user-defined -> text as it stands -> index of special tokens; unused and the rest -> only checked
// Then: no string twice, all 256 bytes there, the template's special tokens there.
// Out: lookups by bytes and by text. What the file says is never trusted: each mistake is an error that names its entry.
#include "token-table.h"

#include "error.h"
#include "utf8.h"

#include <algorithm>
#include <cstring>

namespace gme {

namespace {

constexpr int32_t type_normal = 1, type_control = 3, type_user_defined = 4, type_first = 1, type_last = 6;
constexpr size_t token_bytes_max = 4096;

struct template_special { std::string_view text; bool required; };
constexpr template_special template_specials[] = {
    {"<|im_start|>", true},      {"<|im_end|>", true},      {"<|endoftext|>", true},
    {"<|vision_start|>", false}, {"<|vision_end|>", false}, {"<|image_pad|>", false},  // a text-only decoder may lack these
};

// GPT-2's map: printable Latin-1 bytes stand for themselves, the 68 others for U+0100, U+0101, …
struct byte_level_map {
    static constexpr uint32_t n_code_points = 256 + 68;
    int16_t byte_of[n_code_points];

    byte_level_map() {
        std::fill_n(byte_of, n_code_points, int16_t{-1});
        uint32_t next = 256;
        for (int16_t byte = 0; byte < 256; ++byte) {
            const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
            byte_of[printable ? static_cast<uint32_t>(byte) : next++] = byte;
        }
    }
};

// Byte-level string -> bytes, at most as many as the string has; false where a character stands for no byte.
bool decode_byte_level(std::string_view text, char * bytes, size_t & n_bytes) {
    static const byte_level_map map;
    n_bytes = 0;
    for (size_t pos = 0; pos < text.size();) {
        const utf8_code_point cur = utf8_decode(text, pos);
        if (!cur.valid || cur.value >= byte_level_map::n_code_points || map.byte_of[cur.value] < 0) {
            return false;
        }
        bytes[n_bytes++] = static_cast<char>(map.byte_of[cur.value]);
        pos += cur.size;
    }
    return true;
}

uint32_t hash_of(std::string_view key) {
    constexpr uint64_t factor = 0x9E3779B97F4A7C15u;
    uint64_t hash = key.size() * factor;
    for (size_t pos = 0; pos < key.size(); pos += 8) {
        uint64_t word = 0;
        std::memcpy(&word, key.data() + pos, std::min<size_t>(8, key.size() - pos));
        hash = (hash ^ word) * factor;
        hash ^= hash >> 29;
    }
    return static_cast<uint32_t>(hash ^ hash >> 32);
}

std::string element(const char * array, size_t i) { return std::string(array) + "[" + std::to_string(i) + "]"; }

[[noreturn]] void fail(const std::string & message, const std::string & field, std::string_view value, const char * expected) {
    throw error("GME_TOKENIZER_BAD", message).at_field(field).found(printable(value)).wanted(expected);
}

}  // namespace

token_index::token_index(size_t n_keys) {
    size_t n_slots = 16;
    while (n_slots < n_keys + n_keys / 2) {
        n_slots *= 2;
    }
    slots.assign(n_slots, slot{nullptr, 0, 0, -1});
    mask = n_slots - 1;
}

size_t token_index::position(std::string_view key, uint32_t hash) const {
    size_t i = hash & mask;
    while (slots[i].id >= 0) {
        const slot & cur = slots[i];
        if (cur.hash == hash && cur.size == key.size() && std::memcmp(cur.data, key.data(), key.size()) == 0) {
            break;
        }
        i = (i + 1) & mask;
    }
    return i;
}

bool token_index::insert(std::string_view key, int32_t id) {
    const uint32_t hash = hash_of(key);
    slot & cur = slots[position(key, hash)];
    if (cur.id >= 0) {
        return false;
    }
    cur = {key.data(), static_cast<uint32_t>(key.size()), hash, id};
    return true;
}

int32_t token_index::find(std::string_view key) const { return slots[position(key, hash_of(key))].id; }

token_table::token_table(const vocabulary & source, std::string_view file)
    : n_vocab(static_cast<int32_t>(source.tokens.size())),
      normal(source.tokens.size()),
      literal(static_cast<size_t>(std::count_if(source.token_types.begin(), source.token_types.end(),
                                                [](int32_t type) { return type != type_normal; }))) {
    try {
        if (source.tokens.empty()) {
            fail("the vocabulary is empty", "tokenizer.ggml.tokens", "0", "at least one token");
        }
        if (source.token_types.size() != source.tokens.size()) {
            fail("the vocabulary has not one type per token", "tokenizer.ggml.token_type", std::to_string(source.token_types.size()),
                 (std::to_string(source.tokens.size()) + " types").c_str());
        }
        size_t n_bytes = 0;
        for (const std::string & token : source.tokens) {
            n_bytes += token.size();
        }
        arena.resize(n_bytes);
        for (size_t i = 0; i < source.tokens.size(); ++i) {
            add_token(source, i);
        }
        std::sort(specials.begin(), specials.end(), [](const special & a, const special & b) { return a.text < b.text; });
        check_literals(source);
        check_bytes();
        check_specials(source);
    } catch (error & bad) {
        throw bad.in_file(file);
    }
}

std::string_view token_table::store(std::string_view bytes) {
    char * target = arena.data() + arena_used;
    std::memcpy(target, bytes.data(), bytes.size());
    arena_used += bytes.size();
    return {target, bytes.size()};
}

void token_table::add_token(const vocabulary & source, size_t i) {
    const std::string & token = source.tokens[i];
    const int32_t type = source.token_types[i];
    if (type < type_first || type > type_last) {
        fail("unknown token type", element("tokenizer.ggml.token_type", i), std::to_string(type), "1…6");
    }
    if (token.empty() || token.size() > token_bytes_max) {
        fail("a token of this size is not possible", element("tokenizer.ggml.tokens", i), std::to_string(token.size()), "1…4096 bytes");
    }
    std::string_view key;
    if (type == type_normal) {
        size_t n_bytes = 0;
        if (!decode_byte_level(token, arena.data() + arena_used, n_bytes)) {
            fail("a token has characters that stand for no byte", element("tokenizer.ggml.tokens", i), token, "byte-level characters");
        }
        key = {arena.data() + arena_used, n_bytes};
        arena_used += n_bytes;
    } else {
        key = store(token);
    }
    if (!(type == type_normal ? normal : literal).insert(key, static_cast<int32_t>(i))) {
        fail("two tokens have the same text", element("tokenizer.ggml.tokens", i), token, "a text of its own");
    }
    if (type == type_control || type == type_user_defined) {
        specials.push_back({key, static_cast<int32_t>(i)});
        special_starts[static_cast<uint8_t>(key[0])] = true;
    }
}

// A special token may not have an ordinary token's text either.
void token_table::check_literals(const vocabulary & source) const {
    for (size_t i = 0; i < source.tokens.size(); ++i) {
        if (source.token_types[i] != type_normal && find_byte_level(source.tokens[i]) >= 0) {
            fail("two tokens have the same text", element("tokenizer.ggml.tokens", i), source.tokens[i], "a text of its own");
        }
    }
}

void token_table::check_bytes() {
    for (int byte = 0; byte < 256; ++byte) {
        const char key = static_cast<char>(byte);
        byte_ids[byte] = normal.find({&key, 1});
        if (byte_ids[byte] < 0) {
            fail("the vocabulary lacks a byte", "tokenizer.ggml.tokens", "no token for byte " + std::to_string(byte), "all 256 bytes");
        }
    }
}

void token_table::check_specials(const vocabulary & source) const {
    for (const template_special & wanted : template_specials) {
        const int32_t id = find_special(wanted.text);
        const bool is_control = id >= 0 && source.token_types[static_cast<size_t>(id)] == type_control;
        const bool is_absent = id < 0 && find_byte_level(wanted.text) < 0 && literal.find(wanted.text) < 0;
        if (!is_control && (wanted.required || !is_absent)) {
            fail("the vocabulary lacks a special token of the prompt", "tokenizer.ggml.tokens",
                 is_absent ? "absent" : "not a control token", std::string(wanted.text).c_str());
        }
    }
}

int32_t token_table::find_byte_level(std::string_view token) const {
    char   bytes[token_bytes_max];
    size_t n_bytes = 0;
    if (token.size() > token_bytes_max || !decode_byte_level(token, bytes, n_bytes)) {
        return -1;
    }
    return find({bytes, n_bytes});
}

int32_t token_table::find_special(std::string_view text) const {
    const auto before = [](const special & a, std::string_view b) { return a.text < b; };
    const auto found = std::lower_bound(specials.begin(), specials.end(), text, before);
    return found != specials.end() && found->text == text ? found->id : -1;
}

token_table::special_match token_table::next_special(std::string_view text, size_t pos) const {
    for (; pos < text.size(); ++pos) {
        if (!special_starts[static_cast<uint8_t>(text[pos])]) {
            continue;
        }
        // narrow the sorted list character by character; the token that ends here, if any, is the first of what is left
        auto begin = specials.begin(), end = specials.end();
        special_match best{-1, pos, 0};
        for (size_t depth = 0; pos + depth < text.size(); ++depth) {
            const auto c = static_cast<int>(static_cast<uint8_t>(text[pos + depth]));
            const auto at = [depth](const special & s) { return depth < s.text.size() ? int{static_cast<uint8_t>(s.text[depth])} : -1; };
            begin = std::partition_point(begin, end, [&](const special & s) { return at(s) < c; });
            end   = std::partition_point(begin, end, [&](const special & s) { return at(s) <= c; });
            if (begin == end) {
                break;
            }
            if (begin->text.size() == depth + 1) {
                best = {begin->id, pos, depth + 1};
            }
        }
        if (best.id >= 0) {
            return best;
        }
    }
    return {-1, text.size(), 0};
}

}  // namespace gme
