// The blocks that vision tower and decoder share, as nodes of a graph: norm and products, rotary positions, attention.
//
// Shapes are ggml's: ne0 first, so [n_embd, n_tokens] is n_tokens rows. Everything is f32 except the weights.
#pragma once

#include <memory>

#include "attention-kernel.h"
#include "backend.h"
#include "model-weights.h"

namespace gme {

// What a part of the model calls its stages in a profile.
struct stage_names {
    const char * norm;
    const char * product;
    const char * rotary;
    const char * attention;
};

// The norm that rows go through on their way into a product.
struct input_norm {
    row_norm           kind    = row_norm::none;
    const layer_norm * weights = nullptr;
    float              eps     = 0;
};

// x [n_in, n], rows as far apart as they are, normed, times weights of the same n_in -> [sum of n_out, n]; for silu_gate [n_out, n].
// With product_end::add the product is added to `residual` [n_out, n] where it lies.
ggml_tensor * apply_product(graph & build, const stage_names & stages, const input_norm & norm, ggml_tensor * x, const std::vector<linear> & weights,
                            product_end end = product_end::store, ggml_tensor * residual = nullptr);

// x [n_embd, n] -> normed [n_embd, n]
ggml_tensor * apply_norm(graph & build, const input_norm & norm, ggml_tensor * x);

// Rows [first, first+n) of a state tensor [ne0, …] as a view [ne0, n].
ggml_tensor * view_rows(ggml_context * ctx, ggml_tensor * tensor, int64_t first, int64_t n);

class attention_masks;

// Keys and values of one layer, used again by the next: [2*n_embd_head*n_head_kv, n_positions], keys before values.
struct key_value_rows {
    ggml_tensor * rows = nullptr;
    int64_t       n_embd_head = 0;
    int64_t       n_head_kv   = 0;
    std::shared_ptr<attention_masks> masks;  // on a device, of all layers

    int64_t width() const { return n_embd_head * n_head_kv; }
    void    add_to(state_memory & memory, const char * name, int64_t n_positions);
};

// qkv [(n_head + 2*n_head_kv)*n_embd_head, n], cos and sin [n_embd_head, n] rows of a state tensor from `first_angle` on:
// queries are rotated, rotated keys and plain values go to rows [first, first+n) of the state. Returns rows that begin with the queries.
ggml_tensor * rotate_and_store(graph & build, ggml_tensor * qkv, int64_t n_head, const key_value_rows & state, int64_t first,
                               ggml_tensor * cos, ggml_tensor * sin, int64_t first_angle);

// Queries in the first n_head*n_embd_head columns of qkv -> [n_head*n_embd_head, n]. Segments count queries from qkv's first row.
ggml_tensor * apply_attention(graph & build, ggml_tensor * qkv, int64_t n_head, const key_value_rows & state, std::vector<attention_segment> segments);

}  // namespace gme
