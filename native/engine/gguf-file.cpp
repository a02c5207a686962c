// gguf-file: typed access to a checked GGUF header.
//
//   path -> file_handle -> gguf_parser -> keys by name, tensors by name
//   key  -> integer | number | boolean | text | array, or an error that names file, key, what was found and what was expected

#include "gguf-file.h"

#include <cmath>
#include <cstring>

#include "error.h"
#include "gguf-parser.h"
#include "json-writer.h"

namespace gme {

namespace {

bool is_integer(gguf_type type) {
    switch (type) {
        case gguf_type::u8: case gguf_type::i8: case gguf_type::u16: case gguf_type::i16:
        case gguf_type::u32: case gguf_type::i32: case gguf_type::u64: case gguf_type::i64: return true;
        default: return false;
    }
}

template <typename T> T load(const char * from) {
    T value;
    std::memcpy(&value, from, sizeof(T));
    return value;
}

std::string key_field(std::string_view key) {
    return "kv[\"" + std::string(key) + "\"]";
}

}  // namespace

const char * gguf_type_name(gguf_type type) {
    static const char * const names[] = { "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64" };
    return names[static_cast<size_t>(type)];
}

uint64_t gguf_scalar_size(gguf_type type) {
    static const uint64_t sizes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    return sizes[static_cast<size_t>(type)];
}

gguf_file::gguf_file(const std::string & path) : file_(path) {
    gguf_parser(*this).parse();
}

const gguf_tensor * gguf_file::find_tensor(std::string_view name) const {
    const auto found = tensor_index_.find(name);
    return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

const gguf_value * gguf_file::find_key(std::string_view key) const {
    const auto found = key_index_.find(key);
    return found == key_index_.end() ? nullptr : &keys_[found->second].second;
}

int64_t gguf_file::integer_at(gguf_type type, uint64_t at) const {
    const char * from = header_.data() + at;
    switch (type) {
        case gguf_type::u8: return load<uint8_t>(from);
        case gguf_type::i8: return load<int8_t>(from);
        case gguf_type::u16: return load<uint16_t>(from);
        case gguf_type::i16: return load<int16_t>(from);
        case gguf_type::u32: return load<uint32_t>(from);
        case gguf_type::i32: return load<int32_t>(from);
        case gguf_type::u64: return load<uint64_t>(from) > INT64_MAX ? INT64_MAX : load<int64_t>(from);
        default: return load<int64_t>(from);
    }
}

double gguf_file::number_at(gguf_type type, uint64_t at) const {
    const char * from = header_.data() + at;
    return type == gguf_type::f32 ? load<float>(from) : load<double>(from);
}

static error wrong_type(const gguf_file & file, std::string_view key, const gguf_value & value, const std::string & expected) {
    std::string found = gguf_type_name(value.type);
    if (value.type == gguf_type::array) {
        found += std::string(" of ") + gguf_type_name(value.element);
    }
    return error("GME_GGUF_WRONG_TYPE", printable(file.path()) + ": " + std::string(key) + " is " + found + ", expected " + expected)
        .in_file(file.path()).at_field(key_field(key)).at_offset(static_cast<int64_t>(value.key_at)).found(found).wanted(expected);
}

const gguf_value * gguf_file::of_type(std::string_view key, gguf_type type, const char * expected) const {
    const gguf_value * value = find_key(key);
    if (value != nullptr && value->type != type) {
        throw wrong_type(*this, key, *value, expected);
    }
    return value;
}

std::optional<int64_t> gguf_file::find_integer(std::string_view key) const {
    const gguf_value * value = find_key(key);
    if (value == nullptr) {
        return {};
    }
    if (!is_integer(value->type)) {
        throw wrong_type(*this, key, *value, "an integer");
    }
    return integer_at(value->type, value->at);
}

std::optional<double> gguf_file::find_number(std::string_view key) const {
    const gguf_value * value = find_key(key);
    if (value == nullptr) {
        return {};
    }
    if (value->type != gguf_type::f32 && value->type != gguf_type::f64) {
        throw wrong_type(*this, key, *value, "f32");
    }
    return number_at(value->type, value->at);
}

std::optional<bool> gguf_file::find_boolean(std::string_view key) const {
    const gguf_value * value = of_type(key, gguf_type::boolean, "bool");
    return value == nullptr ? std::optional<bool>() : header_[value->at] != 0;
}

std::optional<std::string> gguf_file::find_string(std::string_view key) const {
    const gguf_value * value = of_type(key, gguf_type::string, "string");
    if (value == nullptr) {
        return {};
    }
    const std::string_view text = bytes(value->at, value->count);
    const auto             bad  = [&](const char * code, const std::string & expected) {
        return error(code, printable(path()) + ": " + std::string(key) + " is not " + expected)
            .in_file(path()).at_field(key_field(key)).at_offset(static_cast<int64_t>(value->at)).found(printable(text)).wanted(expected);
    };
    if (!is_utf8(text)) {
        throw bad("GME_GGUF_BAD_UTF8", "UTF-8");
    }
    if (text.find('\0') != std::string_view::npos) {
        throw bad("GME_GGUF_BAD_VALUE", "a text without NUL");
    }
    return std::string(text);
}

std::string_view gguf_file::next_element(uint64_t & at) const {
    const uint64_t room = header_.size() - at;
    const uint64_t size = room < 8 ? room : load<uint64_t>(header_.data() + at);
    if (room < 8 || size > room - 8) {
        // The parser has checked these lengths: they are others now.
        throw error("GME_CHANGED_WHILE_OPEN", printable(path()) + " changed while it was read").in_file(path()).at_offset(static_cast<int64_t>(at));
    }
    const std::string_view text = bytes(at + 8, size);
    at += 8 + size;
    return text;
}

std::optional<std::vector<std::string>> gguf_file::find_strings(std::string_view key) const {
    const gguf_value * value = of_type(key, gguf_type::array, "array of string");
    if (value == nullptr) {
        return {};
    }
    if (value->element != gguf_type::string) {
        throw wrong_type(*this, key, *value, "array of string");
    }
    std::vector<std::string> texts;
    texts.reserve(value->count);
    uint64_t at = value->at;
    for (uint64_t i = 0; i < value->count; i++) {
        texts.emplace_back(next_element(at));
    }
    return texts;
}

std::optional<std::vector<int32_t>> gguf_file::find_integers(std::string_view key) const {
    const gguf_value * value = of_type(key, gguf_type::array, "array of i32");
    if (value == nullptr) {
        return {};
    }
    if (value->element != gguf_type::i32 && value->element != gguf_type::u32) {
        throw wrong_type(*this, key, *value, "array of i32");
    }
    std::vector<int32_t> numbers(value->count);
    if (value->count > 0) {
        std::memcpy(numbers.data(), header_.data() + value->at, value->count * sizeof(int32_t));
    }
    return numbers;
}

std::optional<std::vector<float>> gguf_file::find_numbers(std::string_view key) const {
    const gguf_value * value = of_type(key, gguf_type::array, "array of f32");
    if (value == nullptr) {
        return {};
    }
    if (value->element != gguf_type::f32) {
        throw wrong_type(*this, key, *value, "array of f32");
    }
    std::vector<float> numbers(value->count);
    if (value->count > 0) {
        std::memcpy(numbers.data(), header_.data() + value->at, value->count * sizeof(float));
    }
    return numbers;
}

static error missing_key(const gguf_file & file, std::string_view key) {
    return error("GME_GGUF_MISSING_KEY", printable(file.path()) + ": the key " + std::string(key) + " is missing")
        .in_file(file.path()).at_field(key_field(key)).wanted("a value");
}

int64_t gguf_file::integer(std::string_view key) const {
    const auto value = find_integer(key);
    if (!value) {
        throw missing_key(*this, key);
    }
    return *value;
}

double gguf_file::number(std::string_view key) const {
    const auto value = find_number(key);
    if (!value) {
        throw missing_key(*this, key);
    }
    return *value;
}

std::string gguf_file::string(std::string_view key) const {
    auto value = find_string(key);
    if (!value) {
        throw missing_key(*this, key);
    }
    return *value;
}

void gguf_file::require_whole() const {
    for (const auto & [key, most] : { std::pair("split.count", 1), std::pair("split.no", 0) }) {
        const int64_t found = find_integer(key).value_or(0);
        if (found < 0 || found > most) {
            throw error("GME_MODEL_UNSUPPORTED", printable(path()) + ": the file is one part of a split model; join the parts first (gguf-split --merge)")
                .in_file(path()).at_field(key_field(key)).found(found).wanted("a model in one file");
        }
    }
}

std::string gguf_file::scalar_json(gguf_type type, uint64_t at) const {
    if (type == gguf_type::boolean) {
        return header_[at] != 0 ? "true" : "false";
    }
    if (is_integer(type)) {
        return type == gguf_type::u64 ? std::to_string(load<uint64_t>(header_.data() + at)) : std::to_string(integer_at(type, at));
    }
    return json_number(number_at(type, at));
}

std::string gguf_file::value_json(const gguf_value & value) const {
    const bool     is_array = value.type == gguf_type::array;
    const bool     is_text  = value.type == gguf_type::string;
    const uint64_t shown    = is_array ? 16 : 16 << 10;
    if (value.count > shown) {
        return json_object().add("type", gguf_type_name(is_array ? value.element : value.type)).add("count", static_cast<int64_t>(value.count)).text();
    }
    if (!is_array) {
        return is_text ? json_string(bytes(value.at, value.count)) : scalar_json(value.type, value.at);
    }
    std::string text = "[";
    uint64_t    at   = value.at;
    for (uint64_t i = 0; i < value.count; i++) {
        text += i == 0 ? "" : ",";
        if (value.element == gguf_type::string) {
            text += json_string(next_element(at));
        } else {
            text += scalar_json(value.element, at);
            at += gguf_scalar_size(value.element);
        }
    }
    return text + "]";
}

}  // namespace gme
