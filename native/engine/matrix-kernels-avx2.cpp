// matrix-kernels-avx2: 6 tokens × 16 rows in 12 registers, twice over for a panel's 32 rows and a tile's 12 tokens.
//
//   f32:    per column two registers of weights, 6 broadcasts, 12 fused multiply-adds
//   panels: 8×8 transposes; f16 through F16C, quantised blocks become f32
//   dot:    few tokens, along the file's own rows
//
// Products of whole numbers are in matrix-kernels-avx2-blocks.cpp.

#include "matrix-kernels-avx2.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

namespace gme {

namespace {

using namespace avx2;

// ---- products ----

constexpr int half_rows   = 16;
constexpr int half_tokens = 6;

template <int n_tokens> GME_AVX2 void multiply_quarter(const float * panel, const float * tile, int64_t n_in, float * sums) {
    for (int64_t first = 0; first < n_in; first += stretch_columns) {
        const int64_t end = first + stretch_columns < n_in ? first + stretch_columns : n_in;
        __m256        acc[n_tokens][2];
#pragma GCC unroll 6
        for (int t = 0; t < n_tokens; t++) {
            acc[t][0] = acc[t][1] = _mm256_setzero_ps();
        }
        for (int64_t k = first; k < end; k++) {
            const __m256 w0 = _mm256_load_ps(panel + k * panel_rows);
            const __m256 w1 = _mm256_load_ps(panel + k * panel_rows + 8);
#pragma GCC unroll 6
            for (int t = 0; t < n_tokens; t++) {
                const __m256 x = _mm256_broadcast_ss(tile + k * tile_tokens + t);
                acc[t][0]      = _mm256_fmadd_ps(w0, x, acc[t][0]);
                acc[t][1]      = _mm256_fmadd_ps(w1, x, acc[t][1]);
            }
        }
#pragma GCC unroll 6
        for (int t = 0; t < n_tokens; t++) {
            float * to = sums + t * panel_rows;
            _mm256_store_ps(to, _mm256_add_ps(_mm256_load_ps(to), acc[t][0]));
            _mm256_store_ps(to + 8, _mm256_add_ps(_mm256_load_ps(to + 8), acc[t][1]));
        }
    }
}

void multiply_f32(const float * panel, const float * tile, int64_t n_in, int n_tokens, float * sums) {
    using quarter_function = void (*)(const float *, const float *, int64_t, float *);
    static constexpr quarter_function by_count[] = { multiply_quarter<1>, multiply_quarter<2>, multiply_quarter<3>,
                                                     multiply_quarter<4>, multiply_quarter<5>, multiply_quarter<6> };
    for (int first = 0; first < n_tokens; first += half_tokens) {
        const int n = n_tokens - first < half_tokens ? n_tokens - first : half_tokens;
        for (int row = 0; row < panel_rows; row += half_rows) {
            by_count[n - 1](panel + row, tile + first, n_in, sums + first * panel_rows + row);
        }
    }
}

// ---- panels ----

struct from_f32 {
    static constexpr int64_t bytes = 4;
    GME_AVX2_INLINE static __m256 load(const char * at) { return _mm256_loadu_ps(reinterpret_cast<const float *>(at)); }
};

struct from_f16 {
    static constexpr int64_t bytes = 2;
    GME_AVX2_INLINE static __m256 load(const char * at) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(at))); }
};

struct from_bf16 {
    static constexpr int64_t bytes = 2;
    GME_AVX2_INLINE static __m256 load(const char * at) {
        const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(at)));
        return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
    }
};

template <typename number> GME_AVX2 void panel_from(const void * const * rows, int64_t n_in, float * panel) {
    for (int first = 0; first < panel_rows; first += 8) {
        for (int64_t k = 0; k < n_in; k += 8) {
            __m256 r[8];
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) {
                r[i] = number::load(static_cast<const char *>(rows[first + i]) + k * number::bytes);
            }
            transpose_8(r);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) {
                _mm256_store_ps(panel + (k + i) * panel_rows + first, r[i]);
            }
        }
    }
}

template <typename number> GME_AVX2 void panel_from_blocks(const void * const * rows, int64_t n_in, float * panel) {
    for (int first = 0; first < panel_rows; first += 8) {
        for (int64_t k = 0; k < n_in; k += byte_block) {
            const char * blocks[8];
            __m256       scales[8];
            for (int i = 0; i < 8; i++) {
                blocks[i] = static_cast<const char *>(rows[first + i]) + k / byte_block * number::block_bytes;
                scales[i] = _mm256_set1_ps(scale_of(blocks[i]));
            }
#pragma GCC unroll 4
            for (int quarter = 0; quarter < 4; quarter++) {
                __m256 r[8];
#pragma GCC unroll 8
                for (int i = 0; i < 8; i++) {
                    r[i] = _mm256_mul_ps(scales[i], _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(number::quarter(blocks[i], quarter))));
                }
                transpose_8(r);
#pragma GCC unroll 8
                for (int i = 0; i < 8; i++) {
                    _mm256_store_ps(panel + (k + 8 * quarter + i) * panel_rows + first, r[i]);
                }
            }
        }
    }
}

// ---- tiles ----

GME_AVX2 void tile_f32(const tile_rows & from, int64_t n_in, float * tile) {
    for (int64_t k = 0; k < n_in; k += 8) {
        __m256 low[8], high[8];
#pragma GCC unroll 8
        for (int t = 0; t < 8; t++) {
            low[t]  = load_token(from, t, k);
            high[t] = t < 4 ? load_token(from, 8 + t, k) : _mm256_setzero_ps();
        }
        transpose_8(low);
        transpose_8(high);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            _mm256_storeu_ps(tile + (k + i) * tile_tokens, low[i]);
            _mm_storeu_ps(tile + (k + i) * tile_tokens + 8, _mm256_castps256_ps128(high[i]));
        }
    }
}

// ---- dot products along the file's rows ----

GME_AVX2_INLINE float sum_of(__m256 x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s        = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

template <typename number, int n_rows, int n_tokens>
GME_AVX2 void dot_block(const void * const * rows, int64_t ahead, const float * tokens, int64_t token_stride, int64_t n_in, float * sums) {
    __m256 acc[n_rows][n_tokens];
#pragma GCC unroll 3
    for (int r = 0; r < n_rows; r++) {
#pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++) {
            acc[r][t] = _mm256_setzero_ps();
        }
    }
    for (int64_t k = 0; k < n_in; k += 8) {
        __m256 w[n_rows];
#pragma GCC unroll 3
        for (int r = 0; r < n_rows; r++) {
            const char * at = static_cast<const char *>(rows[r]) + k * number::bytes;
            _mm_prefetch(at + 512, _MM_HINT_T0);
            _mm_prefetch(at + ahead, _MM_HINT_T1);
            w[r] = number::load(at);
        }
#pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++) {
            const __m256 x = _mm256_loadu_ps(tokens + t * token_stride + k);
#pragma GCC unroll 3
            for (int r = 0; r < n_rows; r++) {
                acc[r][t] = _mm256_fmadd_ps(w[r], x, acc[r][t]);
            }
        }
    }
#pragma GCC unroll 3
    for (int r = 0; r < n_rows; r++) {
#pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++) {
            sums[t * panel_rows + r] = sum_of(acc[r][t]);
        }
    }
}

template <typename number, int n_rows>
void dot_tokens(const void * const * rows, int64_t ahead, const float * tokens, int64_t token_stride, int64_t n_in, int n_tokens, float * sums) {
    using block_function = void (*)(const void * const *, int64_t, const float *, int64_t, int64_t, float *);
    static constexpr block_function by_count[] = { dot_block<number, n_rows, 1>, dot_block<number, n_rows, 2>, dot_block<number, n_rows, 3>,
                                                   dot_block<number, n_rows, 4> };
    for (int first = 0; first < n_tokens; first += 4) {
        const int n = n_tokens - first < 4 ? n_tokens - first : 4;
        by_count[n - 1](rows, ahead, tokens + first * token_stride, token_stride, n_in, sums + first * panel_rows);
    }
}

template <typename number>
void dot(const void * const * rows, int n_rows, const float * tokens, int64_t token_stride, int64_t n_in, int n_tokens, float * sums) {
    // The next three rows are on their way to the second cache while these are multiplied.
    const int64_t ahead = n_rows > 3 ? static_cast<const char *>(rows[3]) - static_cast<const char *>(rows[0]) : 0;
    int           r     = 0;
    for (; r + 3 <= n_rows; r += 3) {
        dot_tokens<number, 3>(rows + r, ahead, tokens, token_stride, n_in, n_tokens, sums + r);
    }
    for (; r < n_rows; r++) {
        dot_tokens<number, 1>(rows + r, ahead, tokens, token_stride, n_in, n_tokens, sums + r);
    }
}

constexpr matrix_kernels make_kernels() {
    matrix_kernels k  = {};
    k.bytes           = &avx2_bytes;
    k.words           = &avx2_words;
    k.tile_f32        = tile_f32;
    k.multiply_f32    = multiply_f32;
    k.panel_from_f32  = panel_from<from_f32>;
    k.panel_from_f16  = panel_from<from_f16>;
    k.panel_from_bf16 = panel_from<from_bf16>;
    k.panel_from_q8_0 = panel_from_blocks<from_q8_0>;
    k.panel_from_q4_0 = panel_from_blocks<from_q4_0>;
    k.row_tokens      = 24;
    k.dot_f16         = dot<from_f16>;
    k.dot_bf16        = dot<from_bf16>;
    k.dot_f32         = dot<from_f32>;
    return k;
}

constexpr matrix_kernels kernels = make_kernels();

}  // namespace

const matrix_kernels * matrix_kernels_avx2() {
    return &kernels;
}

}  // namespace gme

#else

namespace gme {

const matrix_kernels * matrix_kernels_avx2() {
    return nullptr;
}

}  // namespace gme

#endif
