// Qwen2's pre-tokenizer, written out as a scanner instead of a regular expression.
//
// In: one run of normalised text. At each position the first alternative that fits, as in
//   (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N} | ?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+
// Out: pieces that cover the run. Each character is looked at a bounded number of times, no recursion, no backtracking.
#include "pre-tokenizer.h"

#include "unicode-tables.h"
#include "utf8.h"

namespace gme {

namespace {

struct character {
    unicode_class kind;
    uint32_t      size;
    char          ascii;  // 0: not ASCII
};

character character_at(std::string_view text, size_t pos) {
    const utf8_code_point cur = utf8_decode(text, pos);
    return {unicode_class_of(cur.value), cur.size, cur.value < 0x80 ? static_cast<char>(cur.value) : '\0'};
}

bool is_newline(char c) { return c == '\n' || c == '\r'; }

size_t skip_class(std::string_view text, size_t pos, unicode_class kind) {
    while (pos < text.size()) {
        const character cur = character_at(text, pos);
        if (cur.kind != kind) {
            break;
        }
        pos += cur.size;
    }
    return pos;
}

size_t skip_newlines(std::string_view text, size_t pos) {
    while (pos < text.size() && is_newline(text[pos])) {
        ++pos;
    }
    return pos;
}

// Bytes of the contraction that `text` begins with, 0 when there is none.
size_t contraction_size(std::string_view text) {
    if (text.size() < 2 || text[0] != '\'') {
        return 0;
    }
    const auto lower = [&](size_t i) { return i < text.size() ? static_cast<char>(text[i] | 0x20) : '\0'; };
    const char c1 = lower(1), c2 = lower(2);
    if (c1 == 's' || c1 == 't' || c1 == 'm' || c1 == 'd') {
        return 2;
    }
    if ((c2 == 'e' && (c1 == 'r' || c1 == 'v')) || (c1 == 'l' && c2 == 'l')) {
        return 3;
    }
    return text.substr(1, 2) == "\xC5\xBF" ? 3 : 0;  // U+017F, the long s, folds to s
}

// A run of white space: up to its last newline; else all but the last character, which goes with the next piece; else all.
size_t space_end(std::string_view text, size_t begin) {
    size_t end = begin, last = begin, newline_end = begin;
    while (end < text.size()) {
        const character cur = character_at(text, end);
        if (cur.kind != unicode_class::space) {
            break;
        }
        last = end;
        end += cur.size;
        if (is_newline(cur.ascii)) {
            newline_end = end;
        }
    }
    if (newline_end > begin) {
        return newline_end;
    }
    return end == text.size() || last == begin ? end : last;
}

}  // namespace

bool pre_tokenizer::next(std::string_view & piece) {
    if (pos == text.size()) {
        return false;
    }
    const size_t end = piece_end();
    piece = text.substr(pos, end - pos);
    pos = end;
    return true;
}

size_t pre_tokenizer::piece_end() const {
    const character first = character_at(text, pos);
    const size_t after = pos + first.size;
    if (first.ascii == '\'') {
        const size_t size = contraction_size(text.substr(pos));
        if (size != 0) {
            return pos + size;
        }
    }
    if (first.kind == unicode_class::letter) {
        return skip_class(text, after, unicode_class::letter);
    }
    if (first.kind == unicode_class::number) {
        return after;
    }
    const bool is_prefix = !is_newline(first.ascii) && after < text.size();
    const unicode_class next_kind = is_prefix ? character_at(text, after).kind : unicode_class::space;
    if (is_prefix && next_kind == unicode_class::letter) {
        return skip_class(text, after, unicode_class::letter);
    }
    if (first.kind == unicode_class::other || (first.ascii == ' ' && next_kind == unicode_class::other)) {
        return skip_newlines(text, skip_class(text, after, unicode_class::other));
    }
    return space_end(text, pos);
}

}  // namespace gme
