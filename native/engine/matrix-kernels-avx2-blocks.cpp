// matrix-kernels-avx2-blocks: products of whole numbers where there are no instructions made for them (no VNNI).
//
//   bytes: q4_0. Weights stay 0…15 (8 added), tokens are bytes -127…127: the sum of two products is at most 3810, so that a whole block,
//          8 of them, adds up in 16 bits. What the added 8 is too much, the tile's offset takes off again.
//          tile block: values [8, 12, 4], scales [12], offsets [12]; panel block: weights [8, 32, 4], scales [32]
//   words: q8_0, and q4_0 beside it. Bytes times bytes overflow 16 bits; split into halves they take as many instructions as 16-bit
//          numbers do, which add up in 32 bits, and with which tokens keep 16 bits of their block's largest.
//          tile block: values [16, 12, 2], scales [12]; panel block: weights [16, 32, 2], scales [32]
//
// 6 tokens × 16 rows in 12 registers, twice over for a panel's rows and a tile's tokens; after each block they are scaled and added to the
// f32 sums in memory.

#include "matrix-kernels-avx2.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

namespace gme {

namespace {

using namespace avx2;

constexpr int half_rows   = 16;
constexpr int half_tokens = 6;

// ---- products ----

struct bytes_form {
    static constexpr int     steps   = 8;  // of four columns
    static constexpr int64_t tile    = byte_tile_block;
    static constexpr int64_t values  = byte_block * tile_tokens;
    static constexpr int64_t weights = byte_block * panel_rows;
    GME_AVX2_INLINE static __m256i add_product(__m256i sum, __m256i w, __m256i x) { return _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x)); }
    // The block's sums times the tokens' scale; `scale` is followed by the other tokens' scales and then by the offsets.
    GME_AVX2_INLINE static __m256 scaled(__m256i sum, const float * scale) {
        const __m256 whole = _mm256_cvtepi32_ps(_mm256_madd_epi16(sum, _mm256_set1_epi16(1)));
        return _mm256_fmadd_ps(whole, _mm256_broadcast_ss(scale), _mm256_broadcast_ss(scale + tile_tokens));
    }
};

struct words_form {
    static constexpr int     steps   = 16;  // of two columns
    static constexpr int64_t tile    = word_tile_block;
    static constexpr int64_t values  = 2 * byte_block * tile_tokens;
    static constexpr int64_t weights = 2 * byte_block * panel_rows;
    GME_AVX2_INLINE static __m256i add_product(__m256i sum, __m256i w, __m256i x) { return _mm256_add_epi32(sum, _mm256_madd_epi16(w, x)); }
    GME_AVX2_INLINE static __m256  scaled(__m256i sum, const float * scale) { return _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_broadcast_ss(scale)); }
};

template <typename form> constexpr int64_t panel_stride = form::weights + panel_rows * static_cast<int64_t>(sizeof(float));

static_assert(panel_stride<bytes_form> <= panel_block && panel_stride<words_form> <= panel_block, "a panel's block has room");

// sums are those of the panel's row `row` and the tile's token `token` on
template <typename form, int n_tokens> GME_AVX2 void multiply_quarter(const char * panel, int64_t row, const char * tile, int64_t token, int64_t n_in, float * sums) {
    for (int64_t block = 0; block < n_in / byte_block; block++) {
        const char * weights = panel + block * panel_stride<form> + row * 4;
        const char * values  = tile + block * form::tile + token * 4;
        __m256i      acc[n_tokens][2];
#pragma GCC unroll 6
        for (int t = 0; t < n_tokens; t++) {
            acc[t][0] = acc[t][1] = _mm256_setzero_si256();
        }
#pragma GCC unroll 16
        for (int k = 0; k < form::steps; k++) {
            const __m256i w0 = _mm256_load_si256(reinterpret_cast<const __m256i *>(weights + k * panel_rows * 4));
            const __m256i w1 = _mm256_load_si256(reinterpret_cast<const __m256i *>(weights + k * panel_rows * 4 + 32));
#pragma GCC unroll 6
            for (int t = 0; t < n_tokens; t++) {
                int32_t word;
                std::memcpy(&word, values + (k * tile_tokens + t) * 4, 4);
                const __m256i x = _mm256_set1_epi32(word);
                acc[t][0]       = form::add_product(acc[t][0], w0, x);
                acc[t][1]       = form::add_product(acc[t][1], w1, x);
                // Without this GCC reorders the products of several columns and runs out of registers: half the speed.
                __asm__("" : "+x"(acc[t][0]), "+x"(acc[t][1]));
            }
        }
        const auto * scales = reinterpret_cast<const float *>(tile + block * form::tile + form::values) + token;
        const auto * d      = reinterpret_cast<const float *>(panel + block * panel_stride<form> + form::weights) + row;
#pragma GCC unroll 6
        for (int t = 0; t < n_tokens; t++) {
            float * to = sums + t * panel_rows;
            _mm256_store_ps(to, _mm256_fmadd_ps(form::scaled(acc[t][0], scales + t), _mm256_load_ps(d), _mm256_load_ps(to)));
            _mm256_store_ps(to + 8, _mm256_fmadd_ps(form::scaled(acc[t][1], scales + t), _mm256_load_ps(d + 8), _mm256_load_ps(to + 8)));
        }
    }
}

template <typename form> void multiply(const char * panel, const char * tile, int64_t n_in, int n_tokens, float * sums) {
    using quarter_function = void (*)(const char *, int64_t, const char *, int64_t, int64_t, float *);
    static constexpr quarter_function by_count[] = { multiply_quarter<form, 1>, multiply_quarter<form, 2>, multiply_quarter<form, 3>,
                                                     multiply_quarter<form, 4>, multiply_quarter<form, 5>, multiply_quarter<form, 6> };
    for (int first = 0; first < n_tokens; first += half_tokens) {
        const int n = n_tokens - first < half_tokens ? n_tokens - first : half_tokens;
        for (int row = 0; row < panel_rows; row += half_rows) {
            by_count[n - 1](panel, row, tile, first, n_in, sums + first * panel_rows + row);
        }
    }
}

// ---- panels ----

GME_AVX2_INLINE void store_words(const __m256i words[8], char * to) {  // one column of words of 8 rows each
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        _mm256_store_si256(reinterpret_cast<__m256i *>(to + i * panel_rows * 4), words[i]);
    }
}

template <typename number> GME_AVX2 void words_panel(const void * const * rows, int64_t n_in, char * panel) {
    for (int first = 0; first < panel_rows; first += 8) {
        for (int64_t block = 0; block < n_in / byte_block; block++) {
            char *  to = panel + block * panel_stride<words_form>;
            auto *  d  = reinterpret_cast<float *>(to + words_form::weights) + first;
            __m256i low[8], high[8];
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) {
                const char * from = static_cast<const char *>(rows[first + i]) + block * number::block_bytes;
                low[i]            = _mm256_cvtepi8_epi16(number::half(from, 0));
                high[i]           = _mm256_cvtepi8_epi16(number::half(from, 1));
                d[i]              = scale_of(from);
            }
            transpose_8(low);
            store_words(low, to + first * 4);
            transpose_8(high);
            store_words(high, to + 8 * panel_rows * 4 + first * 4);
        }
    }
}

GME_AVX2 void bytes_panel_q4_0(const void * const * rows, int64_t n_in, char * panel) {
    for (int first = 0; first < panel_rows; first += 8) {
        for (int64_t block = 0; block < n_in / byte_block; block++) {
            char *  to = panel + block * panel_stride<bytes_form>;
            auto *  d  = reinterpret_cast<float *>(to + bytes_form::weights) + first;
            __m256i r[8];
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) {
                const char * from = static_cast<const char *>(rows[first + i]) + block * from_q4_0::block_bytes;
                r[i]              = from_q4_0::whole_unsigned(from);
                d[i]              = scale_of(from);
            }
            transpose_8(r);
            store_words(r, to + first * 4);
        }
    }
}

// ---- tiles ----

// 32 numbers of a token as multiples of `scale`, none larger than `most`. A block that holds a NaN or an infinity gets a scale that is not
// a number, one of nothing but zeros or next to nothing becomes zeros.
struct token_block {
    __m256i numbers[4];
    float   scale;

    GME_AVX2_INLINE token_block(const tile_rows & from, int t, int64_t k, float most) {
        __m256 x[4], largest = _mm256_setzero_ps(), odd = _mm256_setzero_ps();
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            x[i]    = load_token(from, t, k + 8 * i);
            largest = _mm256_max_ps(largest, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x[i]));
            odd     = _mm256_fmadd_ps(x[i], _mm256_setzero_ps(), odd);  // NaN from NaNs and infinities on
        }
        __m128 four        = _mm_max_ps(_mm256_castps256_ps128(largest), _mm256_extractf128_ps(largest, 1));
        four               = _mm_max_ps(four, _mm_movehl_ps(four, four));
        const float  top   = _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
        const bool   whole = _mm256_movemask_ps(_mm256_cmp_ps(odd, odd, _CMP_UNORD_Q)) == 0;
        const __m256 ratio = _mm256_set1_ps(top > 1e-30f ? most / top : 0.0f);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            numbers[i] = _mm256_cvtps_epi32(_mm256_mul_ps(x[i], ratio));
        }
        scale = whole ? top / most : __builtin_nanf("");
    }
    // numbers 16i … 16i+15 as 16 bits
    GME_AVX2_INLINE __m256i shorts(int i) const { return _mm256_permute4x64_epi64(_mm256_packs_epi32(numbers[2 * i], numbers[2 * i + 1]), 0xd8); }
};

GME_AVX2_INLINE void scatter_words(__m256i words, char * to) {  // to every 12th word
    alignas(32) int32_t list[8];
    _mm256_store_si256(reinterpret_cast<__m256i *>(list), words);
    for (int i = 0; i < 8; i++) {
        std::memcpy(to + i * tile_tokens * 4, list + i, 4);
    }
}

GME_AVX2_INLINE int32_t sum_of(__m256i x) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    s         = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

GME_AVX2 void tile_bytes(const tile_rows & from, int64_t n_in, char * tile) {
    for (int64_t block = 0; block < n_in / byte_block; block++) {
        char * to     = tile + block * byte_tile_block;
        auto * scales = reinterpret_cast<float *>(to + bytes_form::values);
        for (int t = 0; t < tile_tokens; t++) {
            const token_block token(from, t, block * byte_block, 127.0f);
            const __m256i     bytes = _mm256_packs_epi16(token.shorts(0), token.shorts(1));
            scatter_words(_mm256_permute4x64_epi64(bytes, 0xd8), to + t * 4);
            const __m256i four      = _mm256_add_epi32(_mm256_add_epi32(token.numbers[0], token.numbers[1]), _mm256_add_epi32(token.numbers[2], token.numbers[3]));
            scales[t]               = token.scale;
            scales[tile_tokens + t] = -8.0f * token.scale * static_cast<float>(sum_of(four));
        }
    }
}

GME_AVX2 void tile_words(const tile_rows & from, int64_t n_in, char * tile) {
    for (int64_t block = 0; block < n_in / byte_block; block++) {
        char * to     = tile + block * word_tile_block;
        auto * scales = reinterpret_cast<float *>(to + words_form::values);
        for (int t = 0; t < tile_tokens; t++) {
            const token_block token(from, t, block * byte_block, 32767.0f);
            scatter_words(token.shorts(0), to + t * 4);
            scatter_words(token.shorts(1), to + (8 * tile_tokens + t) * 4);
            scales[t] = token.scale;
        }
    }
}

}  // namespace

const block_kernels avx2_bytes = { tile_bytes, multiply<bytes_form>, nullptr, bytes_panel_q4_0 };
const block_kernels avx2_words = { tile_words, multiply<words_form>, words_panel<from_q8_0>, words_panel<from_q4_0> };

}  // namespace gme

#endif
