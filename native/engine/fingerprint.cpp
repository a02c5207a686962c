// fingerprint: header bytes and sampled tensor bytes -> 128 bits in hexadecimal.
//
//   header (keys, names, shapes, types, offsets) + first, middle and last 1 KiB of every tensor -> two 64-bit lanes
//
// It tells models apart for indexes and caches. It is no protection against a forger, who could keep the samples.

#include "fingerprint.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace gme {

namespace {

class two_lane_hash {
  public:
    void add(const char * data, size_t size) {
        for (size_t at = 0; at < size; at += 8) {
            uint64_t word = 0;
            std::memcpy(&word, data + at, std::min<size_t>(8, size - at));
            add(word);
        }
        add(static_cast<uint64_t>(size));
    }

    std::string text() const {
        char digits[33];
        std::snprintf(digits, sizeof digits, "%016llx%016llx", static_cast<unsigned long long>(mixed(first_)), static_cast<unsigned long long>(mixed(second_)));
        return digits;
    }

  private:
    static uint64_t mixed(uint64_t x) {
        x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdull;
        x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ull;
        return x ^ (x >> 33);
    }

    void add(uint64_t word) {
        first_  = mixed(first_ ^ word) + 0x9e3779b97f4a7c15ull;
        second_ = mixed(second_ + word * 0xd6e8feb86659fd93ull) ^ (first_ >> 7);
    }

    uint64_t first_  = 0x676d652d66697273ull;
    uint64_t second_ = 0x676d652d7365636full;
};

void add_file(two_lane_hash & hash, const gguf_file & file) {
    constexpr uint64_t sample = 1024;
    hash.add(file.header().data(), file.header().size());
    char bytes[sample];
    for (const auto & tensor : file.tensors()) {
        const uint64_t n       = std::min(sample, tensor.size);
        const uint64_t last    = tensor.size - n;
        const uint64_t at[]    = { 0, last / 2, last };
        for (const uint64_t offset : at) {
            file.file().read(tensor.offset + offset, bytes, n);
            hash.add(bytes, n);
        }
    }
}

}  // namespace

std::string model_fingerprint(const gguf_file & decoder, const gguf_file * vision) {
    two_lane_hash hash;
    add_file(hash, decoder);
    if (vision != nullptr && vision != &decoder) {
        add_file(hash, *vision);
    }
    return hash.text();
}

}  // namespace gme
