// Text from outside on its way into an error's fields.
//
// bytes -> code points -> control, line-breaking and bidirectional characters and malformed bytes escaped -> at most 120 characters,
// the last one an ellipsis where something was cut.
#include "error.h"

#include "utf8.h"

#include <cstdio>

namespace gme {

namespace {

constexpr size_t n_characters_max = 120;

bool needs_escape(uint32_t c) {
    return c < 0x20 || (c >= 0x7F && c <= 0x9F)                                       // C0, DEL, C1
        || c == 0x061C || c == 0x200E || c == 0x200F                                  // bidirectional marks
        || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;  // separators, overrides, isolates
}

std::string escaped(uint32_t c) {
    switch (c) {
        case '\n': return "\\n";
        case '\r': return "\\r";
        case '\t': return "\\t";
        default: break;
    }
    char text[16];
    std::snprintf(text, sizeof text, "\\u{%04X}", c);
    return text;
}

std::string escaped_bytes(std::string_view bytes) {
    std::string text;
    for (const char byte : bytes) {
        char hex[8];
        std::snprintf(hex, sizeof hex, "\\x%02X", static_cast<uint8_t>(byte));
        text += hex;
    }
    return text;
}

}  // namespace

std::string printable(std::string_view bytes) {
    std::string result;
    size_t n_characters = 0;
    size_t size_before_last = 0;  // result's size when it still had room for the ellipsis
    for (size_t pos = 0; pos < bytes.size();) {
        const utf8_code_point cur = utf8_decode(bytes, pos);
        std::string piece(bytes.substr(pos, cur.size));
        size_t n_piece = 1;
        if (!cur.valid || needs_escape(cur.value)) {
            piece   = cur.valid ? escaped(cur.value) : escaped_bytes(piece);
            n_piece = piece.size();
        }
        if (n_characters + n_piece > n_characters_max) {
            result.resize(size_before_last);
            return result + "…";
        }
        result += piece;
        n_characters += n_piece;
        if (n_characters < n_characters_max) {
            size_before_last = result.size();
        }
        pos += cur.size;
    }
    return result;
}

}  // namespace gme
