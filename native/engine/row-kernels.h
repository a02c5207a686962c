// What a layer does to rows between its products: norms, rotary positions, activations. Once per instruction set.
#pragma once

#include <cstdint>

#include "cpu-level.h"

namespace gme {

struct row_kernels {
    double (*sum)(const float * x, int64_t n);
    double (*square_sum)(const float * x, int64_t n, float around);  // of x - around
    bool (*finite)(const float * x, int64_t n);  // no NaN and no infinity
    // out[i] = (x[i] * factor + shift) * weight[i] + bias[i]; bias may be NULL, out may be x.
    void (*normalise)(const float * x, int64_t n, float factor, float shift, const float * weight, const float * bias, float * out);
    // One head in place: the first half a and the second half b become a·cos - b·sin and b·cos + a·sin. cos and sin hold
    // n_embd_head numbers, sin's first half negated (positions.h).
    void (*rotate)(float * head, const float * cos, const float * sin, int64_t n_embd_head);
    void (*silu_gate)(const float * gate, const float * up, int64_t n, float * out);  // silu(gate) * up
    void (*quick_gelu)(const float * x, int64_t n, float * out);                      // x · sigmoid(1.702 x)
};

const row_kernels * find_row_kernels(cpu_level level);

const row_kernels * row_kernels_portable();
const row_kernels * row_kernels_avx2();
const row_kernels * row_kernels_avx512();

}  // namespace gme
