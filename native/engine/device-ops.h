// The blocks that vision tower and decoder share as nodes of ggml's own, for devices: what graph-ops.h makes of our kernels.
#pragma once

#include "graph-ops.h"

namespace gme {

// Shapes and meaning as in graph-ops.h. Nodes that ggml's back ends know, sums in f32.
ggml_tensor * device_norm(graph & build, const input_norm & norm, ggml_tensor * x);
ggml_tensor * device_product(graph & build, ggml_tensor * x, const std::vector<linear> & weights, product_end end, ggml_tensor * residual);

// Returns the queries alone, [n_head*n_embd_head, n].
ggml_tensor * device_rotate_and_store(graph & build, ggml_tensor * qkv, int64_t n_head, const key_value_rows & state, int64_t first,
                                      ggml_tensor * cos, ggml_tensor * sin, int64_t first_angle);
ggml_tensor * device_attention(graph & build, ggml_tensor * q, int64_t n_head, const key_value_rows & state, const std::vector<attention_segment> & segments);

}  // namespace gme
