// How the model loader's inputs are changed: whole changes come, go, swap and mix, so that they stay meaningful; inside one, and for
// the rest, libFuzzer's own mutations. Part of the fuzzer only; the replay does without.

#include "model-recipe.h"

#include <algorithm>
#include <random>

extern "C" size_t LLVMFuzzerMutate(uint8_t * data, size_t size, size_t max_size);

using recipe::change_bytes;
using recipe::head_bytes;

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t * data, size_t size, size_t max_size, unsigned int seed) {
    std::minstd_rand random(seed);
    const auto       below = [&](size_t n) { return n == 0 ? 0 : random() % n; };
    if (size < head_bytes) {
        std::memset(data + size, 0, head_bytes - size);
        size = head_bytes;
    }
    size_t     n     = (size - head_bytes) / change_bytes;
    const auto at    = [&](size_t i) { return data + head_bytes + i * change_bytes; };
    const bool grows = n < recipe::changes_max && head_bytes + (n + 1) * change_bytes <= max_size;
    switch (below(8)) {
        case 0: data[below(head_bytes)] = static_cast<uint8_t>(random()); break;
        case 1: case 2:
            if (grows) {
                const size_t place = below(n + 1);
                std::memmove(at(place + 1), at(place), (n - place) * change_bytes);
                for (size_t i = 0; i < change_bytes; i++) {
                    at(place)[i] = static_cast<uint8_t>(random() >> 8);
                }
                at(place)[change_bytes - 1] = below(3) == 0 ? static_cast<uint8_t>(random()) : 0xA5;  // a number of the table
                n++;
            }
            break;
        case 3:
            if (n > 0) {
                const size_t place = below(n);
                std::memmove(at(place), at(place + 1), (n - place - 1) * change_bytes);
                n--;
            }
            break;
        case 4:
            if (n > 1) {
                std::swap_ranges(at(0), at(0) + change_bytes, at(below(n)));
            }
            break;
        default:
            if (n > 0) {
                LLVMFuzzerMutate(at(below(n)), change_bytes, change_bytes);
            }
            break;
    }
    return head_bytes + n * change_bytes;
}

// The head of one and changes of both.
extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t * a, size_t a_size, const uint8_t * b, size_t b_size, uint8_t * out, size_t max_size, unsigned int seed) {
    std::minstd_rand random(seed);
    if (a_size < head_bytes || b_size < head_bytes || max_size < head_bytes) {
        return 0;
    }
    size_t size = head_bytes;
    std::memcpy(out, a, head_bytes);
    const uint8_t * const sources[] = { a + head_bytes, b + head_bytes };
    const size_t          counts[]  = { (a_size - head_bytes) / change_bytes, (b_size - head_bytes) / change_bytes };
    for (size_t which = 0; which < 2; which++) {
        for (size_t i = 0; i < counts[which] && size + change_bytes <= max_size; i++) {
            if (random() % 3 != 0) {
                std::memcpy(out + size, sources[which] + i * change_bytes, change_bytes);
                size += change_bytes;
            }
        }
    }
    return size;
}
