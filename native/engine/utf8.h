// UTF-8 in and out, one code point at a time.
//
// bytes -> code points; each maximal malformed sequence -> U+FFFD, as TextDecoder does. Never reads past the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gme {

inline constexpr uint32_t replacement_character = 0xFFFD;

struct utf8_code_point {
    uint32_t value;
    uint32_t size;   // bytes read, at least 1
    bool     valid;  // false: value is U+FFFD
};

inline bool utf8_is_continuation(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

// The code point at `pos`, which must be inside the text.
inline utf8_code_point utf8_decode(std::string_view text, size_t pos) {
    const uint8_t lead = static_cast<uint8_t>(text[pos]);
    if (lead < 0x80) {
        return {lead, 1, true};
    }
    const uint32_t length = lead >= 0xC2 && lead <= 0xDF ? 2 : lead >= 0xE0 && lead <= 0xEF ? 3 : lead >= 0xF0 && lead <= 0xF4 ? 4 : 1;
    if (length == 1) {
        return {replacement_character, 1, false};
    }
    // the second byte's range rules out overlong forms, surrogates and values above U+10FFFF
    const uint8_t low  = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    uint32_t value = lead & (0xFFu >> (length + 1));
    for (uint32_t i = 1; i < length; ++i) {
        const uint8_t byte = pos + i < text.size() ? static_cast<uint8_t>(text[pos + i]) : 0;
        if (byte < (i == 1 ? low : 0x80) || byte > (i == 1 ? high : 0xBF)) {
            return {replacement_character, i, false};
        }
        value = value << 6 | (byte & 0x3F);
    }
    return {value, length, true};
}

inline void utf8_append(std::string & text, uint32_t value) {
    if (value < 0x80) {
        text += static_cast<char>(value);
        return;
    }
    if (value < 0x800) {
        text += static_cast<char>(0xC0 | value >> 6);
    } else {
        if (value < 0x10000) {
            text += static_cast<char>(0xE0 | value >> 12);
        } else {
            text += static_cast<char>(0xF0 | value >> 18);
            text += static_cast<char>(0x80 | (value >> 12 & 0x3F));
        }
        text += static_cast<char>(0x80 | (value >> 6 & 0x3F));
    }
    text += static_cast<char>(0x80 | (value & 0x3F));
}

}  // namespace gme
