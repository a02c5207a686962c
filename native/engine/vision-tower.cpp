// vision-tower: patches of one picture -> image tokens.
//
//   pixel_values [n, 588] -> patch embedding [n, n_embd]
//     -> blocks: layer norm -> q, k, v -> rotary rows/columns -> full attention -> + -> layer norm -> quick-GELU MLP -> +
//     -> merger: layer norm -> 2×2 patches side by side [n/4, 4*n_embd] -> linear -> erf-GELU -> linear [n/4, n_output]
//
// One graph per block. Keys and values of all patches come first; then chunks of rows go through attention and MLP, so
// that the widest intermediate is a chunk and not the picture.

#include "vision-tower.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "graph-ops.h"
#include "positions.h"

namespace gme {

namespace {

constexpr int64_t chunk_rows = 1024;

struct vision_state {
    int64_t         n_patches = 0;
    state_memory    memory{ 8 };
    ggml_tensor *   hidden   = nullptr;  // [n_embd, n_patches]
    ggml_tensor *   cos      = nullptr;  // [n_embd_head, n_patches]
    ggml_tensor *   sin      = nullptr;
    ggml_tensor *   attended = nullptr;  // [n_embd, chunk_rows]
    ggml_tensor *   mask     = nullptr;  // [keys, queries of a block]; nullptr when no key is padding
    key_value_state keys_values;

    vision_state(const vision_config & config, int32_t grid_h, int32_t grid_w);
};

vision_state::vision_state(const vision_config & config, int32_t grid_h, int32_t grid_w) : n_patches(static_cast<int64_t>(grid_h) * grid_w) {
    keys_values.n_embd_head = config.n_embd_head;
    keys_values.n_head_kv   = config.n_head;
    hidden                  = memory.add("vision.hidden", config.n_embd, n_patches);
    cos                     = memory.add("vision.cos", config.n_embd_head, n_patches);
    sin                     = memory.add("vision.sin", config.n_embd_head, n_patches);
    attended                = memory.add("vision.attended", config.n_embd, std::min(chunk_rows, n_patches));
    keys_values.add_to(memory, n_patches);
    const int64_t padding = key_value_state::padding;
    const int64_t n_keys  = (n_patches + padding - 1) / padding * padding;
    if (n_keys != n_patches) {
        mask = memory.add("vision.mask", n_keys, attention_block(n_patches, config.n_head));
    }
    memory.allocate();
    const rotary_table positions = vision_positions(config, grid_h, grid_w);
    write_rows(cos, 0, n_patches, positions.cos.data());
    write_rows(sin, 0, n_patches, positions.sin.data());
    if (mask != nullptr) {
        std::vector<float> rows(static_cast<size_t>(n_keys * mask->ne[1]), 0.0f);
        for (int64_t row = 0; row < mask->ne[1]; row++) {
            std::fill(rows.begin() + row * n_keys + n_patches, rows.begin() + (row + 1) * n_keys, -INFINITY);
        }
        write_rows(mask, 0, mask->ne[1], rows.data());
    }
}

void embed_patches(backend & backend, const vision_weights & weights, const std::vector<float> & pixel_values,
                   vision_state & state) {
    std::vector<float> padded(static_cast<size_t>(std::min(chunk_rows, state.n_patches)) * patch_row_padded, 0.0f);
    for (int64_t first = 0; first < state.n_patches; first += chunk_rows) {
        const int64_t n = std::min(chunk_rows, state.n_patches - first);
        for (int64_t row = 0; row < n; row++) {  // [n, 588] -> [n, 608]
            std::memcpy(padded.data() + row * patch_row_padded, pixel_values.data() + (first + row) * patch_row, patch_row * sizeof(float));
        }
        graph         build(backend, 8);
        ggml_tensor * patches = build.input_f32(padded.data(), patch_row_padded, n);
        ggml_tensor * cur     = apply_linear(build.context(), { weights.patch_embd, nullptr }, patches);  // [n_embd, n]
        build.add(ggml_cpy(build.context(), cur, view_rows(build.context(), state.hidden, first, n)));
        build.run();
    }
}

// x·sigmoid(1.702x) = silu(1.702x)/1.702; the division follows the down projection, where rows are narrower.
ggml_tensor * quick_gelu_mlp(ggml_context * ctx, const vision_block & block, ggml_tensor * cur) {
    cur = apply_linear(ctx, block.up, cur);  // [n_ff, n]
    cur = ggml_silu_inplace(ctx, ggml_scale_inplace(ctx, cur, 1.702f));
    cur = apply_linear(ctx, { block.down.weight, nullptr }, cur);  // [n_embd, n]
    return ggml_add(ctx, ggml_scale_inplace(ctx, cur, 1.0f / 1.702f), block.down.bias);
}

void store_keys_values(graph & build, const vision_config & config, const vision_block & block, const vision_state & state, int64_t first, int64_t n) {
    ggml_context * ctx = build.context();
    ggml_tensor *  cur = apply_layer_norm(ctx, block.ln1, config.norm_eps, view_rows(ctx, state.hidden, first, n));
    ggml_tensor *  k   = apply_linear(ctx, block.k, cur);  // [n_embd, n]
    // [n_embd, n] -> [n_embd_head, n_head, n]
    k = rotate_halves(ctx, ggml_reshape_3d(ctx, k, config.n_embd_head, config.n_head, n), view_rows(ctx, state.cos, first, n),
                      view_rows(ctx, state.sin, first, n));
    ggml_tensor * v = apply_linear(ctx, block.v, cur);  // [n_embd, n]
    state.keys_values.store(build, ggml_reshape_2d(ctx, k, config.n_embd, n), v, first);
}

void attend_and_mlp(graph & build, const vision_config & config, const vision_block & block, const vision_state & state, int64_t first, int64_t n) {
    ggml_context * ctx  = build.context();
    ggml_tensor *  inpL = view_rows(ctx, state.hidden, first, n);
    ggml_tensor *  cur  = apply_layer_norm(ctx, block.ln1, config.norm_eps, inpL);
    // [n_embd, n] -> [n_embd_head, n_head, n]
    ggml_tensor * q = ggml_reshape_3d(ctx, apply_linear(ctx, block.q, cur), config.n_embd_head, config.n_head, n);
    q               = rotate_halves(ctx, q, view_rows(ctx, state.cos, first, n), view_rows(ctx, state.sin, first, n));
    attention_span span;
    span.end          = state.n_patches;
    span.causal       = false;
    span.padding_mask = state.mask;
    attend(build, q, state.keys_values, span, state.attended, 0);
    cur  = apply_linear(ctx, block.o, view_rows(ctx, state.attended, 0, n));
    inpL = ggml_add_inplace(ctx, inpL, cur);  // residual, written back to the state
    cur  = quick_gelu_mlp(ctx, block, apply_layer_norm(ctx, block.ln2, config.norm_eps, inpL));
    build.add(ggml_add_inplace(ctx, inpL, cur));
}

void run_block(backend & backend, const vision_config & config, const vision_block & block, vision_state & state) {
    const int64_t n_chunks = (state.n_patches + chunk_rows - 1) / chunk_rows;
    const int64_t n_blocks = state.n_patches / attention_block(state.n_patches, config.n_head) + 2 * n_chunks;
    graph         build(backend, static_cast<size_t>(n_chunks * 48 + n_blocks * 16));
    for (int64_t first = 0; first < state.n_patches; first += chunk_rows) {
        store_keys_values(build, config, block, state, first, std::min(chunk_rows, state.n_patches - first));
    }
    for (int64_t first = 0; first < state.n_patches; first += chunk_rows) {
        attend_and_mlp(build, config, block, state, first, std::min(chunk_rows, state.n_patches - first));
    }
    build.run();
}

std::vector<float> merge(backend & backend, const vision_config & config, const vision_weights & weights, const vision_state & state) {
    std::vector<float> tokens;
    tokens.reserve(static_cast<size_t>(state.n_patches / 4) * static_cast<size_t>(config.n_output));
    for (int64_t first = 0; first < state.n_patches; first += chunk_rows) {
        const int64_t  n = std::min(chunk_rows, state.n_patches - first);
        graph          build(backend, 24);
        ggml_context * ctx = build.context();
        ggml_tensor *  cur = apply_layer_norm(ctx, weights.post_ln, config.norm_eps, view_rows(ctx, state.hidden, first, n));
        cur                = ggml_reshape_2d(ctx, cur, 4 * static_cast<int64_t>(config.n_embd), n / 4);  // [n_embd, n] -> [4*n_embd, n/4]
        cur                = ggml_gelu_erf(ctx, apply_linear(ctx, weights.merger_0, cur));
        cur                = apply_linear(ctx, weights.merger_2, cur);  // [n_output, n/4]
        build.keep(cur);
        build.run();
        const auto rows = read_rows(cur, 0, n / 4);
        tokens.insert(tokens.end(), rows.begin(), rows.end());
    }
    return tokens;
}

}  // namespace

std::vector<float> run_vision_tower(backend & backend, const vision_config & config, const vision_weights & weights,
                                    const std::vector<float> & pixel_values, int32_t grid_h, int32_t grid_w, const stage_tap & tap) {
    vision_state state(config, grid_h, grid_w);
    const auto   tap_hidden = [&](const std::string & name) {
        if (tap) {
            tap(name, read_rows(state.hidden, 0, state.n_patches).data(), state.n_patches, config.n_embd);
        }
    };
    embed_patches(backend, weights, pixel_values, state);
    tap_hidden("vision.patch_embed");
    for (size_t il = 0; il < weights.blocks.size(); il++) {
        run_block(backend, config, weights.blocks[il], state);
        tap_hidden("vision.block." + std::to_string(il));
    }
    std::vector<float> tokens = merge(backend, config, weights, state);
    if (tap) {
        tap("vision.merger", tokens.data(), state.n_patches / 4, config.n_output);
    }
    return tokens;
}

}  // namespace gme
