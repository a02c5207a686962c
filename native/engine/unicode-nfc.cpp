// NFC, as the reference tokenizer's normaliser does it (Unicode 9.0 tables).
//
// In: the text of one run between special tokens. Most text is already in NFC, so:
//   scan -> nothing to do: the same bytes out
//        -> else cut before each character that cannot join its predecessor -> per segment: decompose -> order marks -> compose
// Out: valid UTF-8 in NFC. Linear in the text, apart from the sort of one segment's marks (n log n).
#include "unicode-nfc.h"

#include "unicode-tables.h"
#include "utf8.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace gme {

namespace {

constexpr uint32_t hangul_base = 0xAC00, hangul_leads = 0x1100, hangul_vowels = 0x1161, hangul_tails = 0x11A7;
constexpr uint32_t n_hangul_leads = 19, n_hangul_vowels = 21, n_hangul_tails = 28;
constexpr uint32_t n_hangul = n_hangul_leads * n_hangul_vowels * n_hangul_tails;

void append_decomposed(std::vector<uint32_t> & segment, uint32_t c) {
    if (c - hangul_base < n_hangul) {
        const uint32_t s = c - hangul_base;
        segment.push_back(hangul_leads + s / (n_hangul_vowels * n_hangul_tails));
        segment.push_back(hangul_vowels + s / n_hangul_tails % n_hangul_vowels);
        if (s % n_hangul_tails != 0) {
            segment.push_back(hangul_tails + s % n_hangul_tails);
        }
        return;
    }
    const unicode_decomposition * end = unicode_decompositions + n_unicode_decompositions;
    const unicode_decomposition * entry = std::lower_bound(
        unicode_decompositions, end, c, [](const unicode_decomposition & a, uint32_t b) { return a.code_point < b; });
    if (entry == end || entry->code_point != c) {
        segment.push_back(c);
        return;
    }
    segment.insert(segment.end(), unicode_decomposed + entry->begin, unicode_decomposed + entry->begin + entry->size);
}

// The character that `first` and `second` compose to, 0 when there is none.
uint32_t composed(uint32_t first, uint32_t second) {
    if (first - hangul_leads < n_hangul_leads && second - hangul_vowels < n_hangul_vowels) {
        return hangul_base + ((first - hangul_leads) * n_hangul_vowels + (second - hangul_vowels)) * n_hangul_tails;
    }
    if (first - hangul_base < n_hangul && (first - hangul_base) % n_hangul_tails == 0 && second - hangul_tails - 1 < n_hangul_tails - 1) {
        return first + (second - hangul_tails);
    }
    const uint64_t key = static_cast<uint64_t>(first) << 32 | second;
    const unicode_composition * end = unicode_compositions + n_unicode_compositions;
    const unicode_composition * entry = std::lower_bound(unicode_compositions, end, key, [](const unicode_composition & a, uint64_t b) {
        return (static_cast<uint64_t>(a.first) << 32 | a.second) < b;
    });
    return entry != end && entry->first == first && entry->second == second ? entry->composite : 0;
}

// Sorts each run of marks by combining class, equal classes in their order.
void order_marks(std::vector<uint32_t> & segment) {
    const auto by_class = [](uint32_t a, uint32_t b) { return unicode_combining_class(a) < unicode_combining_class(b); };
    for (auto begin = segment.begin(); begin != segment.end();) {
        if (unicode_combining_class(*begin) == 0) {
            ++begin;
            continue;
        }
        const auto end = std::find_if(begin, segment.end(), [](uint32_t c) { return unicode_combining_class(c) == 0; });
        if (!std::is_sorted(begin, end, by_class)) {
            std::stable_sort(begin, end, by_class);
        }
        begin = end;
    }
}

// Joins starters with what follows them, in place.
void compose(std::vector<uint32_t> & segment) {
    size_t  n_out = 0;
    size_t  starter = 0;
    bool    has_starter = false;
    uint8_t last_class = 0;  // of the last character kept after the starter
    for (const uint32_t c : segment) {
        const uint8_t ccc = unicode_combining_class(c);
        if (has_starter && (last_class == 0 || last_class < ccc)) {
            const uint32_t joined = composed(segment[starter], c);
            if (joined != 0) {
                segment[starter] = joined;
                continue;
            }
        }
        if (ccc == 0) {
            starter = n_out;
            has_starter = true;
        }
        last_class = ccc;
        segment[n_out++] = c;
    }
    segment.resize(n_out);
}

void flush(std::vector<uint32_t> & segment, std::string & out) {
    if (segment.size() > 1) {
        order_marks(segment);
        compose(segment);
    }
    for (const uint32_t c : segment) {
        utf8_append(out, c);
    }
    segment.clear();
}

size_t ascii_end(std::string_view text, size_t pos) {
    while (pos + 8 <= text.size()) {
        uint64_t word;
        std::memcpy(&word, text.data() + pos, sizeof word);
        if ((word & 0x8080808080808080u) != 0) {
            break;
        }
        pos += 8;
    }
    while (pos < text.size() && static_cast<uint8_t>(text[pos]) < 0x80) {
        ++pos;
    }
    return pos;
}

// Length of the prefix that NFC leaves alone whatever follows: it ends before the last character in front of an active one.
size_t unchanged_prefix(std::string_view text) {
    size_t boundary = 0;
    for (size_t pos = 0; pos < text.size();) {
        const size_t end = ascii_end(text, pos);
        if (end > pos) {
            boundary = end - 1;
            pos = end;
            continue;
        }
        const utf8_code_point cur = utf8_decode(text, pos);
        if (!cur.valid || unicode_nfc_active(cur.value)) {
            return boundary;
        }
        boundary = pos;
        pos += cur.size;
    }
    return text.size();
}

}  // namespace

std::string_view normalize_nfc(std::string_view text, std::string & buffer) {
    size_t pos = unchanged_prefix(text);
    if (pos == text.size()) {
        return text;
    }
    buffer.assign(text.substr(0, pos));
    buffer.reserve(text.size());
    std::vector<uint32_t> segment;
    while (pos < text.size()) {
        const utf8_code_point cur = utf8_decode(text, pos);
        pos += cur.size;
        if (unicode_nfc_active(cur.value)) {
            append_decomposed(segment, cur.value);
            continue;
        }
        flush(segment, buffer);
        // the segment's first character is decomposed only when a second one follows
        const bool followed = pos < text.size() && unicode_nfc_active(utf8_decode(text, pos).value);
        if (followed) {
            append_decomposed(segment, cur.value);
        } else {
            utf8_append(buffer, cur.value);
        }
    }
    flush(segment, buffer);
    return buffer;
}

}  // namespace gme
