// graph-ops: the blocks of a transformer layer in ggml's operations.
//
//   hidden -> norm -> linear -> heads -> rotate -> attend in blocks of queries -> linear
//
// Shapes are ggml's: ne0 first, so [n_embd, n_tokens] is n_tokens rows. Everything is f32 except the weights.

#include "graph-ops.h"

#include <algorithm>
#include <cmath>

namespace gme {

static ggml_tensor * product(ggml_context * ctx, ggml_tensor * a, ggml_tensor * b) {
    ggml_tensor * cur = ggml_mul_mat(ctx, a, b);
    ggml_prec_set_acc(cur, GGML_PREC_F32);
    return cur;
}

ggml_tensor * apply_linear(ggml_context * ctx, const linear & weights, ggml_tensor * cur) {
    cur = product(ctx, weights.weight, cur);
    return weights.bias == nullptr ? cur : ggml_add(ctx, cur, weights.bias);
}

ggml_tensor * apply_rms_norm(ggml_context * ctx, const layer_norm & norm, float eps, ggml_tensor * cur) {
    return ggml_mul(ctx, ggml_rms_norm(ctx, cur, eps), norm.weight);
}

ggml_tensor * apply_layer_norm(ggml_context * ctx, const layer_norm & norm, float eps, ggml_tensor * cur) {
    return ggml_add(ctx, ggml_mul(ctx, ggml_norm(ctx, cur, eps), norm.weight), norm.bias);
}

ggml_tensor * rotate_halves(ggml_context * ctx, ggml_tensor * x, ggml_tensor * cos, ggml_tensor * sin) {
    const int64_t n_embd_head = x->ne[0];
    const int64_t n           = x->ne[2];
    // [n_embd_head, n] -> [n_embd_head, 1, n]: the same angles for every head
    cos = ggml_view_3d(ctx, cos, n_embd_head, 1, n, cos->nb[1], cos->nb[1], 0);
    sin = ggml_view_3d(ctx, sin, n_embd_head, 1, n, sin->nb[1], sin->nb[1], 0);
    ggml_tensor * swapped = ggml_roll(ctx, x, static_cast<int>(n_embd_head / 2), 0, 0, 0);
    return ggml_add(ctx, ggml_mul(ctx, x, cos), ggml_mul(ctx, swapped, sin));
}

ggml_tensor * view_rows(ggml_context * ctx, ggml_tensor * tensor, int64_t first, int64_t n) {
    return ggml_view_2d(ctx, tensor, tensor->ne[0], n, tensor->nb[1], static_cast<size_t>(first) * tensor->nb[1]);
}

void key_value_state::add_to(state_memory & memory, int64_t n_positions) {
    const int64_t n_rows = (n_positions + padding - 1) / padding * padding + padding;
    k                    = memory.add("k", n_embd_head * n_head_kv, n_rows);
    v_t                  = memory.add("v_t", n_rows, n_embd_head * n_head_kv);
}

void key_value_state::store(graph & graph, ggml_tensor * k_cur, ggml_tensor * v_cur, int64_t first) const {
    ggml_context * ctx = graph.context();
    const int64_t  n   = k_cur->ne[1];
    graph.add(ggml_cpy(ctx, k_cur, view_rows(ctx, k, first, n)));
    // [n_embd_head*n_head_kv, n] -> [n, n_embd_head*n_head_kv]
    ggml_tensor * columns = ggml_view_2d(ctx, v_t, n, v_t->ne[1], v_t->nb[1], static_cast<size_t>(first) * v_t->nb[0]);
    graph.add(ggml_cpy(ctx, ggml_transpose(ctx, v_cur), columns));
}

int64_t attention_block(int64_t n_keys, int64_t n_head) {
    constexpr int64_t scores_max = 4 << 20;  // numbers: 16 MiB, about what stays in the caches
    const int64_t     n          = scores_max / std::max<int64_t>(1, n_keys * n_head);
    return std::clamp<int64_t>(n / 16 * 16, 16, 256);
}

// One block: q [n_embd_head, n_head, n] -> [n_embd_head, n_head, n] written to `target`.
static void attend_block(graph & graph, ggml_tensor * q, const key_value_state & state, const attention_span & span, ggml_tensor * target) {
    ggml_context * ctx     = graph.context();
    const int64_t  n_keys  = (span.end - span.begin + key_value_state::padding - 1) / key_value_state::padding * key_value_state::padding;
    const size_t   head    = static_cast<size_t>(state.n_embd_head) * sizeof(float);
    const float    scale   = 1.0f / std::sqrt(static_cast<float>(state.n_embd_head));
    const auto     begin   = static_cast<size_t>(span.begin);
    const int64_t  n_head  = q->ne[1];
    const int64_t  n       = q->ne[2];
    const int64_t  n_rows  = n * n_head / state.n_head_kv;  // queries of all heads that share one key head: one product, not several
    // [n_embd_head, n_head, n] -> [n_embd_head, n, n_head] -> [n_embd_head, n_rows, n_head_kv]
    ggml_tensor * queries = ggml_cont_3d(ctx, ggml_permute(ctx, q, 0, 2, 1, 3), state.n_embd_head, n_rows, state.n_head_kv);
    // [n_embd_head*n_head_kv, …] -> [n_embd_head, n_keys, n_head_kv]
    ggml_tensor * keys   = ggml_view_3d(ctx, state.k, state.n_embd_head, n_keys, state.n_head_kv, state.k->nb[1], head, begin * state.k->nb[1]);
    // [n_keys, n_rows, n_head_kv] -> [n_keys, n, n_head]
    ggml_tensor * scores = ggml_reshape_3d(ctx, product(ctx, keys, queries), n_keys, n, n_head);
    if (span.causal) {
        // Keys behind the query, the padding among them, become -inf.
        scores = ggml_diag_mask_inf_inplace(ctx, scores, static_cast<int>(span.query_first - span.begin));
    }
    ggml_tensor * weights = ggml_soft_max_ext(ctx, scores, span.causal ? nullptr : span.padding_mask, scale, 0.0f);
    // [n_positions, n_embd_head*n_head_kv] -> [n_keys, n_embd_head, n_head_kv]
    ggml_tensor * values = ggml_view_3d(ctx, state.v_t, n_keys, state.n_embd_head, state.n_head_kv, state.v_t->nb[1],
                                        static_cast<size_t>(state.n_embd_head) * state.v_t->nb[1], begin * state.v_t->nb[0]);
    ggml_tensor * mixed = product(ctx, values, ggml_reshape_3d(ctx, weights, n_keys, n_rows, state.n_head_kv));
    // [n_embd_head, n_rows, n_head_kv] -> [n_embd_head, n, n_head] -> [n_embd_head, n_head, n]
    mixed = ggml_reshape_3d(ctx, mixed, state.n_embd_head, n, n_head);
    graph.add(ggml_cpy(ctx, ggml_permute(ctx, mixed, 0, 2, 1, 3), target));
}

void attend(graph & graph, ggml_tensor * q, const key_value_state & state, const attention_span & span, ggml_tensor * target, int64_t first) {
    ggml_context * ctx    = graph.context();
    const int64_t  n_head = q->ne[1];
    const int64_t  n      = q->ne[2];
    const int64_t  block  = attention_block(span.end - span.begin, n_head);
    for (int64_t at = 0; at < n; at += block) {
        const int64_t  n_block = std::min(block, n - at);
        attention_span part    = span;
        if (span.causal) {
            part.query_first = span.query_first + at;
            part.end         = std::min(span.end, part.query_first + n_block);
        }
        ggml_tensor * queries = ggml_view_3d(ctx, q, q->ne[0], n_head, n_block, q->nb[1], q->nb[2], static_cast<size_t>(at) * q->nb[2]);
        ggml_tensor * rows    = ggml_view_3d(ctx, target, q->ne[0], n_head, n_block, static_cast<size_t>(q->ne[0]) * sizeof(float),
                                             target->nb[1], static_cast<size_t>(first + at) * target->nb[1]);
        attend_block(graph, queries, state, part, rows);
    }
}

}  // namespace gme
