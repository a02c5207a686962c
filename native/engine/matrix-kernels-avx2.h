// What the two AVX2 files share: transposes, tokens on their way into a tile, blocks of the quantised types.
#pragma once

#include "matrix-kernels.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <immintrin.h>

#include <cstring>

#define GME_AVX2 __attribute__((target("avx2,fma,f16c")))
#define GME_AVX2_INLINE GME_AVX2 inline __attribute__((always_inline))

namespace gme {

extern const block_kernels avx2_bytes;  // q4_0: half bytes of weights times bytes of tokens
extern const block_kernels avx2_words;  // q8_0, q4_0: 16-bit weights times 16-bit tokens

namespace avx2 {

// 8 rows of 8 numbers -> 8 columns of 8 numbers
GME_AVX2_INLINE void transpose_8(__m256 r[8]) {
    __m256 t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[2 * i]     = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {  // r[4i + j]: columns j and 4 + j of rows 4i … 4i+3
        r[4 * i]     = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        t[j]     = _mm256_permute2f128_ps(r[j], r[4 + j], 0x20);
        t[4 + j] = _mm256_permute2f128_ps(r[j], r[4 + j], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        r[i] = t[i];
    }
}

GME_AVX2_INLINE void transpose_8(__m256i r[8]) {
    __m256 f[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        f[i] = _mm256_castsi256_ps(r[i]);
    }
    transpose_8(f);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        r[i] = _mm256_castps_si256(f[i]);
    }
}

GME_AVX2_INLINE __m256 load_token(const tile_rows & from, int t, int64_t k) {
    const __m256 x = _mm256_loadu_ps(from.rows[t] + k);
    if (from.weight == nullptr) {
        return x;
    }
    const __m256 y = _mm256_mul_ps(_mm256_fmadd_ps(x, _mm256_set1_ps(from.factors[t]), _mm256_set1_ps(from.shifts[t])), _mm256_loadu_ps(from.weight + k));
    return from.bias == nullptr ? y : _mm256_add_ps(y, _mm256_loadu_ps(from.bias + k));
}

struct from_q8_0 {
    static constexpr int64_t block_bytes = 34;  // f16 scale, 32 signed bytes
    GME_AVX2_INLINE static __m128i quarter(const char * block, int i) {
        return _mm_loadl_epi64(reinterpret_cast<const __m128i *>(block + 2 + 8 * i));
    }
    GME_AVX2_INLINE static __m128i half(const char * block, int i) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i *>(block + 2 + 16 * i));
    }
};

struct from_q4_0 {
    static constexpr int64_t block_bytes = 18;  // f16 scale, 16 bytes: low halves are numbers 0…15, high halves 16…31, 8 added
    GME_AVX2_INLINE static __m128i quarter(const char * block, int i) {
        const __m128i both = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(block + 2 + 8 * (i % 2)));
        const __m128i four = _mm_and_si128(i < 2 ? both : _mm_srli_epi16(both, 4), _mm_set1_epi8(15));
        return _mm_sub_epi8(four, _mm_set1_epi8(8));
    }
    GME_AVX2_INLINE static __m128i half(const char * block, int i) {
        const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i *>(block + 2));
        return _mm_sub_epi8(_mm_and_si128(i == 0 ? both : _mm_srli_epi16(both, 4), _mm_set1_epi8(15)), _mm_set1_epi8(8));
    }
    GME_AVX2_INLINE static __m256i whole_unsigned(const char * block) {  // 0…15: 8 added
        const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i *>(block + 2));
        return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(both, 4), both), _mm256_set1_epi8(15));
    }
};

GME_AVX2_INLINE float scale_of(const char * block) {
    uint16_t bits;
    std::memcpy(&bits, block, 2);
    return _cvtsh_ss(bits);
}

}  // namespace avx2

}  // namespace gme

#endif
