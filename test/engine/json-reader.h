// A reader for the fixtures' JSON: whole documents, numbers as double, no recursion limit beyond the fixtures' needs.
#pragma once

#include "utf8.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace json {

struct value {
    enum kind { null, boolean, number, string, array, object } type = null;
    bool        flag = false;
    double      real = 0;
    std::string text;
    std::vector<value> items;                            // array
    std::vector<std::pair<std::string, value>> members;  // object, in the file's order

    const value * find(std::string_view key) const {
        for (const auto & member : members) {
            if (member.first == key) {
                return &member.second;
            }
        }
        return nullptr;
    }
    const value & operator[](std::string_view key) const {
        const value * found = find(key);
        if (found == nullptr) {
            throw std::runtime_error("JSON: no member " + std::string(key));
        }
        return *found;
    }
    int32_t integer() const { return static_cast<int32_t>(real); }
    bool is_null() const { return type == null; }
};

class reader {
  public:
    explicit reader(std::string_view source) : text(source) {}

    value document() {
        value result = any();
        space();
        if (pos != text.size()) {
            fail();
        }
        return result;
    }

  private:
    std::string_view text;
    size_t pos = 0;

    [[noreturn]] void fail() const { throw std::runtime_error("JSON: malformed at byte " + std::to_string(pos)); }
    char peek() const { return pos < text.size() ? text[pos] : '\0'; }
    void space() { pos = std::min(text.find_first_not_of(" \t\r\n", pos), text.size()); }
    bool take(char c) {
        space();
        const bool found = peek() == c;
        pos += found;
        return found;
    }
    void expect(char c) {
        if (!take(c)) {
            fail();
        }
    }
    bool take_word(std::string_view word) {
        const bool found = text.substr(pos, word.size()) == word;
        pos += found ? word.size() : 0;
        return found;
    }

    value any() {
        space();
        value result;
        switch (peek()) {
            case '{': object_of(result); return result;
            case '[': array_of(result); return result;
            case '"': result.type = value::string; result.text = quoted(); return result;
            default: break;
        }
        if (take_word("null")) {
            return result;
        }
        if (take_word("true") || take_word("false")) {
            result.type = value::boolean;
            result.flag = text[pos - 2] == 'u';
            return result;
        }
        const std::string digits(text.substr(pos, text.find_first_not_of("+-.eE0123456789", pos) - pos));
        char * end = nullptr;
        result.type = value::number;
        result.real = std::strtod(digits.c_str(), &end);
        if (digits.empty() || *end != '\0') {
            fail();
        }
        pos += digits.size();
        return result;
    }

    void array_of(value & result) {
        result.type = value::array;
        expect('[');
        while (!take(']')) {
            if (!result.items.empty()) {
                expect(',');
            }
            result.items.push_back(any());
        }
    }

    void object_of(value & result) {
        result.type = value::object;
        expect('{');
        while (!take('}')) {
            if (!result.members.empty()) {
                expect(',');
            }
            space();
            std::string key = quoted();
            expect(':');
            result.members.emplace_back(std::move(key), any());
        }
    }

    uint32_t hex4() {
        if (pos + 4 > text.size()) {
            fail();
        }
        const uint32_t unit = static_cast<uint32_t>(std::strtoul(std::string(text.substr(pos, 4)).c_str(), nullptr, 16));
        pos += 4;
        return unit;
    }

    std::string quoted() {
        expect('"');
        std::string result;
        while (peek() != '"') {
            const size_t end = text.find_first_of("\"\\", pos);
            if (end == std::string_view::npos) {
                fail();
            }
            result.append(text.substr(pos, end - pos));
            pos = end;
            if (peek() == '\\') {
                ++pos;
                escape(result);
            }
        }
        ++pos;
        return result;
    }

    void escape(std::string & result) {
        static constexpr std::string_view names = "bfnrt", values = "\b\f\n\r\t";
        const char c = peek();
        ++pos;
        if (c != 'u') {
            const size_t i = names.find(c);
            result += i == std::string_view::npos ? c : values[i];
            return;
        }
        uint32_t unit = hex4();
        if (unit >= 0xD800 && unit < 0xDC00 && text.substr(pos, 2) == "\\u") {
            pos += 2;
            unit = 0x10000 + (((unit - 0xD800) << 10) | (hex4() - 0xDC00));
        }
        gme::utf8_append(result, unit);
    }
};

inline std::string read_file(const std::string & path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        throw std::runtime_error("cannot open " + path);
    }
    return {std::istreambuf_iterator<char>(file), {}};
}

inline value parse(std::string_view text) { return reader(text).document(); }
inline value parse_file(const std::string & path) { return parse(read_file(path)); }

}  // namespace json
