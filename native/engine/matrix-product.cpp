// matrix-product: weights as they lie in the file times tokens.
//
//   tokens [n_in, n] -> normed, in tiles of 12 side by side
//   task = (32 rows of a weight, up to 768 tokens):
//     768 columns of the rows -> panel -> times each tile -> sums [tokens, 32]; the next 768 columns …
//     sums -> bias, activation, residual -> out
//   few tokens: dot products along the rows instead of panels and tiles
//
// A task's working memory (panel, sums) stays in the second cache.

#include "matrix-product.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ggml.h"

namespace gme {

namespace {

constexpr int64_t panel_columns = 768;  // a panel of f32 stays in the second cache beside the sums
constexpr int64_t chunk_tokens  = 768;  // most tokens that one made panel is used for

int64_t count_parts(int64_t n, int64_t size) {
    return (n + size - 1) / size;
}

using make_panel  = void (*)(const void * const * rows, int64_t n_in, float * panel);
using make_blocks = void (*)(const void * const * rows, int64_t n_in, char * panel);

make_panel panel_maker(const matrix_kernels & kernels, int32_t type) {
    switch (type) {
        case GGML_TYPE_F32: return kernels.panel_from_f32;
        case GGML_TYPE_F16: return kernels.panel_from_f16;
        case GGML_TYPE_BF16: return kernels.panel_from_bf16;
        case GGML_TYPE_Q8_0: return kernels.panel_from_q8_0;
        case GGML_TYPE_Q4_0: return kernels.panel_from_q4_0;
        default: return nullptr;  // by way of ggml's conversion to f32
    }
}

make_blocks blocks_maker(const block_kernels * blocks, int32_t type) {
    return blocks == nullptr ? nullptr : type == GGML_TYPE_Q8_0 ? blocks->panel_from_q8_0 : type == GGML_TYPE_Q4_0 ? blocks->panel_from_q4_0 : nullptr;
}

bool is_blocks(token_form form) {
    return form == token_form::byte_tiles || form == token_form::word_tiles;
}

const block_kernels * find_blocks(const matrix_kernels & kernels, token_form form) {
    return form == token_form::byte_tiles ? kernels.bytes : kernels.words;
}

int64_t tile_block_bytes(token_form form) {
    return form == token_form::byte_tiles ? byte_tile_block : word_tile_block;
}

bool is_float(int32_t type) {
    return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
}

// Fewest tokens for which panels beat ggml's product of quantised rows (test/engine/bench-matrix-product.cpp).
int64_t panel_tokens_min(int32_t type) {
    return type == GGML_TYPE_Q8_0 || type == GGML_TYPE_Q4_0 || type == GGML_TYPE_Q4_K ? 48 : 128;
}
constexpr int64_t byte_tokens_min = 4;
constexpr int64_t word_tokens_min = 8;

// Tokens in f32 tiles that are used again and again for the panels should stay in the last cache.
int64_t tokens_per_chunk(token_form form, int64_t n_in) {
    constexpr int64_t f32_tiles_max = 8 << 20;  // bytes
    if (form != token_form::tiles) {
        return chunk_tokens;
    }
    return std::clamp<int64_t>(f32_tiles_max / (4 * n_in) / tile_tokens * tile_tokens, 252, chunk_tokens);
}

struct product_scratch {
    float * panel;    // [panel_columns, 32]; a panel of blocks lies in the same place
    float * rows;     // [32, panel_columns], for types that ggml converts
    float * sums[2];  // [chunk_tokens, 32]; the second for the gate's partner

    explicit product_scratch(char * at) {
        const auto take = [&at](int64_t n) {
            auto * taken = reinterpret_cast<float *>(at);
            at += n * static_cast<int64_t>(sizeof(float));
            return taken;
        };
        static_assert(panel_block <= byte_block * panel_rows * static_cast<int64_t>(sizeof(float)), "blocks take no more than f32 does");
        panel   = take(panel_columns * panel_rows);
        rows    = take(panel_columns * panel_rows);
        sums[0] = take(chunk_tokens * panel_rows);
        sums[1] = take(chunk_tokens * panel_rows);
    }
};

// 32 rows of a weight from `first` on; beyond the last one it is repeated, its sums are not used.
struct weight_rows {
    const void * at[panel_rows];

    weight_rows(const product_weight & weight, int64_t first, int64_t column) {
        const size_t offset = static_cast<size_t>(column / ggml_blck_size(static_cast<ggml_type>(weight.type))) * ggml_type_size(static_cast<ggml_type>(weight.type));
        for (int64_t i = 0; i < panel_rows; i++) {
            const int64_t row = std::min(first + i, weight.n_out - 1);
            at[i]             = static_cast<const char *>(weight.data) + static_cast<size_t>(row) * weight.row_size + offset;
        }
    }
};

// What comes after a stretch of a panel, fetched a little at a time while the panel is multiplied: making the next one then waits less.
class upcoming_rows {
  public:
    upcoming_rows(const product_weight & weight, int64_t first, int64_t column, int64_t n_columns, int64_t n_steps) : rows_(weight, first, column) {
        const auto type = static_cast<ggml_type>(weight.type);
        n_lines_        = first < weight.n_out ? static_cast<int64_t>(ggml_row_size(type, n_columns)) / line + 1 : 0;  // of each row
        per_step_       = count_parts(n_lines_ * panel_rows, std::max<int64_t>(1, n_steps));
    }
    void fetch_some() {
        for (int64_t end = std::min(next_ + per_step_, n_lines_ * panel_rows); next_ < end; next_++) {
            fetch(static_cast<const char *>(rows_.at[next_ / n_lines_]) + next_ % n_lines_ * line);
        }
    }

  private:
    static constexpr int64_t line = 64;

    static void fetch(const char * at) {
#if defined(__GNUC__)
        __builtin_prefetch(at, 0, 2);
#else
        (void) at;
#endif
    }

    weight_rows rows_;
    int64_t     n_lines_ = 0, per_step_ = 0, next_ = 0;
};

void make_f32_panel(const matrix_kernels & kernels, const product_weight & weight, const weight_rows & rows, int64_t n_in, const product_scratch & scratch) {
    if (const make_panel make = panel_maker(kernels, weight.type)) {
        make(rows.at, n_in, scratch.panel);
        return;
    }
    const auto * traits = ggml_get_type_traits(static_cast<ggml_type>(weight.type));
    const void * converted[panel_rows];
    for (int64_t i = 0; i < panel_rows; i++) {
        traits->to_float(rows.at[i], scratch.rows + i * n_in, n_in);
        converted[i] = scratch.rows + i * n_in;
    }
    kernels.panel_from_f32(converted, n_in, scratch.panel);
}

// The tensors of one run_product().
struct product_memory {
    const product_kernels & kernels;
    const matrix_product &  product;
    float *                 out;
    int64_t                 out_stride;
    const void *            tokens;
    int64_t                 token_stride;
};

// One task: a panel of 32 rows of a weight times the tokens [first, first+n).
struct panel_task {
    const product_weight & weight;
    int64_t                row;
    int64_t                first, n;
};

void start_sums(const panel_task & task, float * sums) {
    alignas(64) float bias[panel_rows] = {};
    if (task.weight.bias != nullptr) {
        const int64_t n = std::min(panel_rows, task.weight.n_out - task.row);
        std::copy(task.weight.bias + task.row, task.weight.bias + task.row + n, bias);
    }
    for (int64_t t = 0; t < task.n; t++) {
        std::memcpy(sums + t * panel_rows, bias, sizeof(bias));
    }
}

void sum_tiles(const product_memory & memory, const panel_task & task, const product_scratch & scratch, float * sums) {
    const matrix_kernels & kernels  = *memory.kernels.matrix;
    const matrix_product & product  = memory.product;
    const product_weight & weight   = task.weight;
    const int64_t          n_in     = weight.n_in;
    const block_kernels *  blocks   = is_blocks(product.form) ? find_blocks(kernels, product.form) : nullptr;
    auto *                 integers = reinterpret_cast<char *>(scratch.panel);
    start_sums(task, sums);
    for (int64_t column = 0; column < n_in; column += panel_columns) {
        const int64_t     n_columns = std::min(panel_columns, n_in - column);
        const weight_rows rows(weight, task.row, column);
        if (blocks != nullptr) {
            blocks_maker(blocks, weight.type)(rows.at, n_columns, integers);
        } else {
            make_f32_panel(kernels, weight, rows, n_columns, scratch);
        }
        const bool    is_last = column + n_columns >= n_in;
        upcoming_rows upcoming(weight, is_last ? task.row + panel_rows : task.row, is_last ? 0 : column + n_columns,
                               std::min(panel_columns, is_last ? n_in : n_in - column - n_columns), count_parts(task.n, tile_tokens));
        for (int64_t at = 0; at < task.n; at += tile_tokens) {
            upcoming.fetch_some();
            const int64_t tile = (task.first + at) / tile_tokens;
            const int     n    = static_cast<int>(std::min(tile_tokens, task.n - at));
            if (blocks != nullptr) {
                const auto * from = static_cast<const char *>(memory.tokens) + (tile * n_in + column) / byte_block * tile_block_bytes(product.form);
                blocks->multiply(integers, from, n_columns, n, sums + at * panel_rows);
            } else {
                const float * from = static_cast<const float *>(memory.tokens) + (tile * n_in + column) * tile_tokens;
                kernels.multiply_f32(scratch.panel, from, n_columns, n, sums + at * panel_rows);
            }
        }
    }
}

void sum_rows(const product_memory & memory, const panel_task & task, float * sums) {
    const matrix_kernels & kernels = *memory.kernels.matrix;
    const product_weight & weight = task.weight;
    const weight_rows      rows(weight, task.row, 0);
    const int              n_rows = static_cast<int>(std::min(panel_rows, weight.n_out - task.row));
    const auto *           tokens = static_cast<const float *>(memory.tokens) + task.first * memory.token_stride;
    const auto             dot    = weight.type == GGML_TYPE_F32 ? kernels.dot_f32 : weight.type == GGML_TYPE_F16 ? kernels.dot_f16 : kernels.dot_bf16;
    dot(rows.at, n_rows, tokens, memory.token_stride, weight.n_in, static_cast<int>(task.n), sums);
    for (int64_t t = 0; weight.bias != nullptr && t < task.n; t++) {
        for (int i = 0; i < n_rows; i++) {
            sums[t * panel_rows + i] += weight.bias[task.row + i];
        }
    }
}

void finish_sums(const product_memory & memory, const panel_task & task, int64_t column, float * const sums[2]) {
    const row_kernels &    rows    = *memory.kernels.rows;
    const matrix_product & product = memory.product;
    const int64_t n      = task.n * panel_rows;
    const auto    n_rows = std::min(panel_rows, task.weight.n_out - task.row);
    if (product.end == product_end::silu_gate) {
        rows.silu_gate(sums[0], sums[1], n, sums[0]);
    } else if (product.end == product_end::quick_gelu) {
        rows.quick_gelu(sums[0], n, sums[0]);
    } else if (product.end == product_end::erf_gelu) {
        for (int64_t i = 0; i < n; i++) {
            sums[0][i] = 0.5f * sums[0][i] * (1.0f + std::erf(sums[0][i] * 0.70710678f));
        }
    }
    for (int64_t t = 0; t < task.n; t++) {
        float *       to   = memory.out + (task.first + t) * memory.out_stride + column;
        const float * from = sums[0] + t * panel_rows;
        if (product.end == product_end::add) {
            for (int64_t i = 0; i < n_rows; i++) {
                to[i] += from[i];
            }
        } else {
            std::memcpy(to, from, static_cast<size_t>(n_rows) * sizeof(float));
        }
    }
}

void run_task(const product_memory & memory, const panel_task & task, const product_weight * partner, int64_t column, const product_scratch & scratch) {
    const auto sum = [&](const panel_task & of, float * sums) {
        if (memory.product.form == token_form::rows) {
            sum_rows(memory, of, sums);
        } else {
            sum_tiles(memory, of, scratch, sums);
        }
    };
    sum(task, scratch.sums[0]);
    if (partner != nullptr) {
        sum({ *partner, task.row, task.first, task.n }, scratch.sums[1]);
    }
    finish_sums(memory, task, column, scratch.sums);
}

}  // namespace

product_kernels find_product_kernels(const cpu_features & cpu) {
    return { find_matrix_kernels(cpu), find_row_kernels(cpu.level) };
}

const matrix_kernels * find_matrix_kernels(const cpu_features & cpu) {
    return cpu.level == cpu_level::avx512 ? matrix_kernels_avx512(cpu.avx512_vnni) : cpu.level == cpu_level::avx2 ? matrix_kernels_avx2() : nullptr;
}

std::optional<token_form> choose_token_form(const product_kernels & kernels, const std::vector<product_weight> & weights, int64_t n_tokens) {
    if (kernels.matrix == nullptr) {
        return std::nullopt;
    }
    bool    all_bytes = true, all_words = true, all_floats = true;
    int64_t n_min     = 0;
    for (const auto & weight : weights) {
        const bool whole = weight.n_in % (is_float(weight.type) ? 16 : byte_block) == 0 && panel_columns % ggml_blck_size(static_cast<ggml_type>(weight.type)) == 0;
        if (!whole || (!is_float(weight.type) && ggml_get_type_traits(static_cast<ggml_type>(weight.type))->to_float == nullptr)) {
            return std::nullopt;
        }
        all_bytes  = all_bytes && blocks_maker(kernels.matrix->bytes, weight.type) != nullptr;
        all_words  = all_words && blocks_maker(kernels.matrix->words, weight.type) != nullptr;
        all_floats = all_floats && is_float(weight.type);
        n_min      = is_float(weight.type) ? n_min : std::max(n_min, panel_tokens_min(weight.type));
    }
    if (all_bytes || all_words) {
        n_min = all_bytes ? byte_tokens_min : word_tokens_min;
    }
    if (n_tokens < n_min) {
        return std::nullopt;
    }
    if (all_bytes || all_words) {
        return all_bytes ? token_form::byte_tiles : token_form::word_tiles;
    }
    return all_floats && n_tokens <= kernels.matrix->row_tokens ? token_form::rows : token_form::tiles;
}

size_t token_form_bytes(token_form form, int64_t n_in, int64_t n_tokens) {
    const auto n_tiled = static_cast<size_t>(count_parts(n_tokens, tile_tokens) * tile_tokens * n_in);
    switch (form) {
        case token_form::rows: return static_cast<size_t>(n_in * n_tokens) * sizeof(float);
        case token_form::tiles: return n_tiled * sizeof(float);
        default: return n_tiled / static_cast<size_t>(tile_tokens * byte_block) * static_cast<size_t>(tile_block_bytes(form));
    }
}

// Factor and shift that bring a row to mean 0 (layer norm only) and length √n.
static void measure_row(const row_kernels & kernels, const token_layout & layout, const float * row, float & factor, float & shift) {
    const auto n    = static_cast<double>(layout.n_in);
    float      mean = 0;
    if (layout.norm == row_norm::layer) {
        mean = static_cast<float>(kernels.sum(row, layout.n_in) / n);
    }
    const double square = kernels.square_sum(row, layout.n_in, mean) / n;
    factor              = static_cast<float>(1.0 / std::sqrt(square + static_cast<double>(layout.eps)));
    shift               = -mean * factor;
}

static void lay_out_tile(const product_kernels & kernels, const token_layout & layout, int64_t tile) {
    tile_rows     from    = { {}, {}, {}, layout.norm == row_norm::none ? nullptr : layout.weight, layout.bias };
    for (int64_t t = 0; t < tile_tokens; t++) {
        const int64_t token = std::min(tile * tile_tokens + t, layout.n_tokens - 1);
        from.rows[t]        = layout.from + token * layout.from_stride;
        if (layout.norm != row_norm::none) {
            measure_row(*kernels.rows, layout, from.rows[t], from.factors[t], from.shifts[t]);
        }
    }
    if (layout.form == token_form::tiles) {
        kernels.matrix->tile_f32(from, layout.n_in, static_cast<float *>(layout.to) + tile * layout.n_in * tile_tokens);
        return;
    }
    auto * to = static_cast<char *>(layout.to) + tile * layout.n_in / byte_block * tile_block_bytes(layout.form);
    find_blocks(*kernels.matrix, layout.form)->tile(from, layout.n_in, to);
}

void lay_out_tokens(const product_kernels & kernels, const token_layout & layout, std::atomic<int64_t> & next) {
    const bool    is_rows = layout.form == token_form::rows;
    const int64_t n_tasks = is_rows ? layout.n_tokens : count_parts(layout.n_tokens, tile_tokens);
    for (int64_t task = next++; task < n_tasks; task = next++) {
        if (!is_rows) {
            lay_out_tile(kernels, layout, task);
            continue;
        }
        const float * row = layout.from + task * layout.from_stride;
        float         factor = 1, shift = 0;
        measure_row(*kernels.rows, layout, row, factor, shift);
        kernels.rows->normalise(row, layout.n_in, factor, shift, layout.weight, layout.bias, static_cast<float *>(layout.to) + task * layout.n_in);
    }
}

size_t product_scratch_bytes() {
    return static_cast<size_t>(2 * panel_columns * panel_rows + 2 * chunk_tokens * panel_rows) * sizeof(float);
}

void run_product(const product_kernels & kernels, const matrix_product & product, float * out, int64_t out_stride, const void * tokens,
                 int64_t token_stride, std::atomic<int64_t> & next, char * scratch_memory) {
    const product_memory  memory = { kernels, product, out, out_stride, tokens, token_stride };
    const product_scratch scratch(scratch_memory);
    const bool            is_gate   = product.end == product_end::silu_gate;
    const size_t          n_weights = is_gate ? 1 : product.weights.size();
    int64_t               n_panels  = 0;
    for (size_t i = 0; i < n_weights; i++) {
        n_panels += count_parts(product.weights[i].n_out, panel_rows);
    }
    const int64_t n_chunk = tokens_per_chunk(product.form, product.weights[0].n_in);
    const int64_t n_tasks = n_panels * count_parts(product.n_tokens, n_chunk);
    for (int64_t task = next++; task < n_tasks; task = next++) {
        const int64_t first  = task / n_panels * n_chunk;  // all panels of a chunk first: its tokens stay in the last cache
        int64_t       panel  = task % n_panels;
        int64_t       column = 0;
        size_t        i      = 0;
        for (int64_t n = 0; panel >= (n = count_parts(product.weights[i].n_out, panel_rows)); i++) {
            panel -= n;
            column += product.weights[i].n_out;
        }
        const panel_task part = { product.weights[i], panel * panel_rows, first, std::min(n_chunk, product.n_tokens - first) };
        run_task(memory, part, is_gate ? &product.weights[1] : nullptr, column + part.row, scratch);
    }
}

double product_flop(const std::vector<product_weight> & weights, int64_t n_tokens) {
    double n = 0;
    for (const auto & weight : weights) {
        n += 2.0 * static_cast<double>(weight.n_in) * static_cast<double>(weight.n_out) * static_cast<double>(n_tokens);
    }
    return n;
}

}  // namespace gme
