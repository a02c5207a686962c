// device-ops: norms, products, rotary positions and attention out of ggml's own nodes.
//
//   rows -> norm × weight + bias
//   rows -> product by each weight (sums in f32) + bias -> activation, gate, residual, or side by side
//   qkv  -> heads × cos + heads rolled by half × sin -> queries; keys and values to the state's rows
//   q    -> scores of all keys between the first and the last that a segment sees, the others masked -> softmax -> values
//
// Segments that see the same run of keys go together: a batch of texts is one attention with one mask, a picture one without.

#include "device-ops.h"

#include <algorithm>
#include <cmath>

#include "device.h"

namespace gme {

namespace {

// x [n_in, n] -> [n_out, n]
ggml_tensor * multiply(ggml_context * ctx, const linear & weights, ggml_tensor * x) {
    ggml_tensor * cur = ggml_mul_mat(ctx, weights.weight, x);
    ggml_prec_set_acc(cur, GGML_PREC_F32);
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

// Segments whose queries stand side by side, and the run of keys that holds all they see.
struct attention_group {
    std::vector<attention_segment> segments;
    row_range                      queries, keys;
    bool                           masked = false;
};

row_range keys_of(const attention_segment & segment) {
    row_range run = segment.keys;
    for (const auto & range : segment.earlier) {
        run.begin = std::min(run.begin, range.begin);
        run.end   = std::max(run.end, range.end);
    }
    return run;
}

// Causal segments together, since each needs a mask anyway; the others one by one, without, unless they are many.
std::vector<attention_group> group_segments(const std::vector<attention_segment> & segments) {
    constexpr size_t             unmasked_max = 8;
    std::vector<attention_group> groups;
    for (const auto & segment : segments) {
        const row_range keys   = keys_of(segment);
        const bool      masked = segment.causal || !segment.earlier.empty() || segments.size() > unmasked_max;
        if (masked && !groups.empty() && groups.back().masked) {
            attention_group & group = groups.back();
            group.segments.push_back(segment);
            group.queries.end = segment.queries.end;
            group.keys        = { std::min(group.keys.begin, keys.begin), std::max(group.keys.end, keys.end) };
        } else {
            groups.push_back({ { segment }, segment.queries, keys, masked });
        }
    }
    return groups;
}

// [n_queries, n_keys]: 0 where a query sees the key, else minus infinity.
std::vector<ggml_fp16_t> make_mask(const attention_group & group) {
    const int64_t            n_keys    = group.keys.end - group.keys.begin;
    const int64_t            n_queries = group.queries.end - group.queries.begin;
    const ggml_fp16_t        seen      = ggml_fp32_to_fp16(0.0f);
    std::vector<ggml_fp16_t> mask(static_cast<size_t>(n_keys * n_queries), ggml_fp32_to_fp16(-INFINITY));
    const auto               see       = [&](int64_t query, int64_t begin, int64_t end) {
        const auto row = mask.begin() + (query - group.queries.begin) * n_keys - group.keys.begin;
        std::fill(row + begin, row + end, seen);
    };
    for (const auto & segment : group.segments) {
        for (int64_t query = segment.queries.begin; query < segment.queries.end; query++) {
            for (const auto & range : segment.earlier) {
                see(query, range.begin, range.end);
            }
            const int64_t last = segment.keys.begin + segment.query_offset + (query - segment.queries.begin);
            see(query, segment.keys.begin, segment.causal ? std::min(last + 1, segment.keys.end) : segment.keys.end);
        }
    }
    return mask;
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

// Rows [keys.begin, keys.end) of the state from a column on -> a view [n_embd_head, n_keys, n_head_kv]
ggml_tensor * view_keys(ggml_context * ctx, const key_value_rows & state, row_range keys, int64_t column) {
    const size_t row = state.rows->nb[1];
    return ggml_view_3d(ctx, state.rows, state.n_embd_head, keys.end - keys.begin, state.n_head_kv, row, static_cast<size_t>(state.n_embd_head) * sizeof(float),
                        static_cast<size_t>(keys.begin) * row + static_cast<size_t>(column) * sizeof(float));
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
    ggml_context * ctx   = build.context();
    ggml_tensor *  whole = nullptr;
    for (const auto & group : group_segments(segments)) {
        const int64_t n     = group.queries.end - group.queries.begin;
        ggml_tensor * heads = view_heads(ctx, view_rows(ctx, q, group.queries.begin, n), 0, state.n_embd_head, n_head);
        ggml_tensor * mask  = group.masked ? build.input_f16(make_mask(group), group.keys.end - group.keys.begin, n) : nullptr;
        ggml_tensor * cur   = attend(build, ggml_permute(ctx, heads, 0, 2, 1, 3), view_keys(ctx, state, group.keys, 0), view_keys(ctx, state, group.keys, state.width()), mask);
        whole               = whole == nullptr ? cur : ggml_concat(ctx, whole, cur, 1);  // [n_head*n_embd_head, n + n]
    }
    return whole;
}

}  // namespace gme
