// Text to ids.
//
// In: UTF-8 text.
//   parsed mode only: cut at special strings, on the text as it came -> per run:
//   NFC -> pre-tokenizer: pieces -> a piece that is a token -> its id
//                                -> else byte-pair encoding
// Out: ids. Time is linear in the text but for n log n inside one piece; memory is a few times the longest piece.
#include "tokenizer.h"

#include "error.h"
#include "pre-tokenizer.h"
#include "unicode-nfc.h"

#include <algorithm>
#include <string>

namespace gme {

namespace {

constexpr size_t  n_ids_beyond = 64;  // tokens behind the last wanted one that are looked at, so that it ends where it does in the whole
constexpr size_t  text_bytes_max = size_t{1} << 30;  // NFC may triple a text; positions inside a piece are 32 bit
constexpr uint8_t whole_unknown = 0, whole_yes = 1, whole_no = 2;

void check_size(std::string_view text) {
    if (text.size() > text_bytes_max) {
        throw error("GME_TEXT_TOO_LONG", "the text is too long to be tokenised")
            .at_field("text").found(static_cast<int64_t>(text.size())).wanted("at most 1073741824 bytes");
    }
}

}  // namespace

tokenizer::tokenizer(const vocabulary & source, std::string_view file)
    : table(source, file), pairs(source.merges.size()), whole(new std::atomic<uint8_t>[source.tokens.size()]) {
    for (size_t i = 0; i < source.tokens.size(); ++i) {
        whole[i].store(whole_unknown, std::memory_order_relaxed);
    }
    add_merges(source, file);
}

void tokenizer::add_merges(const vocabulary & source, std::string_view file) {
    std::string joined;
    for (size_t i = 0; i < source.merges.size(); ++i) {
        const std::string_view merge = source.merges[i];
        const auto fail = [&](const char * message, const char * expected) {
            throw error("GME_TOKENIZER_BAD", message)
                .in_file(file).at_field("tokenizer.ggml.merges[" + std::to_string(i) + "]").found(printable(merge)).wanted(expected);
        };
        const size_t space = merge.find(' ');
        const bool is_pair = space != std::string_view::npos && space > 0 && space + 1 < merge.size();
        if (!is_pair || merge.find(' ', space + 1) != std::string_view::npos) {
            fail("a merge is not two tokens", "two tokens with one space between");
        }
        joined.assign(merge.substr(0, space)).append(merge.substr(space + 1));
        const int32_t left = table.find_byte_level(merge.substr(0, space));
        const int32_t right = table.find_byte_level(merge.substr(space + 1));
        const int32_t result = table.find_byte_level(joined);
        if (left < 0 || right < 0 || result < 0) {
            fail(result < 0 && left >= 0 && right >= 0 ? "a merge makes a token that the vocabulary lacks" : "a merge joins unknown tokens",
                 "ordinary tokens of the vocabulary");
        }
        if (!pairs.add_merge(left, right, result)) {
            fail("a merge is there twice", "each merge once");
        }
        token_bytes_max = std::max(token_bytes_max, joined.size());  // in byte-level characters, of one or two bytes each: never too few
    }
}

void tokenizer::tokenize_piece(std::string_view piece, byte_pair_encoding::scratch & memory, std::vector<int32_t> & ids) const {
    const int32_t id = table.find(piece);
    if (id >= 0 && whole[static_cast<size_t>(id)].load(std::memory_order_relaxed) == whole_yes) {
        ids.push_back(id);
        return;
    }
    const size_t n_before = ids.size();
    pairs.encode(piece, [this](uint8_t byte) { return table.byte_id(byte); }, memory, ids);
    if (id >= 0) {
        const bool is_whole = ids.size() == n_before + 1 && ids.back() == id;
        whole[static_cast<size_t>(id)].store(is_whole ? whole_yes : whole_no, std::memory_order_relaxed);
    }
}

void tokenizer::tokenize(std::string_view utf8, std::vector<int32_t> & ids, size_t ids_max) const {
    check_size(utf8);
    const size_t n_before = ids.size();
    std::string buffer;
    pre_tokenizer pieces(normalize_nfc(utf8, buffer));
    byte_pair_encoding::scratch memory;
    std::string_view piece;
    while (ids.size() - n_before < ids_max && pieces.next(piece)) {
        const size_t n_bytes = bytes_needed(ids_max - (ids.size() - n_before));
        tokenize_piece(piece.substr(0, n_bytes), memory, ids);
        if (piece.size() > n_bytes) {
            ids.resize(std::min(ids.size(), n_before + ids_max));  // what follows was read up to an end that the text does not have
        }
    }
}

size_t tokenizer::bytes_needed(size_t n_ids) const {
    return n_ids < text_bytes_max ? (n_ids + n_ids_beyond) * token_bytes_max : no_limit;
}

void tokenizer::tokenize_parsed(std::string_view utf8, std::vector<int32_t> & ids, size_t ids_max) const {
    check_size(utf8);
    const size_t n_before = ids.size();
    for (size_t pos = 0; pos < utf8.size() && ids.size() - n_before < ids_max;) {
        const token_table::special_match match = table.next_special(utf8, pos);
        tokenize(utf8.substr(pos, match.begin - pos), ids, ids_max - (ids.size() - n_before));
        if (match.id >= 0 && ids.size() - n_before < ids_max) {
            ids.push_back(match.id);
        }
        pos = match.begin + match.size;
    }
}

}  // namespace gme
