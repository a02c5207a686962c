// Everything the reader makes of a file as text, so that another reader's answer can be laid beside it (test/hostile/gguf-oracle.test.ts).
//
//   key NAME TYPE[:ELEMENT] COUNT BYTES…   bytes as hexadecimal digits, those of an array's strings apart
//   tensor NAME TYPE SIDES OFFSET SIZE
#pragma once

#include "gguf-file.h"
#include "tensor-types.h"

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

namespace gguf_dump {

inline std::string hexadecimal(std::string_view bytes) {
    static const char digits[] = "0123456789abcdef";
    std::string       text;
    text.reserve(bytes.size() * 2);
    for (const char byte : bytes) {
        text += digits[static_cast<unsigned char>(byte) >> 4];
        text += digits[static_cast<unsigned char>(byte) & 15];
    }
    return text;
}

inline std::string value_text(const gme::gguf_file & file, const gme::gguf_value & value) {
    const auto        bytes = [&](uint64_t at, uint64_t n) { return hexadecimal(file.header().substr(at, n)); };
    const std::string type  = gme::gguf_type_name(value.type);
    if (value.type == gme::gguf_type::string) {
        return type + " " + bytes(value.at, value.count);
    }
    if (value.type != gme::gguf_type::array) {
        return type + " " + bytes(value.at, gme::gguf_scalar_size(value.type));
    }
    std::string text = type + ":" + gme::gguf_type_name(value.element) + " " + std::to_string(value.count);
    if (value.element != gme::gguf_type::string) {
        return text + " " + bytes(value.at, value.count * gme::gguf_scalar_size(value.element));
    }
    uint64_t at = value.at;
    for (uint64_t i = 0; i < value.count; i++) {
        uint64_t size;
        std::memcpy(&size, file.header().data() + at, sizeof size);
        text += " " + bytes(at + 8, size);
        at += 8 + size;
    }
    return text;
}

inline void print(const std::string & path) {
    const gme::gguf_file file(path);
    std::printf("file %llu %llu\n", static_cast<unsigned long long>(file.alignment()), static_cast<unsigned long long>(file.data_start()));
    for (const auto & [key, value] : file.keys()) {
        std::printf("key %s %s\n", key.c_str(), value_text(file, value).c_str());
    }
    for (const auto & tensor : file.tensors()) {
        std::string sides;
        for (int i = 0; i < tensor.n_dims; i++) {
            sides += (i > 0 ? "x" : "") + std::to_string(tensor.ne[i]);
        }
        std::printf("tensor %s %u %s %llu %llu\n", tensor.name.c_str(), tensor.type, sides.c_str(), static_cast<unsigned long long>(tensor.offset),
                    static_cast<unsigned long long>(tensor.size));
    }
}

// One file after the other; a file that is refused is one line.
inline int print_all(int n, char ** paths) {
    for (int i = 0; i < n; i++) {
        std::printf("path %s\n", paths[i]);
        try {
            print(paths[i]);
        } catch (const gme::error & bad) {
            std::printf("refused %s %s\n", bad.code.c_str(), bad.field.c_str());
        }
    }
    return 0;
}

}  // namespace gguf_dump
