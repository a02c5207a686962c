// The decoder's tokenizer: byte-level BPE with Qwen2's pre-tokenizer, equal to Hugging Face `tokenizers` 0.23.3.
#pragma once

#include "byte-pair-encoding.h"
#include "token-table.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace gme {

// Immutable after construction as far as results go; any number of threads may tokenise at once.
class tokenizer {
  public:
    static constexpr size_t no_limit = SIZE_MAX;

    // Throws GME_TOKENIZER_BAD with `file` and the offending entry (tokenizer.ggml.tokens[i], tokenizer.ggml.merges[i], …).
    tokenizer(const vocabulary & source, std::string_view file);

    // Appends the ids of plain text: one run, special strings are ordinary text. Stops between two pieces of the run once at least
    // ids_max were appended; these are then the first ids of the whole. A piece that alone has more bytes than so many of the longest
    // tokens can have is read as far as they reach, so that memory follows ids_max and not the text. Throws GME_TEXT_TOO_LONG above 1 GiB.
    void tokenize(std::string_view utf8, std::vector<int32_t> & ids, size_t ids_max = no_limit) const;

    // The same with special strings as their ids: leftmost, longest match on the text as it came; the runs between are tokenised alone.
    void tokenize_parsed(std::string_view utf8, std::vector<int32_t> & ids, size_t ids_max = no_limit) const;

    int32_t special_id(std::string_view text) const { return table.find_special(text); }  // control or user-defined token, -1: absent
    int32_t n_vocab() const { return table.n_tokens(); }

  private:
    token_table        table;
    byte_pair_encoding pairs;
    size_t             token_bytes_max = 1;  // of the tokens that merges can make
    // [n_vocab] does BPE of this token's own bytes give the token? Found out when a piece first asks; only saves work.
    std::unique_ptr<std::atomic<uint8_t>[]> whole;

    size_t bytes_needed(size_t n_ids) const;
    void add_merges(const vocabulary & source, std::string_view file);
    void tokenize_piece(std::string_view piece, byte_pair_encoding::scratch & memory, std::vector<int32_t> & ids) const;
};

}  // namespace gme
