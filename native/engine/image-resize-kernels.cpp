// One pass of the bicubic resize, three times: portable C++, AVX2 and AVX-512 (VNNI and VBMI), chosen when the program runs.
//
// in:   rows of RGB bytes, weights of 23 bits and sign
// path: avx2: bytes widened to 16 bits, weight = high * 2^11 + low, two pmaddwd per pair of taps
//       avx512: weight = d2 * 2^16 + d1 * 2^8 + d0 with signed bytes, three vpdpbusd per four taps
//       all: the digit sums put together in 32 bits, + 2^21, >> 22, clip
// out:  rows of RGB bytes, the same on every path
#include "image-resize-kernels.h"

#include <algorithm>
#include <cstring>
#include <utility>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define GME_RESIZE_X86 1
#if !defined(__clang__) && __GNUC__ < 13
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // raised inside GCC 12's own AVX-512 headers
#endif
#include <immintrin.h>
#define GME_AVX2 __attribute__((target("avx2")))
#define GME_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")))
#endif

namespace gme {

namespace {

constexpr int32_t half = 1 << (resize_weight_bits - 1);

uint8_t clip(int32_t sum) {
    return static_cast<uint8_t>(std::min(255, std::max(0, sum >> resize_weight_bits)));
}

void rows_horizontal_portable(const resize_taps & taps, const uint8_t * const * source, uint8_t * const * out) {
    for (int r = 0; r < resize_block_rows; r++) {
        for (int32_t i = 0; i < taps.n_out; i++) {
            const int32_t * weights = taps.weights_of(i);
            const uint8_t * pixel = source[r] + static_cast<size_t>(taps.first[i]) * 3;
            int32_t red = half, green = half, blue = half;
            for (int32_t t = 0; t < taps.count[i]; t++, pixel += 3) {
                red   += pixel[0] * weights[t];
                green += pixel[1] * weights[t];
                blue  += pixel[2] * weights[t];
            }
            uint8_t * to = out[r] + static_cast<size_t>(i) * 3;
            to[0] = clip(red);
            to[1] = clip(green);
            to[2] = clip(blue);
        }
    }
}

// Columns begin .. n_bytes - 1, in blocks small enough for the sums to stay in the first cache.
void row_vertical_portable(const uint8_t * const * rows, const int32_t * weights, int32_t n_taps, size_t begin, size_t n_bytes,
                           uint8_t * out) {
    constexpr size_t block = 256;
    int32_t sums[block];
    for (size_t x = begin; x < n_bytes; x += block) {
        const size_t n = std::min(block, n_bytes - x);
        std::fill(sums, sums + n, half);
        for (int32_t t = 0; t < n_taps; t++) {
            const uint8_t * row = rows[t] + x;
            const int32_t weight = weights[t];
            for (size_t i = 0; i < n; i++) {
                sums[i] += row[i] * weight;
            }
        }
        for (size_t i = 0; i < n; i++) {
            out[x + i] = clip(sums[i]);
        }
    }
}

#ifdef GME_RESIZE_X86

constexpr int low_bits = 11;

uint32_t pair_of(int32_t first, int32_t second) {
    return (static_cast<uint32_t>(first) & 0xffff) | (static_cast<uint32_t>(second) << 16);
}
uint32_t high_pair(int32_t a, int32_t b) { return pair_of(a >> low_bits, b >> low_bits); }
uint32_t low_pair(int32_t a, int32_t b) { return pair_of(a & ((1 << low_bits) - 1), b & ((1 << low_bits) - 1)); }

// Signed base-256 digit d (0, 1 or 2) of a weight.
int8_t digit_of(int32_t weight, int d) {
    const int32_t d0 = static_cast<int8_t>(weight & 255);
    const int32_t d1 = static_cast<int8_t>(((weight - d0) >> 8) & 255);
    const int32_t d2 = (weight - d0 - d1 * 256) >> 16;
    return static_cast<int8_t>(d == 0 ? d0 : d == 1 ? d1 : d2);
}
uint32_t digit_quad(const int32_t * four, int d) {
    uint32_t quad = 0;
    for (int j = 0; j < 4; j++) {
        quad |= static_cast<uint32_t>(static_cast<uint8_t>(digit_of(four[j], d))) << (8 * j);
    }
    return quad;
}

// Weights t .. t + 3, zero past the end.
void four_weights(const int32_t * weights, int32_t n_taps, int32_t t, int32_t * four) {
    for (int32_t j = 0; j < 4; j++) {
        four[j] = t + j < n_taps ? weights[t + j] : 0;
    }
}

uint8_t * reserve_packed(horizontal_table & table, size_t n_bytes) {
    table.storage.assign(n_bytes + 63, 0);
    const size_t skip = (64 - reinterpret_cast<uintptr_t>(table.storage.data()) % 64) % 64;
    table.packed = table.storage.data() + skip;
    return table.storage.data() + skip;
}

// avx2: 16 bytes per chunk of four taps of one pixel: high pairs 01, 23, low pairs 01, 23.
void pack_avx2(horizontal_table & table) {
    const resize_taps & taps = table.taps;
    table.chunk_begin.assign(1, 0);
    for (int32_t i = 0; i < taps.n_out; i++) {
        for (int32_t t = 0; t < taps.count[i]; t += 4) {
            table.chunk_offset.push_back((taps.first[i] + t) * 3);
        }
        table.chunk_begin.push_back(static_cast<int32_t>(table.chunk_offset.size()));
    }
    uint8_t * packed = reserve_packed(table, table.chunk_offset.size() * 16);
    for (int32_t i = 0; i < taps.n_out; i++) {
        for (int32_t t = 0; t < taps.count[i]; t += 4, packed += 16) {
            int32_t w[4];
            four_weights(taps.weights_of(i), taps.count[i], t, w);
            const uint32_t words[4] = { high_pair(w[0], w[1]), high_pair(w[2], w[3]), low_pair(w[0], w[1]), low_pair(w[2], w[3]) };
            std::memcpy(packed, words, sizeof(words));
        }
    }
}

// avx512: 256 bytes per chunk of four taps of 16 output bytes: which source bytes (64 indices), then three planes of weight digits.
// False when some chunk spans more than the 64 source bytes that one shuffle reaches (downscaling by more than about 3.9).
bool pack_avx512(horizontal_table & table) {
    const resize_taps & taps = table.taps;
    const int32_t n_bytes = taps.n_out * 3;
    table.chunk_begin.assign(1, 0);
    for (int32_t begin = 0; begin < n_bytes; begin += 16) {
        const int32_t pixel_first = begin / 3;
        const int32_t pixel_last  = std::min(begin + 15, n_bytes - 1) / 3;
        const int32_t count = *std::max_element(taps.count.begin() + pixel_first, taps.count.begin() + pixel_last + 1);
        for (int32_t t = 0; t < count; t += 4) {
            if ((taps.first[pixel_last] - taps.first[pixel_first] + 4) * 3 > 64) {
                return false;
            }
            table.chunk_offset.push_back((taps.first[pixel_first] + t) * 3);
        }
        table.chunk_begin.push_back(static_cast<int32_t>(table.chunk_offset.size()));
    }
    uint8_t * packed = reserve_packed(table, table.chunk_offset.size() * 256);
    for (int32_t begin = 0; begin < n_bytes; begin += 16) {
        const size_t  unit = static_cast<size_t>(begin) / 16;
        const int32_t n_chunks = table.chunk_begin[unit + 1] - table.chunk_begin[unit];
        for (int32_t c = 0; c < n_chunks; c++, packed += 256) {
            for (int32_t lane = 0; lane < 16 && begin + lane < n_bytes; lane++) {
                const int32_t pixel = (begin + lane) / 3;
                int32_t w[4];
                four_weights(taps.weights_of(pixel), taps.count[pixel], 4 * c, w);
                for (int32_t j = 0; j < 4; j++) {
                    const int32_t byte = (taps.first[pixel] - taps.first[begin / 3] + j) * 3 + (begin + lane) % 3;
                    packed[lane * 4 + j] = static_cast<uint8_t>(byte);
                    for (int d = 0; d < 3; d++) {
                        packed[64 * (d + 1) + lane * 4 + j] = static_cast<uint8_t>(digit_of(w[j], d));
                    }
                }
            }
        }
    }
    return true;
}

// Eight 32-bit sums of the avx2 path as values of -640 .. 639.
GME_AVX2 inline __m256i finish_avx2(__m256i high, __m256i low) {
    const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, low_bits), low);
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(half)), resize_weight_bits);
}

// Both halves of a register hold sums of different taps of one pixel: [r, g, b, -] each.
GME_AVX2 inline __m128i finish_pixel_avx2(__m256i high, __m256i low) {
    const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, low_bits), low);
    const __m128i all = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    return _mm_srai_epi32(_mm_add_epi32(all, _mm_set1_epi32(half)), resize_weight_bits);
}

GME_AVX2 void rows_horizontal_avx2(const horizontal_table & table, const uint8_t * const * source, uint8_t * const * out) {
    // four pixels, 12 bytes -> 16-bit pairs [r0 r1 g0 g1 b0 b1 0 0 | r2 r3 g2 g3 b2 b3 0 0]
    const __m256i pairs = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,
                                           6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const __m256i spread_high = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    const __m256i spread_low  = _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3);
    const int32_t n_out = table.taps.n_out;
    for (int32_t i = 0; i < n_out; i++) {
        __m256i high[4], low[4];
        for (int r = 0; r < 4; r++) {
            high[r] = low[r] = _mm256_setzero_si256();
        }
        for (int32_t c = table.chunk_begin[i]; c < table.chunk_begin[i + 1]; c++) {
            const __m256i weights = _mm256_castsi128_si256(
                _mm_load_si128(reinterpret_cast<const __m128i *>(table.packed + static_cast<size_t>(c) * 16)));
            const __m256i w_high = _mm256_permutevar8x32_epi32(weights, spread_high);
            const __m256i w_low  = _mm256_permutevar8x32_epi32(weights, spread_low);
            const int32_t offset = table.chunk_offset[c];
            for (int r = 0; r < 4; r++) {
                const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(source[r] + offset));
                const __m256i words = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), pairs);
                high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(words, w_high));
                low[r]  = _mm256_add_epi32(low[r], _mm256_madd_epi16(words, w_low));
            }
        }
        const __m128i rows_01 = _mm_packs_epi32(finish_pixel_avx2(high[0], low[0]), finish_pixel_avx2(high[1], low[1]));
        const __m128i rows_23 = _mm_packs_epi32(finish_pixel_avx2(high[2], low[2]), finish_pixel_avx2(high[3], low[3]));
        alignas(16) uint32_t pixels[4];
        _mm_store_si128(reinterpret_cast<__m128i *>(pixels), _mm_packus_epi16(rows_01, rows_23));
        const size_t n = i + 1 < n_out ? 4 : 3;  // the fourth byte is overwritten by the next pixel
        for (int r = 0; r < 4; r++) {
            if (n == 4) {
                std::memcpy(out[r] + static_cast<size_t>(i) * 3, &pixels[r], 4);
            } else {
                std::memcpy(out[r] + static_cast<size_t>(i) * 3, &pixels[r], 3);
            }
        }
    }
}

// scratch: per pair of taps the high and the low pair of weights. Returns the first column that is left over.
GME_AVX2 size_t row_vertical_avx2(const uint8_t * const * rows, int32_t n_taps, size_t n_bytes, uint8_t * out, const uint32_t * scratch) {
    const __m256i zero = _mm256_setzero_si256();
    size_t x = 0;
    for (; x + 32 <= n_bytes; x += 32) {
        __m256i high[4], low[4];
        for (int q = 0; q < 4; q++) {
            high[q] = low[q] = zero;
        }
        for (int32_t t = 0; t < n_taps; t += 2) {
            const uint8_t * second = rows[t + 1 < n_taps ? t + 1 : t];
            const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(rows[t] + x));
            const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(second + x));
            const __m256i w_high = _mm256_set1_epi32(static_cast<int32_t>(scratch[t]));
            const __m256i w_low  = _mm256_set1_epi32(static_cast<int32_t>(scratch[t + 1]));
            const __m256i ab_low  = _mm256_unpacklo_epi8(a, b);
            const __m256i ab_high = _mm256_unpackhi_epi8(a, b);
            // per 128 bits: columns 0-3, 4-7, 8-11, 12-15 as 16-bit pairs (a, b)
            const __m256i words[4] = { _mm256_unpacklo_epi8(ab_low, zero), _mm256_unpackhi_epi8(ab_low, zero),
                                       _mm256_unpacklo_epi8(ab_high, zero), _mm256_unpackhi_epi8(ab_high, zero) };
            for (int q = 0; q < 4; q++) {
                high[q] = _mm256_add_epi32(high[q], _mm256_madd_epi16(words[q], w_high));
                low[q]  = _mm256_add_epi32(low[q], _mm256_madd_epi16(words[q], w_low));
            }
        }
        const __m256i first = _mm256_packs_epi32(finish_avx2(high[0], low[0]), finish_avx2(high[1], low[1]));
        const __m256i last  = _mm256_packs_epi32(finish_avx2(high[2], low[2]), finish_avx2(high[3], low[3]));
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + x), _mm256_packus_epi16(first, last));
    }
    return x;
}

GME_AVX512 inline __m512i finish_avx512(__m512i d0, __m512i d1, __m512i d2) {
    const __m512i upper = _mm512_add_epi32(_mm512_slli_epi32(d2, 8), d1);
    const __m512i sum   = _mm512_add_epi32(_mm512_slli_epi32(upper, 8), d0);
    return _mm512_srai_epi32(_mm512_add_epi32(sum, _mm512_set1_epi32(half)), resize_weight_bits);
}

GME_AVX512 void rows_horizontal_avx512(const horizontal_table & table, const uint8_t * const * source, uint8_t * const * out) {
    const size_t n_bytes = static_cast<size_t>(table.taps.n_out) * 3;
    const size_t n_units = table.chunk_begin.size() - 1;
    for (size_t unit = 0; unit < n_units; unit++) {
        __m512i sums[3][4];
        for (int r = 0; r < 4; r++) {
            sums[0][r] = sums[1][r] = sums[2][r] = _mm512_setzero_si512();
        }
        for (int32_t c = table.chunk_begin[unit]; c < table.chunk_begin[unit + 1]; c++) {
            const uint8_t * packed = table.packed + static_cast<size_t>(c) * 256;
            const __m512i which = _mm512_load_si512(packed);
            const __m512i w0 = _mm512_load_si512(packed + 64);
            const __m512i w1 = _mm512_load_si512(packed + 128);
            const __m512i w2 = _mm512_load_si512(packed + 192);
            const int32_t offset = table.chunk_offset[c];
            for (int r = 0; r < 4; r++) {
                const __m512i bytes = _mm512_permutexvar_epi8(which, _mm512_loadu_si512(source[r] + offset));
                sums[0][r] = _mm512_dpbusd_epi32(sums[0][r], bytes, w0);
                sums[1][r] = _mm512_dpbusd_epi32(sums[1][r], bytes, w1);
                sums[2][r] = _mm512_dpbusd_epi32(sums[2][r], bytes, w2);
            }
        }
        const size_t begin = unit * 16;
        const __mmask16 keep = n_bytes - begin >= 16 ? 0xffff : static_cast<__mmask16>((1u << (n_bytes - begin)) - 1);
        for (int r = 0; r < 4; r++) {
            const __m512i values = _mm512_max_epi32(finish_avx512(sums[0][r], sums[1][r], sums[2][r]), _mm512_setzero_si512());
            _mm_mask_storeu_epi8(out[r] + begin, keep, _mm512_cvtusepi32_epi8(values));
        }
    }
}

// scratch: per four taps the three planes of weight digits.
GME_AVX512 void row_vertical_avx512(const uint8_t * const * rows, int32_t n_taps, size_t n_bytes, uint8_t * out, const uint32_t * scratch) {
    for (size_t x = 0; x < n_bytes; x += 64) {
        const __mmask64 keep = n_bytes - x >= 64 ? ~__mmask64(0) : (__mmask64(1) << (n_bytes - x)) - 1;
        __m512i sums[3][4];
        for (int q = 0; q < 4; q++) {
            sums[0][q] = sums[1][q] = sums[2][q] = _mm512_setzero_si512();
        }
        for (int32_t t = 0; t < n_taps; t += 4) {
            const int32_t last = n_taps - 1;
            const __m512i a = _mm512_maskz_loadu_epi8(keep, rows[t] + x);
            const __m512i b = _mm512_maskz_loadu_epi8(keep, rows[std::min(t + 1, last)] + x);
            const __m512i c = _mm512_maskz_loadu_epi8(keep, rows[std::min(t + 2, last)] + x);
            const __m512i d = _mm512_maskz_loadu_epi8(keep, rows[std::min(t + 3, last)] + x);
            const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
            const __m512i cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
            // per 128 bits: columns 0-3, 4-7, 8-11, 12-15 as four bytes (a, b, c, d)
            const __m512i bytes[4] = { _mm512_unpacklo_epi16(ab_low, cd_low), _mm512_unpackhi_epi16(ab_low, cd_low),
                                       _mm512_unpacklo_epi16(ab_high, cd_high), _mm512_unpackhi_epi16(ab_high, cd_high) };
            const uint32_t * digits = scratch + static_cast<size_t>(t) / 4 * 3;
            for (int p = 0; p < 3; p++) {
                const __m512i weights = _mm512_set1_epi32(static_cast<int32_t>(digits[p]));
                for (int q = 0; q < 4; q++) {
                    sums[p][q] = _mm512_dpbusd_epi32(sums[p][q], bytes[q], weights);
                }
            }
        }
        __m512i values[4];
        for (int q = 0; q < 4; q++) {
            values[q] = finish_avx512(sums[0][q], sums[1][q], sums[2][q]);
        }
        const __m512i packed = _mm512_packus_epi16(_mm512_packs_epi32(values[0], values[1]), _mm512_packs_epi32(values[2], values[3]));
        _mm512_mask_storeu_epi8(out + x, keep, packed);
    }
}

#endif  // GME_RESIZE_X86

}  // namespace

bool resize_path_available(resize_path path) {
#ifdef GME_RESIZE_X86
    if (path == resize_path::avx2) {
        return __builtin_cpu_supports("avx2");
    }
    if (path == resize_path::avx512) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
    }
#endif
    return path == resize_path::portable;
}

resize_path resize_path_best() {
    for (const resize_path path : { resize_path::avx512, resize_path::avx2 }) {
        if (resize_path_available(path)) {
            return path;
        }
    }
    return resize_path::portable;
}

horizontal_table make_horizontal_table(resize_taps taps, resize_path path) {
    horizontal_table table;
    table.taps = std::move(taps);
#ifdef GME_RESIZE_X86
    if (path == resize_path::avx512 && pack_avx512(table)) {
        table.path = path;
    } else if (path != resize_path::portable) {
        table.chunk_offset.clear();
        pack_avx2(table);
        table.path = resize_path::avx2;
    }
#else
    (void) path;
#endif
    return table;
}

void resize_rows_horizontal(const horizontal_table & table, const uint8_t * const * source, uint8_t * const * out) {
#ifdef GME_RESIZE_X86
    if (table.path == resize_path::avx512) {
        return rows_horizontal_avx512(table, source, out);
    }
    if (table.path == resize_path::avx2) {
        return rows_horizontal_avx2(table, source, out);
    }
#endif
    rows_horizontal_portable(table.taps, source, out);
}

void resize_row_vertical(resize_path path, const uint8_t * const * rows, const int32_t * weights, int32_t n_taps, size_t n_bytes,
                         uint8_t * out, std::vector<uint32_t> & scratch) {
    size_t begin = 0;
#ifdef GME_RESIZE_X86
    scratch.resize(static_cast<size_t>(n_taps) + 4);
    int32_t w[4];
    if (path == resize_path::avx512) {
        for (int32_t t = 0; t < n_taps; t += 4) {
            four_weights(weights, n_taps, t, w);
            for (int d = 0; d < 3; d++) {
                scratch[static_cast<size_t>(t) / 4 * 3 + d] = digit_quad(w, d);
            }
        }
        return row_vertical_avx512(rows, n_taps, n_bytes, out, scratch.data());
    }
    if (path == resize_path::avx2) {
        for (int32_t t = 0; t < n_taps; t += 2) {
            four_weights(weights, n_taps, t, w);
            scratch[t]     = high_pair(w[0], w[1]);
            scratch[t + 1] = low_pair(w[0], w[1]);
        }
        begin = row_vertical_avx2(rows, n_taps, n_bytes, out, scratch.data());
    }
#else
    (void) path;
    (void) scratch;
#endif
    row_vertical_portable(rows, weights, n_taps, begin, n_bytes, out);
}

}  // namespace gme
