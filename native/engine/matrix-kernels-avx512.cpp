// matrix-kernels-avx512: 12 tokens × 32 rows in 24 registers, f32 and bytes (VNNI).
//
//   f32:    per column two registers of weights, 12 broadcasts, 24 fused multiply-adds
//   bytes:  per four columns 24 vpdpbusd; per 32 columns the sums are scaled and added in f32. Two rounds of 6 tokens.
//   panels: 16×16 transposes of 32-bit words; f16 and bf16 pass through f32 first, quantised bytes go as words of four
//
// Blocks of bytes: tokens are unsigned, 128 added, values [8, 12, 4], scales [12]; panels hold signed weights [8, 32, 4], scales [32]
// and offsets [32], -128 times the sum of the block's weights.

#include "matrix-kernels.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#if !defined(__clang__) && __GNUC__ < 13
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // raised inside GCC 12's own AVX-512 headers
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <cstring>

#define GME_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")))
#define GME_AVX512_INLINE GME_AVX512 inline __attribute__((always_inline))

namespace gme {

namespace {

// ---- products ----

template <int n_tokens> GME_AVX512 void multiply_f32_tile(const float * panel, const float * tile, int64_t n_in, float * sums) {
    for (int64_t first = 0; first < n_in; first += stretch_columns) {
        const int64_t end = first + stretch_columns < n_in ? first + stretch_columns : n_in;
        __m512        acc[n_tokens][2];
#pragma GCC unroll 12
        for (int t = 0; t < n_tokens; t++) {
            acc[t][0] = acc[t][1] = _mm512_setzero_ps();
        }
        for (int64_t k = first; k < end; k++) {
            const __m512 w0 = _mm512_load_ps(panel + k * panel_rows);
            const __m512 w1 = _mm512_load_ps(panel + k * panel_rows + 16);
#pragma GCC unroll 12
            for (int t = 0; t < n_tokens; t++) {
                const __m512 x = _mm512_set1_ps(tile[k * tile_tokens + t]);
                acc[t][0]      = _mm512_fmadd_ps(w0, x, acc[t][0]);
                acc[t][1]      = _mm512_fmadd_ps(w1, x, acc[t][1]);
            }
        }
#pragma GCC unroll 12
        for (int t = 0; t < n_tokens; t++) {
            float * to = sums + t * panel_rows;
            _mm512_store_ps(to, _mm512_add_ps(_mm512_load_ps(to), acc[t][0]));
            _mm512_store_ps(to + 16, _mm512_add_ps(_mm512_load_ps(to + 16), acc[t][1]));
        }
    }
}

constexpr int64_t weight_bytes = byte_block * panel_rows;  // of a block, then its scales and its offsets
constexpr int64_t scale_bytes  = panel_rows * static_cast<int64_t>(sizeof(float));
constexpr int64_t block_stride = weight_bytes + 2 * scale_bytes;
constexpr int64_t value_bytes  = byte_block * tile_tokens;  // of a block of tokens, then its scales

template <int n_tokens> GME_AVX512 void multiply_bytes_tile(const char * panel, const char * tile, int64_t first, int64_t n_in, float * sums) {
    __m512 acc[n_tokens][2];
#pragma GCC unroll 6
    for (int t = 0; t < n_tokens; t++) {
        acc[t][0] = _mm512_load_ps(sums + t * panel_rows);
        acc[t][1] = _mm512_load_ps(sums + t * panel_rows + 16);
    }
    for (int64_t block = 0; block < n_in / byte_block; block++) {
        const char * weights = panel + block * block_stride;
        const char * values  = tile + block * byte_tile_block + first * 4;
        const auto * scales  = reinterpret_cast<const float *>(tile + block * byte_tile_block + value_bytes) + first;
        __m512i      whole[n_tokens][2];
#pragma GCC unroll 6
        for (int t = 0; t < n_tokens; t++) {
            whole[t][0] = _mm512_load_si512(weights + weight_bytes + scale_bytes);
            whole[t][1] = _mm512_load_si512(weights + weight_bytes + scale_bytes + 64);
        }
#pragma GCC unroll 8
        for (int k = 0; k < byte_block / 4; k++) {
            const __m512i w0 = _mm512_load_si512(weights + k * 4 * panel_rows);
            const __m512i w1 = _mm512_load_si512(weights + k * 4 * panel_rows + 64);
#pragma GCC unroll 6
            for (int t = 0; t < n_tokens; t++) {
                int32_t four;
                std::memcpy(&four, values + (k * tile_tokens + t) * 4, 4);
                const __m512i x = _mm512_set1_epi32(four);
                whole[t][0]     = _mm512_dpbusd_epi32(whole[t][0], x, w0);
                whole[t][1]     = _mm512_dpbusd_epi32(whole[t][1], x, w1);
            }
        }
        const __m512 d0 = _mm512_load_ps(weights + weight_bytes);
        const __m512 d1 = _mm512_load_ps(weights + weight_bytes + 64);
#pragma GCC unroll 6
        for (int t = 0; t < n_tokens; t++) {
            const __m512 d = _mm512_set1_ps(scales[t]);
            acc[t][0]      = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole[t][0]), _mm512_mul_ps(d, d0), acc[t][0]);
            acc[t][1]      = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole[t][1]), _mm512_mul_ps(d, d1), acc[t][1]);
        }
    }
#pragma GCC unroll 6
    for (int t = 0; t < n_tokens; t++) {
        _mm512_store_ps(sums + t * panel_rows, acc[t][0]);
        _mm512_store_ps(sums + t * panel_rows + 16, acc[t][1]);
    }
}

void multiply_f32(const float * panel, const float * tile, int64_t n_in, int n_tokens, float * sums) {
    using tile_function = void (*)(const float *, const float *, int64_t, float *);
    static constexpr tile_function by_count[] = { multiply_f32_tile<1>, multiply_f32_tile<2>, multiply_f32_tile<3>, multiply_f32_tile<4>,
                                                  multiply_f32_tile<5>, multiply_f32_tile<6>, multiply_f32_tile<7>, multiply_f32_tile<8>,
                                                  multiply_f32_tile<9>, multiply_f32_tile<10>, multiply_f32_tile<11>, multiply_f32_tile<12> };
    by_count[n_tokens - 1](panel, tile, n_in, sums);
}

void multiply_bytes(const char * panel, const char * tile, int64_t n_in, int n_tokens, float * sums) {
    using tile_function = void (*)(const char *, const char *, int64_t, int64_t, float *);
    static constexpr tile_function by_count[] = { multiply_bytes_tile<1>, multiply_bytes_tile<2>, multiply_bytes_tile<3>,
                                                  multiply_bytes_tile<4>, multiply_bytes_tile<5>, multiply_bytes_tile<6> };
    constexpr int half = 6;
    for (int first = 0; first < n_tokens; first += half) {
        const int n = n_tokens - first < half ? n_tokens - first : half;
        by_count[n - 1](panel, tile, first, n_in, sums + first * panel_rows);
    }
}

// ---- panels ----

// 16 rows of 16 words -> 16 columns of 16 words
GME_AVX512_INLINE void transpose_16(__m512i r[16]) {
    __m512i t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {  // pairs of rows, words interleaved inside each quarter
        t[2 * i]     = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {  // four rows: r[4i + j] holds column 4q + j of rows 4i … 4i+3 in quarter q
        r[4 * i]     = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {  // quarters gathered
        const __m512i a = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);       // quarters 0, 2 of rows 0-3, then of 4-7
        const __m512i b = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);       // quarters 1, 3
        const __m512i c = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
        const __m512i d = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
        t[j]            = _mm512_shuffle_i32x4(a, c, 0x88);
        t[8 + j]        = _mm512_shuffle_i32x4(a, c, 0xdd);
        t[4 + j]        = _mm512_shuffle_i32x4(b, d, 0x88);
        t[12 + j]       = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        r[i] = t[i];
    }
}

struct from_f32 {
    static constexpr int64_t bytes = 4;
    GME_AVX512_INLINE static __m512i load(const char * at) { return _mm512_loadu_si512(at); }
};

struct from_f16 {
    static constexpr int64_t bytes = 2;
    GME_AVX512_INLINE static __m512i load(const char * at) {
        return _mm512_castps_si512(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(at))));
    }
};

struct from_bf16 {
    static constexpr int64_t bytes = 2;
    GME_AVX512_INLINE static __m512i load(const char * at) {
        return _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(at))), 16);
    }
};

template <typename number> GME_AVX512 void panel_from(const void * const * rows, int64_t n_in, float * panel) {
    for (int half = 0; half < 2; half++) {
        for (int64_t k = 0; k < n_in; k += 16) {
            __m512i r[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                r[i] = number::load(static_cast<const char *>(rows[half * 16 + i]) + k * number::bytes);
            }
            transpose_16(r);
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                _mm512_store_si512(panel + (k + i) * panel_rows + half * 16, r[i]);
            }
        }
    }
}

GME_AVX512_INLINE float scale_of(const char * block) {
    uint16_t bits;
    std::memcpy(&bits, block, 2);
    return _cvtsh_ss(bits);
}

struct from_q8_0 {
    static constexpr int64_t block_bytes = 34;  // f16 scale, 32 signed bytes
    GME_AVX512_INLINE static __m256i load(const char * block) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(block + 2)); }
};

struct from_q4_0 {
    static constexpr int64_t block_bytes = 18;  // f16 scale, 16 bytes: low halves are numbers 0…15, high halves 16…31, 8 added
    GME_AVX512_INLINE static __m256i load(const char * block) {
        const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i *>(block + 2));
        const __m128i low  = _mm_and_si128(both, _mm_set1_epi8(15));
        const __m128i high = _mm_and_si128(_mm_srli_epi16(both, 4), _mm_set1_epi8(15));
        return _mm256_sub_epi8(_mm256_set_m128i(high, low), _mm256_set1_epi8(8));
    }
};

template <typename number> GME_AVX512 void panel_from_blocks(const void * const * rows, int64_t n_in, float * panel) {
    for (int half = 0; half < 2; half++) {
        for (int64_t k = 0; k < n_in; k += byte_block) {
            __m512i low[16], high[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                const char *  block  = static_cast<const char *>(rows[half * 16 + i]) + k / byte_block * number::block_bytes;
                const __m256i values = number::load(block);
                const __m512  d      = _mm512_set1_ps(scale_of(block));
                low[i]  = _mm512_castps_si512(_mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(values)))));
                high[i] = _mm512_castps_si512(_mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(values, 1)))));
            }
            transpose_16(low);
            transpose_16(high);
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                _mm512_store_si512(panel + (k + i) * panel_rows + half * 16, low[i]);
                _mm512_store_si512(panel + (k + 16 + i) * panel_rows + half * 16, high[i]);
            }
        }
    }
}

// Two blocks of 32 bytes of each of 16 rows are 16×16 words: one transpose. An odd last block goes beside zeros.
template <typename number> GME_AVX512 void bytes_from_blocks(const void * const * rows, int64_t n_in, char * panel) {
    const __m512i ones     = _mm512_set1_epi8(1);
    const int64_t n_blocks = n_in / byte_block;
    for (int half = 0; half < 2; half++) {
        for (int64_t at = 0; at < n_blocks; at += 2) {
            const int n_here = at + 1 < n_blocks ? 2 : 1;
            __m512i   r[16];
            alignas(64) float scales[2][16] = {};
            for (int i = 0; i < 16; i++) {
                const char *  block  = static_cast<const char *>(rows[half * 16 + i]) + at * number::block_bytes;
                const __m256i second = n_here == 2 ? number::load(block + number::block_bytes) : _mm256_setzero_si256();
                r[i]                 = _mm512_inserti64x4(_mm512_castsi256_si512(number::load(block)), second, 1);
                scales[0][i]         = scale_of(block);
                scales[1][i]         = n_here == 2 ? scale_of(block + number::block_bytes) : 0.0f;
            }
            transpose_16(r);
            for (int b = 0; b < n_here; b++) {
                char *  to  = panel + (at + b) * block_stride + half * 64;
                __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 8
                for (int i = 0; i < 8; i++) {
                    sum = _mm512_dpbusd_epi32(sum, ones, r[b * 8 + i]);
                    _mm512_store_si512(to + i * 4 * panel_rows, r[b * 8 + i]);
                }
                _mm512_store_ps(to + weight_bytes, _mm512_load_ps(scales[b]));
                _mm512_store_si512(to + weight_bytes + scale_bytes, _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), sum), 7));
            }
        }
    }
}

// ---- tiles ----

GME_AVX512_INLINE __m512 load_token(const tile_rows & from, int t, int64_t k) {
    const __m512 x = _mm512_loadu_ps(from.rows[t] + k);
    if (from.weight == nullptr) {
        return x;
    }
    const __m512 y = _mm512_mul_ps(_mm512_fmadd_ps(x, _mm512_set1_ps(from.factors[t]), _mm512_set1_ps(from.shifts[t])), _mm512_loadu_ps(from.weight + k));
    return from.bias == nullptr ? y : _mm512_add_ps(y, _mm512_loadu_ps(from.bias + k));
}

GME_AVX512 void tile_f32(const tile_rows & from, int64_t n_in, float * tile) {
    constexpr __mmask16 twelve = 0x0fff;
    for (int64_t k = 0; k < n_in; k += 16) {
        __m512i r[16];
        for (int t = 0; t < 12; t++) {
            r[t] = _mm512_castps_si512(load_token(from, t, k));
        }
        r[12] = r[13] = r[14] = r[15] = _mm512_setzero_si512();
        transpose_16(r);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            _mm512_mask_storeu_epi32(tile + (k + i) * tile_tokens, twelve, r[i]);
        }
    }
}

// A block of 32 numbers becomes bytes around 128 and the scale that brings them back. A block that holds a NaN or an infinity gets a
// scale that is not a number, so that the product shows it.
GME_AVX512 void tile_bytes(const tile_rows & from, int64_t n_in, char * tile) {
    for (int64_t block = 0; block < n_in / byte_block; block++) {
        char * values = tile + block * byte_tile_block;
        auto * scales = reinterpret_cast<float *>(values + value_bytes);
        for (int t = 0; t < tile_tokens; t++) {
            const __m512 x0      = load_token(from, t, block * byte_block);
            const __m512 x1      = load_token(from, t, block * byte_block + 16);
            const __m512 largest = _mm512_max_ps(_mm512_abs_ps(x0), _mm512_abs_ps(x1));
            const float  most    = _mm512_reduce_max_ps(largest);
            const bool   finite  = (_mm512_fpclass_ps_mask(x0, 0x99) | _mm512_fpclass_ps_mask(x1, 0x99)) == 0;  // NaNs, infinities
            const __m512 inverse = _mm512_set1_ps(most > 0 ? 127.0f / most : 0.0f);
            const __m512i q0     = _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(x0, inverse)), _mm512_set1_epi32(128));
            const __m512i q1     = _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(x1, inverse)), _mm512_set1_epi32(128));
            alignas(32) int32_t words[8];
            _mm256_store_si256(reinterpret_cast<__m256i *>(words), _mm256_set_m128i(_mm512_cvtepi32_epi8(q1), _mm512_cvtepi32_epi8(q0)));
            for (int i = 0; i < 8; i++) {
                std::memcpy(values + (i * tile_tokens + t) * 4, words + i, 4);
            }
            scales[t] = finite ? most / 127.0f : __builtin_nanf("");
        }
    }
}

// ---- dot products along the file's rows ----

template <typename number, int n_rows, int n_tokens>
GME_AVX512 void dot_block(const void * const * rows, int64_t ahead, const float * tokens, int64_t token_stride, int64_t n_in, float * sums) {
    __m512 acc[n_rows][n_tokens];
#pragma GCC unroll 4
    for (int r = 0; r < n_rows; r++) {
#pragma GCC unroll 6
        for (int t = 0; t < n_tokens; t++) {
            acc[r][t] = _mm512_setzero_ps();
        }
    }
    for (int64_t k = 0; k < n_in; k += 16) {
        __m512 w[n_rows];
#pragma GCC unroll 4
        for (int r = 0; r < n_rows; r++) {
            const char * at = static_cast<const char *>(rows[r]) + k * number::bytes;
            _mm_prefetch(at + 512, _MM_HINT_T0);
            _mm_prefetch(at + ahead, _MM_HINT_T1);
            w[r] = _mm512_castsi512_ps(number::load(at));
        }
#pragma GCC unroll 6
        for (int t = 0; t < n_tokens; t++) {
            const __m512 x = _mm512_loadu_ps(tokens + t * token_stride + k);
#pragma GCC unroll 4
            for (int r = 0; r < n_rows; r++) {
                acc[r][t] = _mm512_fmadd_ps(w[r], x, acc[r][t]);
            }
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < n_rows; r++) {
#pragma GCC unroll 6
        for (int t = 0; t < n_tokens; t++) {
            sums[t * panel_rows + r] = _mm512_reduce_add_ps(acc[r][t]);
        }
    }
}

template <typename number, int n_rows>
void dot_tokens(const void * const * rows, int64_t ahead, const float * tokens, int64_t token_stride, int64_t n_in, int n_tokens, float * sums) {
    using block_function = void (*)(const void * const *, int64_t, const float *, int64_t, int64_t, float *);
    static constexpr block_function by_count[] = { dot_block<number, n_rows, 1>, dot_block<number, n_rows, 2>, dot_block<number, n_rows, 3>,
                                                   dot_block<number, n_rows, 4>, dot_block<number, n_rows, 5>, dot_block<number, n_rows, 6> };
    for (int first = 0; first < n_tokens; first += 6) {
        const int n = n_tokens - first < 6 ? n_tokens - first : 6;
        by_count[n - 1](rows, ahead, tokens + first * token_stride, token_stride, n_in, sums + first * panel_rows);
    }
}

template <typename number>
void dot(const void * const * rows, int n_rows, const float * tokens, int64_t token_stride, int64_t n_in, int n_tokens, float * sums) {
    // The next four rows are on their way to the second cache while these are multiplied.
    const int64_t ahead = n_rows > 4 ? static_cast<const char *>(rows[4]) - static_cast<const char *>(rows[0]) : 0;
    int           r     = 0;
    for (; r + 4 <= n_rows; r += 4) {
        dot_tokens<number, 4>(rows + r, ahead, tokens, token_stride, n_in, n_tokens, sums + r);
    }
    for (; r < n_rows; r++) {
        dot_tokens<number, 1>(rows + r, ahead, tokens, token_stride, n_in, n_tokens, sums + r);
    }
}

constexpr block_kernels vnni_bytes = { tile_bytes, multiply_bytes, bytes_from_blocks<from_q8_0>, bytes_from_blocks<from_q4_0> };

constexpr matrix_kernels kernels(bool has_vnni) {
    matrix_kernels k  = {};
    k.bytes           = has_vnni ? &vnni_bytes : nullptr;
    k.tile_f32        = tile_f32;
    k.multiply_f32    = multiply_f32;
    k.panel_from_f32  = panel_from<from_f32>;
    k.panel_from_f16  = panel_from<from_f16>;
    k.panel_from_bf16 = panel_from<from_bf16>;
    k.panel_from_q8_0 = panel_from_blocks<from_q8_0>;
    k.panel_from_q4_0 = panel_from_blocks<from_q4_0>;
    k.row_tokens      = 64;
    k.dot_f16         = dot<from_f16>;
    k.dot_bf16        = dot<from_bf16>;
    k.dot_f32         = dot<from_f32>;
    return k;
}

constexpr matrix_kernels with_vnni    = kernels(true);
constexpr matrix_kernels without_vnni = kernels(false);

}  // namespace

const matrix_kernels * matrix_kernels_avx512(bool has_vnni) {
    return has_vnni ? &with_vnni : &without_vnni;
}

}  // namespace gme

#else

namespace gme {

const matrix_kernels * matrix_kernels_avx512(bool) {
    return nullptr;
}

}  // namespace gme

#endif
