// json-writer: values -> JSON text.
//
// Strings come from files and are not trusted: control characters are escaped and bytes that are not UTF-8 are replaced,
// so that the text always parses.

#include "json-writer.h"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace gme {

namespace {

// Length of the well-formed UTF-8 sequence at `at`, 0 when there is none.
size_t sequence_length(std::string_view text, size_t at) {
    const auto   byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
    const auto   tail = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
    const auto   lead = byte(at);
    if (lead < 0x80) return 1;
    if (lead >= 0xC2 && lead < 0xE0) return tail(at + 1) ? 2 : 0;
    if (lead >= 0xE0 && lead < 0xF0) {
        const auto next = byte(at + 1);
        const bool good = (lead != 0xE0 || next >= 0xA0) && (lead != 0xED || next < 0xA0);
        return good && tail(at + 1) && tail(at + 2) ? 3 : 0;
    }
    if (lead >= 0xF0 && lead < 0xF5) {
        const auto next = byte(at + 1);
        const bool good = (lead != 0xF0 || next >= 0x90) && (lead != 0xF4 || next < 0x90);
        return good && tail(at + 1) && tail(at + 2) && tail(at + 3) ? 4 : 0;
    }
    return 0;
}

}  // namespace

std::string json_string(std::string_view text) {
    std::string out = "\"";
    for (size_t i = 0; i < text.size();) {
        const size_t n = sequence_length(text, i);
        const auto   c = static_cast<unsigned char>(text[i]);
        if (n == 0) {
            out += "\\ufffd";
            i++;
            continue;
        }
        if (c == '"' || c == '\\') {
            out += '\\';
            out += static_cast<char>(c);
        } else if (c < 0x20 || c == 0x7F) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", c);
            out += escape;
        } else {
            out += text.substr(i, n);
        }
        i += n;
    }
    return out + "\"";
}

std::string json_number(double number) {
    if (!std::isfinite(number)) {
        return "null";
    }
    char       text[32];
    const auto end = std::to_chars(text, text + sizeof text, number);
    return std::string(text, end.ptr);
}

json_object & json_object::add_json(std::string_view key, std::string_view json) {
    body_ += body_.size() == 1 ? "" : ",";
    body_ += json_string(key);
    body_ += ':';
    body_ += json;
    return *this;
}

}  // namespace gme
