// AVX-512: 16 lanes.
//
// A register of floats and what the kernels written over `lanes` do with it (attention-kernel-tiles.h, row-kernels-loops.h). The
// functions are compiled for these instructions only: GME_TARGET stands before those that use them, GME_LANES before small ones.
#pragma once

#include "lanes-exp2.h"

#include <cmath>

#if defined(__x86_64__) && defined(__GNUC__)

#if !defined(__clang__) && __GNUC__ < 13
// Both are raised inside GCC 12's own AVX-512 headers.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#define GME_TARGET __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#define GME_LANES static inline __attribute__((always_inline, target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))

namespace {

struct lanes {
    using vec = __m512;

    static constexpr int width         = 16;
    static constexpr int panel_vectors = 3;
    static constexpr int tile_rows(int) { return 8; }

    GME_LANES vec  load(const float * from) { return _mm512_loadu_ps(from); }
    GME_LANES void store(float * to, vec x) { _mm512_storeu_ps(to, x); }
    GME_LANES vec  set(float x) { return _mm512_set1_ps(x); }
    GME_LANES vec  add(vec a, vec b) { return _mm512_add_ps(a, b); }
    GME_LANES vec  sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
    GME_LANES vec  mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
    GME_LANES vec  div(vec a, vec b) { return _mm512_div_ps(a, b); }
    GME_LANES vec  max(vec a, vec b) { return _mm512_max_ps(a, b); }
    GME_LANES vec  fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }

    GME_LANES vec hide_behind(const int32_t * limits, int32_t key, vec x) {
        const __mmask16 seen = _mm512_cmpge_epi32_mask(_mm512_loadu_si512(limits), _mm512_set1_epi32(key));
        return _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), seen, x);
    }

    // 2^(x * factor), without rounding the product before its whole part is gone
    GME_LANES vec exp2(vec x, vec factor) {
        const vec product = _mm512_mul_ps(x, factor);
        const __mmask16 counts   = _mm512_cmp_ps_mask(product, _mm512_set1_ps(gme::exp2_smallest), _CMP_NLT_UQ);  // true for a NaN
        const vec       whole    = _mm512_roundscale_ps(product, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        const vec       fraction = _mm512_fmsub_ps(x, factor, whole);
        vec             power    = _mm512_set1_ps(gme::exp2_terms[6]);
        for (int i = 5; i >= 0; i--) {
            power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(gme::exp2_terms[i]));
        }
        return _mm512_maskz_scalef_ps(counts, power, whole);
    }

    // [r0 r4 r8 r12 | r1 … | r2 … | r3 …] x four columns <-> four columns x [r0 r1 … r15]
    GME_LANES void turn(vec (&x)[4]) {
        const vec ab_low = _mm512_unpacklo_ps(x[0], x[1]), ab_high = _mm512_unpackhi_ps(x[0], x[1]);
        const vec cd_low = _mm512_unpacklo_ps(x[2], x[3]), cd_high = _mm512_unpackhi_ps(x[2], x[3]);
        x[0] = _mm512_shuffle_ps(ab_low, cd_low, 0x44);
        x[1] = _mm512_shuffle_ps(ab_low, cd_low, 0xee);
        x[2] = _mm512_shuffle_ps(ab_high, cd_high, 0x44);
        x[3] = _mm512_shuffle_ps(ab_high, cd_high, 0xee);
    }
    GME_LANES void load_columns(const float * const * rows, int64_t column, vec (&x)[4]) {
        for (int i = 0; i < 4; i++) {
            x[i] = _mm512_castps128_ps512(_mm_loadu_ps(rows[i] + column));
            x[i] = _mm512_insertf32x4(x[i], _mm_loadu_ps(rows[i + 4] + column), 1);
            x[i] = _mm512_insertf32x4(x[i], _mm_loadu_ps(rows[i + 8] + column), 2);
            x[i] = _mm512_insertf32x4(x[i], _mm_loadu_ps(rows[i + 12] + column), 3);
        }
        turn(x);
    }
    GME_LANES void store_columns(float * const * rows, int64_t column, vec (&x)[4]) {
        turn(x);
        for (int i = 0; i < 4; i++) {
            _mm_storeu_ps(rows[i] + column, _mm512_castps512_ps128(x[i]));
            _mm_storeu_ps(rows[i + 4] + column, _mm512_extractf32x4_ps(x[i], 1));
            _mm_storeu_ps(rows[i + 8] + column, _mm512_extractf32x4_ps(x[i], 2));
            _mm_storeu_ps(rows[i + 12] + column, _mm512_extractf32x4_ps(x[i], 3));
        }
    }
    GME_LANES void store_strips(float * to, int64_t stride, vec x) {
        _mm256_storeu_ps(to, _mm512_castps512_ps256(x));
        _mm256_storeu_ps(to + stride, _mm512_extractf32x8_ps(x, 1));
    }
};

}  // namespace

#endif
