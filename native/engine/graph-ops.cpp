// graph-ops: nodes of our own around the kernels, and ggml's product where it is the better one.
//
//   rows -> [norm, layout] -> [product, bias, activation or residual]
//   qkv  -> [queries rotated, keys and values to the state] -> [attention]
//
// A node per bracket. Threads take tasks from the node's counter.

#include "graph-ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "device-attention.h"
#include "device-ops.h"

namespace gme {

namespace {

int64_t stride_of(const ggml_tensor * tensor) {
    return static_cast<int64_t>(tensor->nb[1] / sizeof(float));
}

float * numbers_of(ggml_tensor * tensor) {
    return static_cast<float *>(tensor->data);
}

class layout_op : public graph_op {
  public:
    layout_op(const product_kernels & kernels, token_form form, const input_norm & norm, ggml_tensor * x) : kernels_(kernels), x_(x) {
        layout_.form     = form;
        layout_.norm     = norm.kind;
        layout_.weight   = norm.weights == nullptr ? nullptr : numbers_of(norm.weights->weight);
        layout_.bias     = norm.weights == nullptr || norm.weights->bias == nullptr ? nullptr : numbers_of(norm.weights->bias);
        layout_.eps      = norm.eps;
        layout_.n_in     = x->ne[0];
        layout_.n_tokens = x->ne[1];
    }
    void run(ggml_tensor * target, int, char *) noexcept override {
        token_layout layout = layout_;
        layout.from         = numbers_of(x_);
        layout.from_stride  = stride_of(x_);
        layout.to           = target->data;
        lay_out_tokens(kernels_, layout, next);
    }

  private:
    product_kernels kernels_;
    token_layout    layout_;
    ggml_tensor *   x_;
};

class product_op : public graph_op {
  public:
    product_op(const product_kernels & kernels, matrix_product product, ggml_tensor * tokens) : kernels_(kernels), product_(std::move(product)), tokens_(tokens) {}
    void run(ggml_tensor * target, int, char * scratch) noexcept override {
        run_product(kernels_, product_, numbers_of(target), stride_of(target), tokens_->data, stride_of(tokens_), next, scratch);
    }

  private:
    product_kernels kernels_;
    matrix_product  product_;
    ggml_tensor *   tokens_;
};

// Numbers [first, end) of a row-wise op: rows shared out by the counter, some at a time.
template <typename F> void each_row(std::atomic<int64_t> & next, int64_t n, const F & work) {
    constexpr int64_t rows_at_once = 4;
    for (int64_t first = next.fetch_add(rows_at_once); first < n; first = next.fetch_add(rows_at_once)) {
        for (int64_t row = first; row < std::min(first + rows_at_once, n); row++) {
            work(row);
        }
    }
}

class quick_gelu_op : public graph_op {
  public:
    explicit quick_gelu_op(const row_kernels & kernels) : kernels_(kernels) {}
    void run(ggml_tensor * target, int, char *) noexcept override {
        each_row(next, target->ne[1], [&](int64_t row) {
            float * at = numbers_of(target) + row * stride_of(target);
            kernels_.quick_gelu(at, target->ne[0], at);
        });
    }

  private:
    const row_kernels & kernels_;
};

// Rows that hold a NaN or an infinity become infinite throughout. ggml rounds tokens to blocks of whole numbers for quantised weights
// and takes a block's largest number by comparisons, which a NaN loses: it would come out as an ordinary number. An infinite block makes
// the products it goes into NaN or infinite, and the pooled row shows it.
class flood_op : public graph_op {
  public:
    explicit flood_op(const row_kernels & kernels) : kernels_(kernels) {}
    void run(ggml_tensor * target, int, char *) noexcept override {
        each_row(next, target->ne[1], [&](int64_t row) {
            float *       at = numbers_of(target) + row * stride_of(target);
            const int64_t n  = target->ne[0];
            if (!kernels_.finite(at, n)) {
                std::fill(at, at + n, INFINITY);
            }
        });
    }

  private:
    const row_kernels & kernels_;
};

class rotate_op : public graph_op {
  public:
    rotate_op(const row_kernels & kernels, int64_t n_head, const key_value_rows & state, int64_t first, ggml_tensor * cos, ggml_tensor * sin, int64_t first_angle)
        : kernels_(kernels), n_head_(n_head), state_(state), first_(first), cos_(cos), sin_(sin), first_angle_(first_angle) {}
    void run(ggml_tensor * target, int, char *) noexcept override {
        const int64_t n_embd_head = state_.n_embd_head;
        each_row(next, target->ne[1], [&](int64_t row) {
            float *       qkv = numbers_of(target) + row * stride_of(target);
            const float * cos = numbers_of(cos_) + (first_angle_ + row) * stride_of(cos_);
            const float * sin = numbers_of(sin_) + (first_angle_ + row) * stride_of(sin_);
            for (int64_t head = 0; head < n_head_ + state_.n_head_kv; head++) {
                kernels_.rotate(qkv + head * n_embd_head, cos, sin, n_embd_head);
            }
            float * to = numbers_of(state_.rows) + (first_ + row) * stride_of(state_.rows);
            std::memcpy(to, qkv + n_head_ * n_embd_head, static_cast<size_t>(2 * state_.width()) * sizeof(float));
        });
    }

  private:
    const row_kernels & kernels_;
    int64_t             n_head_;
    key_value_rows      state_;
    int64_t             first_;
    ggml_tensor *       cos_;
    ggml_tensor *       sin_;
    int64_t             first_angle_;
};

class attention_op : public graph_op {
  public:
    attention_op(cpu_level level, const attention_shape & shape, std::vector<attention_segment> segments, ggml_tensor * qkv, ggml_tensor * keys_values)
        : level_(level), shape_(shape), segments_(std::move(segments)), qkv_(qkv), keys_values_(keys_values) {}
    void run(ggml_tensor * target, int n_threads, char * scratch) noexcept override {
        attention_tensors tensors;
        tensors.q        = numbers_of(qkv_);
        tensors.k        = numbers_of(keys_values_);
        tensors.v        = tensors.k + shape_.n_embd_head * shape_.n_head_kv;
        tensors.out      = numbers_of(target);
        tensors.q_stride = stride_of(qkv_);
        tensors.k_stride = tensors.v_stride = stride_of(keys_values_);
        tensors.out_stride                  = stride_of(target);
        run_attention(level_, shape_, segments_, tensors, n_threads, next, reinterpret_cast<float *>(scratch));
    }

  private:
    cpu_level                      level_;
    attention_shape                shape_;
    std::vector<attention_segment> segments_;
    ggml_tensor *                  qkv_;
    ggml_tensor *                  keys_values_;
};

product_weight weight_of(const linear & from) {
    product_weight weight;
    weight.type     = from.weight->type;
    weight.data     = from.weight->data;
    weight.n_in     = from.weight->ne[0];
    weight.n_out    = from.weight->ne[1];
    weight.row_size = from.weight->nb[1];
    weight.bias     = from.bias == nullptr ? nullptr : numbers_of(from.bias);
    return weight;
}

// ggml's product: for processors and types that ours is not made for, and for few tokens of quantised weights. x is changed where it lies.
ggml_tensor * ggml_product(graph & build, ggml_tensor * x, const std::vector<linear> & weights, product_end end, ggml_tensor * residual) {
    ggml_context *             ctx = build.context();
    std::vector<ggml_tensor *> outs;
    if (std::any_of(weights.begin(), weights.end(), [](const linear & each) { return ggml_is_quantized(each.weight->type); })) {
        x = build.add_op_inplace(std::make_unique<flood_op>(*build.where().kernels().rows), x, {});
    }
    for (const auto & each : weights) {
        ggml_tensor * cur = ggml_mul_mat(ctx, each.weight, x);  // [n_out, n]
        ggml_prec_set_acc(cur, GGML_PREC_F32);
        outs.push_back(each.bias == nullptr ? cur : ggml_add_inplace(ctx, cur, each.bias));
    }
    ggml_tensor * cur = outs[0];
    switch (end) {
        case product_end::add: return ggml_add_inplace(ctx, residual, cur);
        case product_end::silu_gate: return ggml_swiglu_split(ctx, outs[0], outs[1]);
        case product_end::erf_gelu: return ggml_gelu_erf_inplace(ctx, cur);
        case product_end::quick_gelu: return build.add_op_inplace(std::make_unique<quick_gelu_op>(*build.where().kernels().rows), cur, {});
        case product_end::store: break;
    }
    for (size_t i = 1; i < outs.size(); i++) {
        cur = ggml_concat(ctx, cur, outs[i], 0);  // side by side: [n_out_0 + n_out_1, n]
    }
    return cur;
}

}  // namespace

ggml_tensor * apply_norm(graph & build, const input_norm & norm, ggml_tensor * x) {
    if (build.where().on_device()) {
        return device_norm(build, norm, x);
    }
    return build.add_op(std::make_unique<layout_op>(build.where().kernels(), token_form::rows, norm, x), GGML_TYPE_F32, x->ne[0], x->ne[1], { x });
}

ggml_tensor * apply_product(graph & build, const stage_names & stages, const input_norm & norm, ggml_tensor * x, const std::vector<linear> & weights,
                            product_end end, ggml_tensor * residual) {
    if (build.where().on_device()) {
        x = norm.kind == row_norm::none ? x : build.staged(stages.norm, apply_norm(build, norm, x));
        return build.staged(stages.product, device_product(build, x, weights, end, residual));
    }
    const product_kernels & kernels = build.where().kernels();
    matrix_product          product;
    for (const auto & each : weights) {
        product.weights.push_back(weight_of(each));
    }
    product.n_tokens = x->ne[1];
    product.end      = end;
    const auto form  = choose_token_form(kernels, product.weights, product.n_tokens);
    if (!form || *form == token_form::rows) {
        x = norm.kind == row_norm::none ? x : build.staged(stages.norm, apply_norm(build, norm, x));
    } else {
        const auto n_bytes = static_cast<int64_t>(token_form_bytes(*form, x->ne[0], product.n_tokens));
        x                  = build.staged(stages.norm, build.add_op(std::make_unique<layout_op>(kernels, *form, norm, x), GGML_TYPE_I8, n_bytes, 1, { x }));
    }
    if (!form) {
        return build.staged(stages.product, ggml_product(build, x, weights, end, residual));
    }
    product.form        = *form;
    const double flop   = product_flop(product.weights, product.n_tokens);
    int64_t      n_out  = 0;
    for (const auto & weight : product.weights) {
        n_out = end == product_end::silu_gate ? weight.n_out : n_out + weight.n_out;
    }
    const int64_t n_tokens = product.n_tokens;
    auto          op       = std::make_unique<product_op>(kernels, std::move(product), x);
    ggml_tensor * cur      = end == product_end::add ? build.add_op_inplace(std::move(op), residual, { x })
                                                     : build.add_op(std::move(op), GGML_TYPE_F32, n_out, n_tokens, { x });
    build.count_flop(cur, flop);
    return build.staged(stages.product, cur);
}

ggml_tensor * view_rows(ggml_context * ctx, ggml_tensor * tensor, int64_t first, int64_t n) {
    return ggml_view_2d(ctx, tensor, tensor->ne[0], n, tensor->nb[1], static_cast<size_t>(first) * tensor->nb[1]);
}

void key_value_rows::add_to(state_memory & memory, const char * name, int64_t n_positions) {
    rows  = memory.add(name, 2 * width(), n_positions);
    masks = std::make_shared<attention_masks>();
}

ggml_tensor * rotate_and_store(graph & build, ggml_tensor * qkv, int64_t n_head, const key_value_rows & state, int64_t first,
                               ggml_tensor * cos, ggml_tensor * sin, int64_t first_angle) {
    if (build.where().on_device()) {
        return device_rotate_and_store(build, qkv, n_head, state, first, cos, sin, first_angle);
    }
    return build.add_op_inplace(std::make_unique<rotate_op>(*build.where().kernels().rows, n_head, state, first, cos, sin, first_angle), qkv, { cos, sin });
}

ggml_tensor * apply_attention(graph & build, ggml_tensor * qkv, int64_t n_head, const key_value_rows & state, std::vector<attention_segment> segments) {
    const attention_shape shape = { state.n_embd_head, n_head, state.n_head_kv, 1.0f / std::sqrt(static_cast<float>(state.n_embd_head)) };
    const double          flop  = attention_flop(shape, segments);
    if (build.where().on_device()) {
        ggml_tensor * cur = device_attention(build, qkv, n_head, state, segments);
        build.count_flop(cur, flop);
        return cur;
    }
    build.where().reserve_scratch(attention_scratch_floats(shape) * sizeof(float));
    auto          op  = std::make_unique<attention_op>(build.where().level(), shape, std::move(segments), qkv, state.rows);
    ggml_tensor * cur = build.add_op(std::move(op), GGML_TYPE_F32, n_head * state.n_embd_head, qkv->ne[1], { qkv });
    build.count_flop(cur, flop);
    return cur;
}

}  // namespace gme
