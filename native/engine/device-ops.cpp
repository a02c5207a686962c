// device-ops: norms, products, rotary positions and attention out of ggml's own nodes.
//
//   rows -> norm × weight + bias
//   rows -> product by each weight (sums in f32) + bias -> activation, gate, residual, or side by side
//   qkv  -> heads × cos + heads rolled by half × sin -> queries; keys and values to the state's rows
//   q    -> scores of the keys that a group of segments sees, the others masked -> softmax -> values
//
// device-attention.h groups the segments: short texts go together under one mask, a picture has an attention of its own without.

#include "device-ops.h"

#include <cmath>

#include "device-attention.h"
#include "device.h"

namespace gme {

namespace {

// x [n_in, n] -> [n_out, n]
ggml_tensor * multiply(ggml_context * ctx, const linear & weights, ggml_tensor * x) {
    ggml_tensor * cur = ggml_mul_mat(ctx, weights.weight, x);
    ggml_prec_set_acc(cur, GGML_PREC_F32);
    // A device may round x to f16. What comes wide out of an activation can be too large for it: that stays f32.
    if (x->ne[0] > weights.weight->ne[1]) {
        ggml_prec_set_src(cur, GGML_PREC_F32, 1);
    }
    return weights.bias == nullptr ? cur : ggml_add(ctx, cur, weights.bias);
}

// x · sigmoid(1.702 x): ggml's own quick GELU reads tables of half precision on the processor.
ggml_tensor * quick_gelu(ggml_context * ctx, ggml_tensor * x) {
    return ggml_mul(ctx, x, ggml_sigmoid(ctx, ggml_scale(ctx, x, 1.702f)));
}

// Columns [column, column + n_head*n_embd_head) of rows x -> a view [n_embd_head, n_head, n]
ggml_tensor * view_heads(ggml_context * ctx, ggml_tensor * x, int64_t column, int64_t n_embd_head, int64_t n_head) {
    return ggml_view_3d(ctx, x, n_embd_head, n_head, x->ne[1], static_cast<size_t>(n_embd_head) * sizeof(float), x->nb[1], static_cast<size_t>(column) * sizeof(float));
}

// heads [n_embd_head, n_head, n]; cos and sin [n_embd_head, 1, n], sin's first half negated -> [n_embd_head, n_head, n]
ggml_tensor * rotate(ggml_context * ctx, ggml_tensor * heads, ggml_tensor * cos, ggml_tensor * sin) {
    heads                = ggml_cont(ctx, heads);
    ggml_tensor * rolled = ggml_roll(ctx, heads, static_cast<int>(heads->ne[0] / 2), 0, 0, 0);
    return ggml_add(ctx, ggml_mul(ctx, heads, cos), ggml_mul(ctx, rolled, sin));
}

// q [n_embd_head, n, n_head], k and v [n_embd_head, n_keys, n_head_kv], mask [n_keys, n] or nullptr -> [n_head*n_embd_head, n]
ggml_tensor * attend(graph & build, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, ggml_tensor * mask) {
    ggml_context * ctx   = build.context();
    const float    scale = 1.0f / std::sqrt(static_cast<float>(q->ne[0]));
    const int64_t  n     = q->ne[1];
    const int64_t  width = q->ne[0] * q->ne[2];
    ggml_tensor *  cur   = ggml_flash_attn_ext(ctx, q, k, v, mask, scale, 0.0f, 0.0f);  // [n_embd_head, n_head, n]
    ggml_prec_set_acc(cur, GGML_PREC_F32);
    if (build.where().gpu().supports(cur)) {
        return ggml_reshape_2d(ctx, cur, width, n);
    }
    ggml_tensor * scores_product = ggml_mul_mat(ctx, k, q);  // [n_keys, n, n_head]
    ggml_prec_set_acc(scores_product, GGML_PREC_F32);
    ggml_tensor * scores = ggml_soft_max_ext(ctx, scores_product, mask, scale, 0.0f);
    cur                  = ggml_mul_mat(ctx, ggml_cont(ctx, ggml_transpose(ctx, v)), scores);  // [n_embd_head, n, n_head]
    ggml_prec_set_acc(cur, GGML_PREC_F32);
    build.count_flop(scores_product, 0);  // the caller counts all of the attention
    build.count_flop(cur, 0);
    return ggml_cont_2d(ctx, ggml_permute(ctx, cur, 0, 2, 1, 3), width, n);
}

// Runs of rows of the state from a column on, one behind the other -> [n_embd_head, n_keys, n_head_kv]; a single run is a view
ggml_tensor * gather_keys(ggml_context * ctx, const key_value_rows & state, const std::vector<row_range> & runs, int64_t column) {
    const size_t  row   = state.rows->nb[1];
    ggml_tensor * whole = nullptr;
    for (const auto & run : runs) {
        ggml_tensor * keys = ggml_view_3d(ctx, state.rows, state.n_embd_head, run.end - run.begin, state.n_head_kv, row, static_cast<size_t>(state.n_embd_head) * sizeof(float),
                                          static_cast<size_t>(run.begin) * row + static_cast<size_t>(column) * sizeof(float));
        whole              = whole == nullptr ? keys : ggml_concat(ctx, whole, keys, 1);
    }
    return whole;
}

}  // namespace

ggml_tensor * device_norm(graph & build, const input_norm & norm, ggml_tensor * x) {
    ggml_context * ctx = build.context();
    ggml_tensor *  cur = norm.kind == row_norm::rms ? ggml_rms_norm(ctx, x, norm.eps) : ggml_norm(ctx, x, norm.eps);
    cur                = ggml_mul(ctx, cur, norm.weights->weight);
    return norm.weights->bias == nullptr ? cur : ggml_add(ctx, cur, norm.weights->bias);
}

ggml_tensor * device_product(graph & build, ggml_tensor * x, const std::vector<linear> & weights, product_end end, ggml_tensor * residual) {
    ggml_context * ctx = build.context();
    ggml_tensor *  cur = multiply(ctx, weights[0], x);
    switch (end) {
        case product_end::add: return ggml_add_inplace(ctx, residual, cur);
        case product_end::silu_gate: return ggml_swiglu_split(ctx, cur, multiply(ctx, weights[1], x));
        case product_end::erf_gelu: return ggml_gelu_erf(ctx, cur);
        case product_end::quick_gelu: return quick_gelu(ctx, cur);
        case product_end::store: break;
    }
    for (size_t i = 1; i < weights.size(); i++) {
        cur = ggml_concat(ctx, cur, multiply(ctx, weights[i], x), 0);  // side by side: [n_out_0 + n_out_1, n]
    }
    return cur;
}

ggml_tensor * device_rotate_and_store(graph & build, ggml_tensor * qkv, int64_t n_head, const key_value_rows & state, int64_t first,
                                      ggml_tensor * cos, ggml_tensor * sin, int64_t first_angle) {
    ggml_context * ctx         = build.context();
    const int64_t  n           = qkv->ne[1];
    const int64_t  n_embd_head = state.n_embd_head;
    const auto     angles      = [&](ggml_tensor * table) {
        return ggml_view_3d(ctx, table, n_embd_head, 1, n, table->nb[1], table->nb[1], static_cast<size_t>(first_angle) * table->nb[1]);
    };
    ggml_tensor * cosines = angles(cos);
    ggml_tensor * sines   = angles(sin);
    if (state.n_head_kv > 0) {
        ggml_tensor * keys   = rotate(ctx, view_heads(ctx, qkv, n_head * n_embd_head, n_embd_head, state.n_head_kv), cosines, sines);
        ggml_tensor * values = view_heads(ctx, qkv, n_head * n_embd_head + state.width(), n_embd_head, state.n_head_kv);
        ggml_tensor * rows   = view_rows(ctx, state.rows, first, n);
        build.add(ggml_cpy(ctx, keys, view_heads(ctx, rows, 0, n_embd_head, state.n_head_kv)));
        build.add(ggml_cpy(ctx, values, view_heads(ctx, rows, state.width(), n_embd_head, state.n_head_kv)));
    }
    if (n_head == 0) {
        return qkv;
    }
    ggml_tensor * queries = rotate(ctx, view_heads(ctx, qkv, 0, n_embd_head, n_head), cosines, sines);
    return ggml_reshape_2d(ctx, queries, n_embd_head * n_head, n);
}

ggml_tensor * device_attention(graph & build, ggml_tensor * q, int64_t n_head, const key_value_rows & state, const std::vector<attention_segment> & segments) {
    ggml_context *        ctx   = build.context();
    ggml_tensor *         whole = nullptr;
    for (const auto & [group, kept] : state.masks->find(build.where(), segments)) {
        const int64_t n     = group.n_queries();
        ggml_tensor * heads = view_heads(ctx, view_rows(ctx, q, group.queries.begin, n), 0, state.n_embd_head, n_head);
        ggml_tensor * mask  = kept;
        if (group.masked && mask == nullptr) {
            mask = build.input_f16(make_mask(group), group.n_keys(), n);
        }
        ggml_tensor * k   = gather_keys(ctx, state, group.keys, 0);
        ggml_tensor * v   = gather_keys(ctx, state, group.keys, state.width());
        ggml_tensor * cur = attend(build, ggml_permute(ctx, heads, 0, 2, 1, 3), k, v, mask);
        whole             = whole == nullptr ? cur : ggml_concat(ctx, whole, cur, 1);  // [n_head*n_embd_head, n + n]
    }
    return whole;
}

}  // namespace gme
