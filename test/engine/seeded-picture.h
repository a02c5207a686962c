// Pictures and hashes that test/reference/gen_resize_cases.py makes in the same way.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace seeded {

// xorshift64 bytes; odd seeds give only 0 and 255, where the kernel overshoots most.
inline std::vector<uint8_t> noise(int32_t w, int32_t h, uint64_t seed) {
    const size_t n = static_cast<size_t>(w) * h * 3;
    std::vector<uint8_t> bytes((n + 7) / 8 * 8);
    uint64_t state = seed * 0x9E3779B97F4A7C15ull;
    for (size_t i = 0; i < bytes.size(); i += 8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        for (int b = 0; b < 8; b++) {
            bytes[i + b] = static_cast<uint8_t>(state >> (8 * b));
        }
    }
    bytes.resize(n);
    if (seed % 2 != 0) {
        for (uint8_t & byte : bytes) {
            byte = byte >= 128 ? 255 : 0;
        }
    }
    return bytes;
}

// FNV-1a over 64-bit little-endian words, zero-padded.
inline std::string hash(const void * data, size_t n_bytes) {
    const uint8_t * bytes = static_cast<const uint8_t *>(data);
    uint64_t value = 0xCBF29CE484222325ull;
    for (size_t i = 0; i < n_bytes; i += 8) {
        uint64_t word = 0;
        for (size_t b = 0; b < 8 && i + b < n_bytes; b++) {
            word |= static_cast<uint64_t>(bytes[i + b]) << (8 * b);
        }
        value = (value ^ word) * 0x100000001B3ull;
    }
    char text[17];
    std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
    return text;
}

// Lines of resize-cases.tsv that begin with `kind`, the kind cut off: numbers and a trailing hash as text.
inline std::vector<std::vector<std::string>> cases(const std::string & fixtures, const std::string & kind) {
    std::ifstream file(fixtures + "/more/resize-cases.tsv");
    std::vector<std::vector<std::string>> rows;
    for (std::string line; std::getline(file, line);) {
        std::istringstream fields(line);
        std::vector<std::string> row;
        for (std::string field; std::getline(fields, field, '\t');) {
            row.push_back(field);
        }
        if (!row.empty() && row[0] == kind) {
            row.erase(row.begin());
            rows.push_back(row);
        }
    }
    return rows;
}

}  // namespace seeded
