// json-writer: values -> JSON text.
//
// Strings come from files and are not trusted: control characters are escaped and bytes that are not UTF-8 are replaced,
// so that the text always parses.

#include "json-writer.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "utf8.h"

namespace gme {

std::string json_string(std::string_view text) {
    std::string out = "\"";
    for (size_t i = 0; i < text.size();) {
        const utf8_code_point point = utf8_decode(text, i);
        const auto            c     = static_cast<unsigned char>(text[i]);
        if (!point.valid) {
            out += "\\ufffd";
        } else if (c == '"' || c == '\\') {
            out += '\\';
            out += static_cast<char>(c);
        } else if (c < 0x20 || c == 0x7F) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", c);
            out += escape;
        } else {
            out += text.substr(i, point.size);
        }
        i += point.size;
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
