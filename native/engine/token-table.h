// The vocabulary of a GGUF file, checked and indexed: bytes -> id for ordinary tokens, text -> id for special ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gme {

// As GGUF stores it: ordinary tokens and merges are byte-level strings (GPT-2's map of bytes to printable characters).
struct vocabulary {
    std::vector<std::string> tokens;
    std::vector<int32_t>     token_types;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
    std::vector<std::string> merges;       // "left right", most frequent first
};

// Open-addressing table of strings it does not own.
class token_index {
  public:
    explicit token_index(size_t n_keys);
    bool    insert(std::string_view key, int32_t id);  // false: the key is there already
    int32_t find(std::string_view key) const;          // -1: absent

  private:
    struct slot { const char * data; uint32_t size; uint32_t hash; int32_t id; };
    std::vector<slot> slots;
    size_t mask;

    size_t position(std::string_view key, uint32_t hash) const;  // of the key, or of the free slot it would take
};

class token_table {
  public:
    // Throws GME_TOKENIZER_BAD naming the entry: empty, repeated or not byte-level tokens, types out of range, a missing byte or special.
    token_table(const vocabulary & source, std::string_view file);

    int32_t find(std::string_view bytes) const { return normal.find(bytes); }  // ordinary token by its bytes, -1: absent
    int32_t find_byte_level(std::string_view token) const;                    // ordinary token by its GGUF string, -1: absent
    int32_t find_special(std::string_view text) const;                        // control or user-defined token, -1: absent
    int32_t byte_id(uint8_t byte) const { return byte_ids[byte]; }
    int32_t n_tokens() const { return n_vocab; }

    struct special_match { int32_t id; size_t begin; size_t size; };  // id -1: none
    // Leftmost, then longest special token at or after `pos`.
    special_match next_special(std::string_view text, size_t pos) const;

  private:
    struct special { std::string_view text; int32_t id; };

    int32_t              n_vocab;
    std::vector<char>    arena;  // the tokens' bytes; sized once, so that views into it stay valid
    size_t               arena_used = 0;
    token_index          normal;
    token_index          literal;
    std::vector<special> specials;  // sorted by text
    bool                 special_starts[256] = {};
    int32_t              byte_ids[256];

    std::string_view store(std::string_view bytes);
    void add_token(const vocabulary & source, size_t i);
    void check_literals(const vocabulary & source) const;
    void check_bytes();
    void check_specials(const vocabulary & source) const;
};

}  // namespace gme
