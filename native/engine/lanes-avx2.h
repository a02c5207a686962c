// AVX2 with FMA: 8 lanes.
//
// A register of floats and what the kernels written over `lanes` do with it (attention-kernel-tiles.h, row-kernels-loops.h). The
// functions are compiled for these instructions only: GME_TARGET stands before those that use them, GME_LANES before small ones.
#pragma once

#include "lanes-exp2.h"

#include <cmath>

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define GME_TARGET __attribute__((target("avx2,fma")))
#define GME_LANES static inline __attribute__((always_inline, target("avx2,fma")))

namespace {

struct lanes {
    using vec = __m256;

    static constexpr int width         = 8;
    static constexpr int panel_vectors = 3;
    // 4 rows by 3 registers of sums leave 4 of the 16 registers to what is multiplied
    static constexpr int tile_rows(int n_vectors) { return n_vectors == 1 ? 8 : 4; }

    GME_LANES vec  load(const float * from) { return _mm256_loadu_ps(from); }
    GME_LANES void store(float * to, vec x) { _mm256_storeu_ps(to, x); }
    GME_LANES vec  set(float x) { return _mm256_set1_ps(x); }
    GME_LANES vec  add(vec a, vec b) { return _mm256_add_ps(a, b); }
    GME_LANES vec  sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
    GME_LANES vec  mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
    GME_LANES vec  div(vec a, vec b) { return _mm256_div_ps(a, b); }
    GME_LANES vec  max(vec a, vec b) { return _mm256_max_ps(a, b); }
    GME_LANES vec  fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }

    GME_LANES vec hide_behind(const int32_t * limits, int32_t key, vec x) {
        const __m256i behind = _mm256_cmpgt_epi32(_mm256_set1_epi32(key), _mm256_loadu_si256(reinterpret_cast<const __m256i *>(limits)));
        return _mm256_blendv_ps(x, _mm256_set1_ps(-INFINITY), _mm256_castsi256_ps(behind));
    }

    // 2^(x * factor), without rounding the product before its whole part is gone
    GME_LANES vec exp2(vec x, vec factor) {
        const vec product = _mm256_mul_ps(x, factor);
        const vec counts   = _mm256_cmp_ps(product, _mm256_set1_ps(gme::exp2_smallest), _CMP_NLT_UQ);  // true for a NaN
        const vec whole    = _mm256_round_ps(product, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        const vec fraction = _mm256_fmsub_ps(x, factor, whole);
        vec       power    = _mm256_set1_ps(gme::exp2_terms[6]);
        for (int i = 5; i >= 0; i--) {
            power = _mm256_fmadd_ps(power, fraction, _mm256_set1_ps(gme::exp2_terms[i]));
        }
        const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127)), 23);
        return _mm256_and_ps(_mm256_mul_ps(power, _mm256_castsi256_ps(exponent)), counts);
    }

    // [r0 r4 | r1 r5 | r2 r6 | r3 r7] x four columns <-> four columns x [r0 … r7]
    GME_LANES void turn(vec (&x)[4]) {
        const vec ab_low = _mm256_unpacklo_ps(x[0], x[1]), ab_high = _mm256_unpackhi_ps(x[0], x[1]);
        const vec cd_low = _mm256_unpacklo_ps(x[2], x[3]), cd_high = _mm256_unpackhi_ps(x[2], x[3]);
        x[0] = _mm256_shuffle_ps(ab_low, cd_low, 0x44);
        x[1] = _mm256_shuffle_ps(ab_low, cd_low, 0xee);
        x[2] = _mm256_shuffle_ps(ab_high, cd_high, 0x44);
        x[3] = _mm256_shuffle_ps(ab_high, cd_high, 0xee);
    }
    GME_LANES void load_columns(const float * const * rows, int64_t column, vec (&x)[4]) {
        for (int i = 0; i < 4; i++) {
            x[i] = _mm256_castps128_ps256(_mm_loadu_ps(rows[i] + column));
            x[i] = _mm256_insertf128_ps(x[i], _mm_loadu_ps(rows[i + 4] + column), 1);
        }
        turn(x);
    }
    GME_LANES void store_columns(float * const * rows, int64_t column, vec (&x)[4]) {
        turn(x);
        for (int i = 0; i < 4; i++) {
            _mm_storeu_ps(rows[i] + column, _mm256_castps256_ps128(x[i]));
            _mm_storeu_ps(rows[i + 4] + column, _mm256_extractf128_ps(x[i], 1));
        }
    }
    GME_LANES void store_strips(float * to, int64_t, vec x) { _mm256_storeu_ps(to, x); }
};

}  // namespace

#endif
