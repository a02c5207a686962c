// The blocks that vision tower and decoder share: linear, norms, rotary positions, attention in blocks of queries.
#pragma once

#include "backend.h"
#include "model-weights.h"

namespace gme {

// [n_in, n] -> [n_out, n]; f32 accumulation is asked for on every product.
ggml_tensor * apply_linear(ggml_context * ctx, const linear & weights, ggml_tensor * cur);
ggml_tensor * apply_rms_norm(ggml_context * ctx, const layer_norm & norm, float eps, ggml_tensor * cur);
ggml_tensor * apply_layer_norm(ggml_context * ctx, const layer_norm & norm, float eps, ggml_tensor * cur);

// x [n_embd_head, n_head, n], cos and sin [n_embd_head, n] (sin's first half negated) -> the same shape, rotated.
ggml_tensor * rotate_halves(ggml_context * ctx, ggml_tensor * x, ggml_tensor * cos, ggml_tensor * sin);

// Rows [first, first+n) of a state tensor [ne0, …] as a view [ne0, n].
ggml_tensor * view_rows(ggml_context * ctx, ggml_tensor * tensor, int64_t first, int64_t n);

// Keys and values of one layer, reused by the next. Values are kept transposed, so that the second product of attention
// reads them along its inner dimension; both have room for `padding` more positions, which stay finite.
struct key_value_state {
    static constexpr int64_t padding = 32;  // the fast products need an inner dimension of whole SIMD rows

    int64_t       n_embd_head = 0;
    int64_t       n_head_kv   = 0;
    ggml_tensor * k           = nullptr;  // [n_embd_head*n_head_kv, n_positions + padding]
    ggml_tensor * v_t         = nullptr;  // [n_positions + padding, n_embd_head*n_head_kv]

    void add_to(state_memory & memory, int64_t n_positions);
    // Stores k and v [n_embd_head*n_head_kv, n] of positions [first, first+n).
    void store(graph & graph, ggml_tensor * k_cur, ggml_tensor * v_cur, int64_t first) const;
};

// Which keys the queries see: positions [begin, end) of the state. Causal: query i of the call stands at position
// `query_first + i` and sees keys up to itself. Otherwise all of them, and `padding_mask` hides what lies beyond the end.
struct attention_span {
    int64_t       begin = 0, end = 0;
    int64_t       query_first  = 0;
    bool          causal       = true;
    ggml_tensor * padding_mask = nullptr;  // [keys rounded up to padding, queries of a block], 0 or -inf
};

// Queries that attend together: bounded, so that scores are never there for the whole sequence at once.
int64_t attention_block(int64_t n_keys, int64_t n_head);

// q [n_embd_head, n_head, n] -> written to rows [first, first+n) of `target` [n_embd_head*n_head, …].
void attend(graph & graph, ggml_tensor * q, const key_value_state & state, const attention_span & span, ggml_tensor * target, int64_t first);

}  // namespace gme
