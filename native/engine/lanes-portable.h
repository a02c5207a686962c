// Plain C++: 4 lanes, which compilers turn into the registers that every x86-64 and ARM64 has.
//
// A register of floats and what the kernels written over `lanes` do with it (attention-kernel-tiles.h, row-kernels-loops.h). The
// functions are compiled for these instructions only: GME_TARGET stands before those that use them, GME_LANES before small ones.
#pragma once

#include "lanes-exp2.h"

#include <cmath>
#include <cstring>

// One rounding where the processor has it; never two kinds of code for one sum.
#if defined(__ARM_FEATURE_FMA) && defined(__GNUC__)
#define GME_FMA(a, b, c) __builtin_fmaf(a, b, c)
#else
#define GME_FMA(a, b, c) ((a) * (b) + (c))
#endif

#define GME_TARGET
#if defined(__GNUC__)
#define GME_LANES static inline __attribute__((always_inline))
#elif defined(_MSC_VER)
#define GME_LANES static __forceinline
#else
#define GME_LANES static inline
#endif

namespace {

struct lanes {
    struct vec {
        float x[4];
    };

    static constexpr int width         = 4;
    static constexpr int panel_vectors = 2;
    static constexpr int tile_rows(int) { return 4; }

    template <typename F> GME_LANES vec each(const F & of) {
        vec r;
        for (int i = 0; i < 4; i++) {
            r.x[i] = of(i);
        }
        return r;
    }

    GME_LANES vec load(const float * from) {
        vec r;
        std::memcpy(r.x, from, sizeof(r.x));
        return r;
    }
    GME_LANES void store(float * to, const vec & a) { std::memcpy(to, a.x, sizeof(a.x)); }
    GME_LANES vec  set(float a) { return { { a, a, a, a } }; }
    GME_LANES vec  add(const vec & a, const vec & b) { return each([&](int i) { return a.x[i] + b.x[i]; }); }
    GME_LANES vec  sub(const vec & a, const vec & b) { return each([&](int i) { return a.x[i] - b.x[i]; }); }
    GME_LANES vec  mul(const vec & a, const vec & b) { return each([&](int i) { return a.x[i] * b.x[i]; }); }
    GME_LANES vec  div(const vec & a, const vec & b) { return each([&](int i) { return a.x[i] / b.x[i]; }); }
    GME_LANES vec  max(const vec & a, const vec & b) { return each([&](int i) { return a.x[i] > b.x[i] ? a.x[i] : b.x[i]; }); }
    GME_LANES vec  fma(const vec & a, const vec & b, const vec & c) { return each([&](int i) { return GME_FMA(a.x[i], b.x[i], c.x[i]); }); }

    GME_LANES vec hide_behind(const int32_t * limits, int32_t key, const vec & a) {
        return each([&](int i) { return limits[i] >= key ? a.x[i] : -INFINITY; });
    }

    GME_LANES vec exp2(const vec & a, const vec & factor) { return each([&](int i) { return exp2(a.x[i] * factor.x[i]); }); }
    GME_LANES float exp2(float a) {
        constexpr float shift    = 12582912.0f;  // 1.5 * 2^23: a sum with it is rounded to whole numbers, kept in its low bits
        const float     shifted  = a + shift;
        const float     fraction = a - (shifted - shift);
        float           power    = gme::exp2_terms[6];
        for (int i = 5; i >= 0; i--) {
            power = GME_FMA(power, fraction, gme::exp2_terms[i]);
        }
        uint32_t bits;
        std::memcpy(&bits, &shifted, sizeof(bits));
        bits = (bits + 127) << 23;
        float scale;
        std::memcpy(&scale, &bits, sizeof(scale));
        return a < gme::exp2_smallest ? 0.0f : power * scale;
    }

    GME_LANES void load_columns(const float * const * rows, int64_t column, vec (&x)[4]) {
        for (int i = 0; i < 4; i++) {
            x[i] = { { rows[0][column + i], rows[1][column + i], rows[2][column + i], rows[3][column + i] } };
        }
    }
    GME_LANES void store_columns(float * const * rows, int64_t column, vec (&x)[4]) {
        for (int i = 0; i < 4; i++) {
            for (int row = 0; row < 4; row++) {
                rows[row][column + i] = x[i].x[row];
            }
        }
    }
    GME_LANES void store_strips(float * to, int64_t, const vec & a) { store(to, a); }
};

}  // namespace
