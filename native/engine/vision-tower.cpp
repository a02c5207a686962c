// vision-tower: patches of one or several pictures -> image tokens.
//
//   pixel_values [n, 588] -> patch embedding [n, n_embd]
//     -> blocks: layer norm -> q, k, v -> rotary rows/columns -> full attention inside a picture -> + -> layer norm
//                -> quick-GELU MLP -> +
//     -> merger: layer norm -> 2×2 patches side by side [n/4, 4*n_embd] -> linear -> erf-GELU -> linear [n/4, n_output]
//
// One graph per block. Keys and values of all patches come first; then chunks of rows go through attention and MLP, so
// that the widest intermediate is a chunk and not the picture.

#include "vision-tower.h"

#include <algorithm>
#include <cstring>

#include "graph-ops.h"
#include "positions.h"

namespace gme {

namespace {

constexpr stage_names stages     = { "vision.norm", "vision.product", "vision.rotary", "vision.attention" };

struct vision_state {
    const vision_config &  config;
    int64_t                n_patches = 0;
    std::vector<row_range> pictures;  // rows of each
    state_memory           memory{ 8 };
    ggml_tensor *          hidden = nullptr;  // [n_embd, n_patches]
    ggml_tensor *          cos    = nullptr;  // [n_embd_head, n_patches]
    ggml_tensor *          sin    = nullptr;
    key_value_rows         keys_values;

    vision_state(const backend & backend, const vision_config & config, const std::vector<vision_input> & inputs);
};

vision_state::vision_state(const backend & backend, const vision_config & config, const std::vector<vision_input> & inputs) : config(config) {
    rotary_table positions;
    for (const auto & input : inputs) {
        pictures.push_back({ n_patches, n_patches + input.n_patches() });
        n_patches += input.n_patches();
        append_vision_positions(config, input.grid_h, input.grid_w, positions);
    }
    keys_values.n_embd_head = config.n_embd_head;
    keys_values.n_head_kv   = config.n_head;
    hidden                  = memory.add("vision.hidden", config.n_embd, n_patches);
    cos                     = memory.add("vision.cos", config.n_embd_head, n_patches);
    sin                     = memory.add("vision.sin", config.n_embd_head, n_patches);
    keys_values.add_to(memory, "vision.keys_values", n_patches);
    memory.allocate(backend);
    write_rows(cos, 0, n_patches, positions.cos.data());
    write_rows(sin, 0, n_patches, positions.sin.data());
}

// The runs of patches that go into one graph: on a device pictures side by side, whose rows are reckoned each for itself.
std::vector<row_range> patch_runs(const backend & backend, const vision_state & state) {
    return backend.on_device() ? std::vector<row_range>{ { 0, state.n_patches } } : state.pictures;
}

// Patches [first, first+n) of all pictures, [n, 588] -> [n, 608]
void pad_patches(const std::vector<vision_input> & pictures, const vision_state & state, int64_t first, int64_t n, std::vector<float> & padded) {
    for (size_t i = 0; i < pictures.size(); i++) {
        const row_range & rows = state.pictures[i];
        for (int64_t row = std::max(first, rows.begin); row < std::min(first + n, rows.end); row++) {
            std::memcpy(padded.data() + (row - first) * patch_row_padded, pictures[i].pixel_values.data() + (row - rows.begin) * patch_row, patch_row * sizeof(float));
        }
    }
}

void embed_patches(backend & backend, const vision_weights & weights, const std::vector<vision_input> & pictures, vision_state & state) {
    std::vector<float> padded(static_cast<size_t>(std::min(backend.chunk_rows(), state.n_patches)) * patch_row_padded, 0.0f);
    for (const auto & run : patch_runs(backend, state)) {
        for (int64_t first = run.begin; first < run.end; first += backend.chunk_rows()) {
            const int64_t n = std::min(backend.chunk_rows(), run.end - first);
            pad_patches(pictures, state, first, n, padded);
            graph         build(backend, 8);
            ggml_tensor * patches = build.input_f32(padded.data(), patch_row_padded, n);
            build.stage("vision.embed");
            ggml_tensor * cur = apply_product(build, stages, {}, patches, { { weights.patch_embd, nullptr } });  // [n_embd, n]
            build.add(ggml_cpy(build.context(), cur, view_rows(build.context(), state.hidden, first, n)));
            build.run();
        }
    }
}

// Attention and MLP of rows [first, first+n), both added to where they lie. qkv [3*n_embd, n], or with keys and values stored q [n_embd, n].
void finish_rows(graph & build, const vision_block & block, const vision_state & state, ggml_tensor * q, int64_t first, int64_t n) {
    std::vector<attention_segment> segments;
    for (const auto & picture : state.pictures) {
        const int64_t begin = std::max(picture.begin, first);
        const int64_t end   = std::min(picture.end, first + n);
        if (begin < end) {
            segments.push_back({ { begin - first, end - first }, picture, false, 0, {} });
        }
    }
    ggml_tensor *    inpL = view_rows(build.context(), state.hidden, first, n);
    ggml_tensor *    cur  = build.staged(stages.attention, apply_attention(build, q, state.config.n_head, state.keys_values, std::move(segments)));
    const input_norm norm = { row_norm::layer, &block.ln2, state.config.norm_eps };
    inpL                  = apply_product(build, stages, {}, cur, { block.o }, product_end::add, inpL);
    build.add(inpL);
    cur = apply_product(build, stages, norm, inpL, { block.up }, product_end::quick_gelu);  // [n_ff, n]
    build.add(apply_product(build, stages, {}, cur, { block.down }, product_end::add, inpL));
}

void run_block(backend & backend, const vision_block & block, const vision_state & state) {
    const input_norm norm     = { row_norm::layer, &block.ln1, state.config.norm_eps };
    const int64_t    n_chunks = (state.n_patches + backend.chunk_rows() - 1) / backend.chunk_rows();
    key_value_rows   none     = state.keys_values;
    none.n_head_kv            = 0;
    graph build(backend, static_cast<size_t>(n_chunks * 48));
    for (int64_t first = 0; n_chunks > 1 && first < state.n_patches; first += backend.chunk_rows()) {
        const int64_t n    = std::min(backend.chunk_rows(), state.n_patches - first);
        ggml_tensor * inpL = view_rows(build.context(), state.hidden, first, n);
        ggml_tensor * kv   = apply_product(build, stages, norm, inpL, { block.k, block.v });  // [2*n_embd, n]
        build.stage(stages.rotary);
        build.add(build.staged(stages.rotary, rotate_and_store(build, kv, 0, state.keys_values, first, state.cos, state.sin, first)));
    }
    for (int64_t first = 0; first < state.n_patches; first += backend.chunk_rows()) {
        const int64_t n    = std::min(backend.chunk_rows(), state.n_patches - first);
        ggml_tensor * inpL = view_rows(build.context(), state.hidden, first, n);
        ggml_tensor * q    = nullptr;
        if (n_chunks == 1) {
            q = apply_product(build, stages, norm, inpL, { block.q, block.k, block.v });
            build.stage(stages.rotary);
            q = rotate_and_store(build, q, state.config.n_head, state.keys_values, first, state.cos, state.sin, first);
        } else {
            q = apply_product(build, stages, norm, inpL, { block.q });
            build.stage(stages.rotary);
            q = rotate_and_store(build, q, state.config.n_head, none, 0, state.cos, state.sin, first);
        }
        finish_rows(build, block, state, build.staged(stages.rotary, q), first, n);
    }
    build.run();
}

// Image tokens of the patches [begin, end), whole pictures.
std::vector<float> merge(backend & backend, const vision_weights & weights, const vision_state & state, row_range run) {
    const auto         n_embd = static_cast<int64_t>(state.config.n_embd);
    std::vector<float> tokens;
    tokens.reserve(static_cast<size_t>((run.end - run.begin) / 4) * static_cast<size_t>(state.config.n_output));
    for (int64_t first = run.begin; first < run.end; first += backend.chunk_rows()) {
        const int64_t n = std::min(backend.chunk_rows(), run.end - first);
        graph         build(backend, 24);
        build.stage("vision.merger");
        ggml_tensor * cur = apply_norm(build, { row_norm::layer, &weights.post_ln, state.config.norm_eps }, view_rows(build.context(), state.hidden, first, n));
        cur               = ggml_reshape_2d(build.context(), cur, 4 * n_embd, n / 4);  // [n_embd, n] -> [4*n_embd, n/4]
        cur               = apply_product(build, stages, {}, cur, { weights.merger_0 }, product_end::erf_gelu);
        cur               = apply_product(build, stages, {}, cur, { weights.merger_2 });  // [n_output, n/4]
        build.keep(cur);
        build.run();
        const auto rows = read_rows(cur, 0, n / 4);
        tokens.insert(tokens.end(), rows.begin(), rows.end());
    }
    return tokens;
}

}  // namespace

std::vector<std::vector<float>> run_vision_tower(backend & backend, const vision_config & config, const vision_weights & weights,
                                                 const std::vector<vision_input> & pictures, const stage_tap & tap) {
    vision_state state(backend, config, pictures);
    const auto   tap_hidden = [&](const std::string & name) {
        if (tap) {
            tap(name, read_rows(state.hidden, 0, state.n_patches).data(), state.n_patches, config.n_embd);
        }
    };
    embed_patches(backend, weights, pictures, state);
    tap_hidden("vision.patch_embed");
    for (size_t il = 0; il < weights.blocks.size(); il++) {
        run_block(backend, weights.blocks[il], state);
        tap_hidden("vision.block." + std::to_string(il));
    }
    std::vector<float> merged;
    for (const auto & run : patch_runs(backend, state)) {
        const auto tokens = merge(backend, weights, state, run);
        merged.insert(merged.end(), tokens.begin(), tokens.end());
    }
    std::vector<std::vector<float>> tokens;
    for (const auto & picture : state.pictures) {
        const auto at = [&](int64_t patch) { return merged.begin() + patch / 4 * config.n_output; };
        tokens.emplace_back(at(picture.begin), at(picture.end));
        if (tap) {
            tap("vision.merger", tokens.back().data(), (picture.end - picture.begin) / 4, config.n_output);
        }
    }
    return tokens;
}

}  // namespace gme
