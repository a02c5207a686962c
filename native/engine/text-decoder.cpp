// text-decoder: sequences of token ids, some with image tokens -> hidden state of each last token.
//
//   ids -> embeddings, image rows over the image slots [n, n_embd]
//     -> layers: RMS norm -> q, k, v -> rotary -> causal attention inside each sequence -> + -> RMS norm -> SwiGLU -> +
//     -> RMS norm of the last rows [n_sequences, n_embd]
//
// Layer by layer, and inside a layer chunk by chunk of rows: attention is causal, so a chunk needs keys and values of the
// rows before it only, and the layer's keys and values are the only state beside the hidden rows. In the last layer the
// rows that nobody reads stop after keys and values.

#include "text-decoder.h"

#include <algorithm>

#include "graph-ops.h"

namespace gme {

namespace {

constexpr int64_t chunk_rows = 1024;

struct row_range {
    int64_t begin = 0, end = 0;
};

struct decoder_state {
    const decoder_config & config;
    int64_t                n_tokens = 0;
    std::vector<row_range> sequences;  // rows of each sequence in the pass
    state_memory           memory{ 8 };
    ggml_tensor *          hidden   = nullptr;  // [n_embd, n_tokens]
    ggml_tensor *          cos      = nullptr;  // [n_embd_head, n_tokens]
    ggml_tensor *          sin      = nullptr;
    ggml_tensor *          attended = nullptr;  // [n_embd, rows of a chunk]
    key_value_state        keys_values;

    decoder_state(const decoder_config & config, bool mrope, const std::vector<decoder_sequence> & inputs);

    int64_t n_embd_kv() const { return static_cast<int64_t>(config.n_embd_head) * config.n_head_kv; }
    // Blocks of queries that a chunk [first, first+n) falls into, for the size of its graph.
    size_t n_attention_blocks(int64_t first, int64_t n) const;
};

decoder_state::decoder_state(const decoder_config & config, bool mrope, const std::vector<decoder_sequence> & inputs) : config(config) {
    rotary_table positions;
    for (const auto & input : inputs) {
        const auto n = static_cast<int64_t>(input.ids.size());
        sequences.push_back({ n_tokens, n_tokens + n });
        n_tokens += n;
        append_decoder_positions(config, mrope, static_cast<int32_t>(n), input.image, positions);
    }
    const int64_t n_chunk   = std::max<int64_t>(std::min(chunk_rows, n_tokens), static_cast<int64_t>(inputs.size()));
    keys_values.n_embd_head = config.n_embd_head;
    keys_values.n_head_kv   = config.n_head_kv;
    hidden                  = memory.add("decoder.hidden", config.n_embd, n_tokens);
    cos                     = memory.add("decoder.cos", config.n_embd_head, n_tokens);
    sin                     = memory.add("decoder.sin", config.n_embd_head, n_tokens);
    attended                = memory.add("decoder.attended", config.n_embd, n_chunk);
    keys_values.add_to(memory, n_tokens);
    memory.allocate();
    write_rows(cos, 0, n_tokens, positions.cos.data());
    write_rows(sin, 0, n_tokens, positions.sin.data());
}

size_t decoder_state::n_attention_blocks(int64_t first, int64_t n) const {
    size_t n_blocks = 0;
    for (const auto & rows : sequences) {
        const int64_t inside = std::min(rows.end, first + n) - std::max(rows.begin, first);
        if (inside > 0) {
            n_blocks += static_cast<size_t>(inside / attention_block(rows.end - rows.begin, config.n_head)) + 1;
        }
    }
    return n_blocks;
}

void embed_tokens(backend & backend, const decoder_weights & weights, const std::vector<decoder_sequence> & inputs, decoder_state & state) {
    for (size_t i = 0; i < inputs.size(); i++) {
        const auto &  input = inputs[i];
        const auto    n     = static_cast<int64_t>(input.ids.size());
        const int64_t begin = state.sequences[i].begin;
        for (int64_t first = 0; first < n; first += chunk_rows) {
            const int64_t n_rows = std::min(chunk_rows, n - first);
            graph         build(backend, 4);
            ggml_tensor * ids = build.input_i32(input.ids.data() + first, n_rows);
            ggml_tensor * cur = ggml_get_rows(build.context(), weights.token_embd, ids);  // [n_embd, n_rows]
            build.add(ggml_cpy(build.context(), cur, view_rows(build.context(), state.hidden, begin + first, n_rows)));
            build.run();
        }
        // A sequence cut the reference's way may hold fewer image slots than the picture has tokens.
        const int64_t n_image = std::min<int64_t>(input.image.n, n - input.image.begin);
        if (n_image > 0 && !input.image_tokens.empty()) {
            write_rows(state.hidden, begin + input.image.begin, n_image, input.image_tokens.data());
        }
    }
}

// x [n_embd, n] normed -> q, k or v as heads [n_embd_head, n_heads, n]
ggml_tensor * heads(graph & build, const decoder_state & state, const linear & weights, ggml_tensor * cur, int64_t n_heads) {
    ggml_context * ctx = build.context();
    return ggml_reshape_3d(ctx, apply_linear(ctx, weights, cur), state.config.n_embd_head, n_heads, cur->ne[1]);
}

void store_keys_values(graph & build, const decoder_state & state, const decoder_layer & layer, ggml_tensor * normed, int64_t first) {
    ggml_context * ctx  = build.context();
    const int64_t  n    = normed->ne[1];
    ggml_tensor *  Kcur = heads(build, state, layer.k, normed, state.config.n_head_kv);
    Kcur                = rotate_halves(ctx, Kcur, view_rows(ctx, state.cos, first, n), view_rows(ctx, state.sin, first, n));
    ggml_tensor * Vcur  = apply_linear(ctx, layer.v, normed);
    state.keys_values.store(build, ggml_reshape_2d(ctx, Kcur, state.n_embd_kv(), n), Vcur, first);
}

// inpL [n_embd, n] + attention -> + SwiGLU MLP; both sums go back to where inpL lives.
ggml_tensor * finish_layer(graph & build, const decoder_state & state, const decoder_layer & layer, ggml_tensor * inpL) {
    ggml_context * ctx = build.context();
    ggml_tensor *  cur = apply_linear(ctx, layer.o, view_rows(ctx, state.attended, 0, inpL->ne[1]));
    inpL               = ggml_add_inplace(ctx, inpL, cur);
    cur                = apply_rms_norm(ctx, layer.ffn_norm, state.config.rms_eps, inpL);
    ggml_tensor * gate = apply_linear(ctx, layer.gate, cur);  // [n_ff, n]
    ggml_tensor * up   = apply_linear(ctx, layer.up, cur);    // [n_ff, n]
    cur                = apply_linear(ctx, layer.down, ggml_swiglu_split(ctx, gate, up));
    return ggml_add_inplace(ctx, inpL, cur);
}

void run_chunk(backend & backend, const decoder_layer & layer, decoder_state & state, int64_t first, int64_t n) {
    graph          build(backend, 64 + 20 * state.n_attention_blocks(first, n));
    ggml_context * ctx    = build.context();
    ggml_tensor *  inpL   = view_rows(ctx, state.hidden, first, n);
    ggml_tensor *  normed = apply_rms_norm(ctx, layer.attn_norm, state.config.rms_eps, inpL);
    store_keys_values(build, state, layer, normed, first);
    ggml_tensor * Qcur = heads(build, state, layer.q, normed, state.config.n_head);
    Qcur               = rotate_halves(ctx, Qcur, view_rows(ctx, state.cos, first, n), view_rows(ctx, state.sin, first, n));
    for (const auto & rows : state.sequences) {
        const int64_t begin = std::max(rows.begin, first);
        const int64_t end   = std::min(rows.end, first + n);
        if (begin < end) {
            ggml_tensor *  queries = ggml_view_3d(ctx, Qcur, Qcur->ne[0], Qcur->ne[1], end - begin, Qcur->nb[1], Qcur->nb[2],
                                                  static_cast<size_t>(begin - first) * Qcur->nb[2]);
            attention_span span;
            span.begin       = rows.begin;
            span.end         = end;
            span.query_first = begin;
            attend(build, queries, state.keys_values, span, state.attended, begin - first);
        }
    }
    build.add(finish_layer(build, state, layer, inpL));
    build.run();
}

// The last layer: keys and values of all rows, everything else for the last row of each sequence only.
std::vector<float> run_last_layer(backend & backend, const decoder_layer & layer, const layer_norm & output_norm, decoder_state & state) {
    for (int64_t first = 0; first < state.n_tokens; first += chunk_rows) {
        const int64_t n = std::min(chunk_rows, state.n_tokens - first);
        graph         build(backend, 32);
        store_keys_values(build, state, layer,
                          apply_rms_norm(build.context(), layer.attn_norm, state.config.rms_eps, view_rows(build.context(), state.hidden, first, n)), first);
        build.run();
    }
    std::vector<int32_t> last;
    for (const auto & rows : state.sequences) {
        last.push_back(static_cast<int32_t>(rows.end - 1));
    }
    const auto     n = static_cast<int64_t>(last.size());
    graph          build(backend, 64 + 20 * last.size());
    ggml_context * ctx  = build.context();
    ggml_tensor *  rows = build.input_i32(last.data(), n);
    ggml_tensor *  inpL = ggml_get_rows(ctx, state.hidden, rows);  // [n_embd, n]
    ggml_tensor *  cur  = apply_rms_norm(ctx, layer.attn_norm, state.config.rms_eps, inpL);
    ggml_tensor *  Qcur = heads(build, state, layer.q, cur, state.config.n_head);
    Qcur                = rotate_halves(ctx, Qcur, ggml_get_rows(ctx, state.cos, rows), ggml_get_rows(ctx, state.sin, rows));
    for (int64_t i = 0; i < n; i++) {
        const auto &   range = state.sequences[static_cast<size_t>(i)];
        attention_span span;
        span.begin       = range.begin;
        span.end         = range.end;
        span.query_first = range.end - 1;
        ggml_tensor * query = ggml_view_3d(ctx, Qcur, Qcur->ne[0], Qcur->ne[1], 1, Qcur->nb[1], Qcur->nb[2], static_cast<size_t>(i) * Qcur->nb[2]);
        attend(build, query, state.keys_values, span, state.attended, i);
    }
    cur = apply_rms_norm(ctx, output_norm, state.config.rms_eps, finish_layer(build, state, layer, inpL));
    build.keep(cur);
    build.run();
    return read_rows(cur, 0, n);
}

// With a tap: the final norm of every row, then the last rows of it.
std::vector<float> tap_final_norm(backend & backend, const layer_norm & output_norm, const decoder_state & state, const stage_tap & tap) {
    std::vector<float> normed;
    for (int64_t first = 0; first < state.n_tokens; first += chunk_rows) {
        const int64_t n = std::min(chunk_rows, state.n_tokens - first);
        graph         build(backend, 8);
        ggml_tensor * cur = apply_rms_norm(build.context(), output_norm, state.config.rms_eps, view_rows(build.context(), state.hidden, first, n));
        build.keep(cur);
        build.run();
        const auto rows = read_rows(cur, 0, n);
        normed.insert(normed.end(), rows.begin(), rows.end());
    }
    tap("decoder.norm", normed.data(), state.n_tokens, state.config.n_embd);
    std::vector<float> last;
    for (const auto & rows : state.sequences) {
        const auto begin = normed.begin() + (rows.end - 1) * state.config.n_embd;
        last.insert(last.end(), begin, begin + state.config.n_embd);
    }
    return last;
}

}  // namespace

std::vector<float> run_text_decoder(backend & backend, const decoder_config & config, const decoder_weights & weights, bool mrope,
                                    const std::vector<decoder_sequence> & sequences, const stage_tap & tap) {
    decoder_state state(config, mrope, sequences);
    embed_tokens(backend, weights, sequences, state);
    const size_t n_whole = tap ? weights.layers.size() : weights.layers.size() - 1;
    for (size_t il = 0; il < n_whole; il++) {
        for (int64_t first = 0; first < state.n_tokens; first += chunk_rows) {
            run_chunk(backend, weights.layers[il], state, first, std::min(chunk_rows, state.n_tokens - first));
        }
        if (tap) {
            tap("decoder.layer." + std::to_string(il), read_rows(state.hidden, 0, state.n_tokens).data(), state.n_tokens, config.n_embd);
        }
    }
    if (tap) {
        return tap_final_norm(backend, weights.output_norm, state, tap);
    }
    return run_last_layer(backend, weights.layers.back(), weights.output_norm, state);
}

}  // namespace gme
