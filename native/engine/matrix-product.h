// Our own matrix product on the CPU, without ggml's graph: weights as they lie in the file, tokens in f32, sums in f32.
//
// in:   weights [n_in, n_out] of any type, tokens [n_in, n_tokens]
// path: tokens normed and laid out in tiles (every thread some) -> panels of 32 output rows, made on the fly, times tiles -> bias,
//       activation or sum with the residual
// out:  [n_out, n_tokens] f32
//
// Weights are read once per 768 tokens and nothing of them is kept, so that a model takes no memory beside its mapped file. Few tokens
// go along the file's rows instead, where reading the weights is what takes the time. q8_0 and q4_0 are multiplied as whole numbers:
// tokens are rounded per 32 numbers to 8 bits, as in ggml (both types with VNNI, q4_0 with AVX2), or to 16 bits (q8_0 with AVX2).
// Everything else multiplies exact f32 tokens.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "matrix-kernels.h"
#include "row-kernels.h"

namespace gme {

struct product_kernels {
    const matrix_kernels * matrix = nullptr;  // NULL: no product of our own on this processor
    const row_kernels *    rows   = nullptr;
};

product_kernels find_product_kernels(const cpu_features & cpu);

struct product_weight {
    int32_t      type     = 0;  // a ggml_type
    const void * data     = nullptr;
    int64_t      n_in     = 0;
    int64_t      n_out    = 0;
    size_t       row_size = 0;        // bytes of one row of n_in numbers
    const float * bias    = nullptr;  // [n_out] or NULL
};

enum class token_form { rows, tiles, byte_tiles, word_tiles };

// How tokens are best laid out for these weights, which share them; nothing: ggml's own product is better or the only one.
std::optional<token_form> choose_token_form(const product_kernels & kernels, const std::vector<product_weight> & weights, int64_t n_tokens);

// Bytes of n_tokens in a form.
size_t token_form_bytes(token_form form, int64_t n_in, int64_t n_tokens);

enum class row_norm { none, rms, layer };

struct token_layout {
    token_form    form     = token_form::rows;
    row_norm      norm     = row_norm::none;
    const float * weight   = nullptr;  // of the norm, [n_in]
    const float * bias     = nullptr;  // of the layer norm
    float         eps      = 0;
    const float * from     = nullptr;  // [n_in, n_tokens], rows `from_stride` floats apart
    int64_t       from_stride = 0;
    int64_t       n_in     = 0;
    int64_t       n_tokens = 0;
    void *        to       = nullptr;  // token_form_bytes
};

// Called by every thread with the same arguments; `next` is the tasks' counter and starts at 0.
void lay_out_tokens(const product_kernels & kernels, const token_layout & layout, std::atomic<int64_t> & next);

enum class product_end {
    store,
    add,         // out += the product
    quick_gelu,  // x · sigmoid(1.702 x)
    erf_gelu,    // the exact GELU
    silu_gate,   // silu(first weight's product) * second weight's product
};

struct matrix_product {
    std::vector<product_weight> weights;  // of equal n_in; their outputs stand side by side, but for silu_gate
    token_form                  form     = token_form::rows;
    int64_t                     n_tokens = 0;
    product_end                 end      = product_end::store;
};

size_t product_scratch_bytes();  // per thread, aligned to 64

// tokens as they were laid out (token_stride counts for rows only) -> out [n_out, n_tokens], strides in floats from token to token.
// Called by every thread with the same arguments but its own scratch; `next` is the tasks' counter and starts at 0.
void   run_product(const product_kernels & kernels, const matrix_product & product, float * out, int64_t out_stride, const void * tokens,
                   int64_t token_stride, std::atomic<int64_t> & next, char * scratch);
double product_flop(const std::vector<product_weight> & weights, int64_t n_tokens);

}  // namespace gme
