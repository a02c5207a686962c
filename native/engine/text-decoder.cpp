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

constexpr stage_names stages     = { "decoder.norm", "decoder.product", "decoder.rotary", "decoder.attention" };

struct decoder_state {
    const decoder_config &         config;
    const decoder_pass &           pass;
    int64_t                        n_known = 0;  // rows of openings that need not be computed
    int64_t                        n_rows  = 0;  // rows that are
    std::vector<row_range>         rows;         // per segment: of `hidden`; of `keys_values` for a known one
    state_memory                   memory{ 8 };
    ggml_tensor *                  hidden = nullptr;  // [n_embd, n_rows]
    ggml_tensor *                  cos    = nullptr;  // [n_embd_head, n_rows]
    ggml_tensor *                  sin    = nullptr;
    key_value_rows                 keys_values;       // n_known rows, then n_rows

    decoder_state(const backend & backend, const decoder_config & config, bool mrope, const std::vector<decoder_sequence> & sequences, const decoder_pass & pass);

    bool      is_known(size_t segment) const { return pass.segments[segment].known != nullptr; }
    row_range key_rows(size_t segment) const;
    // The keys that a segment sees before its own, the oldest first.
    std::vector<row_range> earlier(size_t segment) const;
};

decoder_state::decoder_state(const backend & backend, const decoder_config & config, bool mrope, const std::vector<decoder_sequence> & sequences, const decoder_pass & pass)
    : config(config), pass(pass) {
    rotary_table positions;
    for (const auto & segment : pass.segments) {
        int64_t & at = segment.known ? n_known : n_rows;
        rows.push_back({ at, at + segment.n });
        at += segment.n;
        if (!segment.known) {
            append_decoder_positions(config, mrope, segment.first, segment.n, sequences[static_cast<size_t>(segment.sequence)].image, positions);
        }
    }
    keys_values.n_embd_head = config.n_embd_head;
    keys_values.n_head_kv   = config.n_head_kv;
    hidden                  = memory.add("decoder.hidden", config.n_embd, n_rows);
    cos                     = memory.add("decoder.cos", config.n_embd_head, n_rows);
    sin                     = memory.add("decoder.sin", config.n_embd_head, n_rows);
    keys_values.add_to(memory, "decoder.keys_values", n_known + n_rows);
    memory.allocate(backend);
    write_rows(cos, 0, n_rows, positions.cos.data());
    write_rows(sin, 0, n_rows, positions.sin.data());
}

row_range decoder_state::key_rows(size_t segment) const {
    const int64_t shift = is_known(segment) ? 0 : n_known;
    return { rows[segment].begin + shift, rows[segment].end + shift };
}

std::vector<row_range> decoder_state::earlier(size_t segment) const {
    std::vector<row_range> ranges;
    for (int32_t at = pass.segments[segment].parent; at >= 0; at = pass.segments[static_cast<size_t>(at)].parent) {
        ranges.insert(ranges.begin(), key_rows(static_cast<size_t>(at)));
    }
    return ranges;
}

void embed_tokens(backend & backend, const decoder_weights & weights, const std::vector<decoder_sequence> & sequences, decoder_state & state) {
    std::vector<int32_t> ids;
    for (const auto & segment : state.pass.segments) {
        if (!segment.known) {
            const auto from = sequences[static_cast<size_t>(segment.sequence)].ids.begin() + segment.first;
            ids.insert(ids.end(), from, from + segment.n);
        }
    }
    if (backend.on_device()) {
        const stage_timer timer(backend.profile(), embed_stage);
        write_rows(state.hidden, 0, state.n_rows, look_up_rows(weights.token_embd, ids).data());
    }
    for (int64_t first = 0; !backend.on_device() && first < state.n_rows; first += backend.chunk_rows()) {
        const int64_t n = std::min(backend.chunk_rows(), state.n_rows - first);
        graph         build(backend, 4);
        build.stage(embed_stage);
        ggml_tensor * cur = ggml_get_rows(build.context(), weights.token_embd, build.input_i32(ids.data() + first, n));  // [n_embd, n]
        build.add(ggml_cpy(build.context(), cur, view_rows(build.context(), state.hidden, first, n)));
        build.run();
    }
    for (size_t i = 0; i < state.pass.segments.size(); i++) {
        const auto &  segment = state.pass.segments[i];
        const auto &  input   = sequences[static_cast<size_t>(segment.sequence)];
        const int64_t slot    = static_cast<int64_t>(input.image.begin) - segment.first;
        // A sequence cut the reference's way may hold fewer image slots than the picture has tokens.
        const int64_t n_image = std::min<int64_t>(input.image.n, segment.n - slot);
        if (slot >= 0 && n_image > 0 && !input.image_tokens.empty()) {
            write_rows(state.hidden, state.rows[i].begin + slot, n_image, input.image_tokens.data());
        }
    }
}

// Openings: from an earlier call into this layer's keys and values, or out of them for later calls.
void restore_openings(decoder_state & state, size_t il) {
    for (size_t i = 0; i < state.rows.size(); i++) {
        if (state.is_known(i)) {
            const int64_t n     = state.rows[i].end - state.rows[i].begin;
            const auto    width = static_cast<int64_t>(2) * state.keys_values.width();
            write_rows(state.keys_values.rows, state.rows[i].begin, n, state.pass.segments[i].known->keys_values.data() + static_cast<int64_t>(il) * n * width);
        }
    }
}

void save_openings(const decoder_state & state) {
    for (size_t i = 0; i < state.rows.size(); i++) {
        if (const auto & wanted = state.pass.segments[i].wanted) {
            const row_range keys = state.key_rows(i);
            const auto      rows = read_rows(state.keys_values.rows, keys.begin, keys.end - keys.begin);
            wanted->keys_values.insert(wanted->keys_values.end(), rows.begin(), rows.end());
        }
    }
}

// inpL [n_embd, n] + attention -> + SwiGLU MLP; both sums go back to where inpL lies.
ggml_tensor * finish_layer(graph & build, const decoder_state & state, const decoder_layer & layer, ggml_tensor * inpL, ggml_tensor * attended) {
    const input_norm norm = { row_norm::rms, &layer.ffn_norm, state.config.rms_eps };
    ggml_tensor *    cur  = apply_product(build, stages, {}, attended, { layer.o }, product_end::add, inpL);
    build.add(cur);
    ggml_tensor * gated = apply_product(build, stages, norm, cur, { layer.gate, layer.up }, product_end::silu_gate);  // [n_ff, n]
    return apply_product(build, stages, {}, gated, { layer.down }, product_end::add, cur);
}

void run_chunk(backend & backend, const decoder_layer & layer, decoder_state & state, int64_t first, int64_t n) {
    graph                          build(backend, 96);
    ggml_tensor *                  inpL = view_rows(build.context(), state.hidden, first, n);
    const input_norm               norm = { row_norm::rms, &layer.attn_norm, state.config.rms_eps };
    std::vector<attention_segment> segments;
    for (size_t i = 0; i < state.rows.size(); i++) {
        const int64_t begin = std::max(state.rows[i].begin, first);
        const int64_t end   = std::min(state.rows[i].end, first + n);
        if (!state.is_known(i) && begin < end) {
            const int64_t shift = state.n_known;
            segments.push_back({ { begin - first, end - first }, { state.rows[i].begin + shift, end + shift }, true, begin - state.rows[i].begin, state.earlier(i) });
        }
    }
    ggml_tensor * qkv = apply_product(build, stages, norm, inpL, { layer.q, layer.k, layer.v });
    build.stage(stages.rotary);
    qkv = build.staged(stages.rotary, rotate_and_store(build, qkv, state.config.n_head, state.keys_values, state.n_known + first, state.cos, state.sin, first));
    ggml_tensor * attended = build.staged(stages.attention, apply_attention(build, qkv, state.config.n_head, state.keys_values, std::move(segments)));
    build.add(finish_layer(build, state, layer, inpL, attended));
    build.run();
}

// The last layer: keys and values of all rows, everything else for the last row of each sequence only.
std::vector<float> run_last_layer(backend & backend, const decoder_layer & layer, const layer_norm & output_norm, decoder_state & state) {
    const input_norm norm = { row_norm::rms, &layer.attn_norm, state.config.rms_eps };
    for (int64_t first = 0; first < state.n_rows; first += backend.chunk_rows()) {
        const int64_t n = std::min(backend.chunk_rows(), state.n_rows - first);
        graph         build(backend, 32);
        ggml_tensor * kv = apply_product(build, stages, norm, view_rows(build.context(), state.hidden, first, n), { layer.k, layer.v });
        build.stage(stages.rotary);
        build.add(build.staged(stages.rotary, rotate_and_store(build, kv, 0, state.keys_values, state.n_known + first, state.cos, state.sin, first)));
        build.run();
    }
    std::vector<int32_t>           last;
    std::vector<attention_segment> segments;
    for (const int32_t end : state.pass.ends) {
        const auto      segment = static_cast<size_t>(end);
        const auto      query   = static_cast<int64_t>(last.size());
        const row_range keys    = state.key_rows(segment);
        segments.push_back({ { query, query + 1 }, keys, true, keys.end - keys.begin - 1, state.earlier(segment) });
        last.push_back(static_cast<int32_t>(state.rows[segment].end - 1));
    }
    const auto     n = static_cast<int64_t>(last.size());
    graph          build(backend, 96);
    ggml_context * ctx  = build.context();
    ggml_tensor *  rows = build.input_i32(last.data(), n);
    ggml_tensor *  inpL = build.staged(embed_stage, ggml_get_rows(ctx, state.hidden, rows));  // [n_embd, n]
    ggml_tensor *  Qcur = apply_product(build, stages, norm, inpL, { layer.q });
    key_value_rows none = state.keys_values;
    none.n_head_kv      = 0;  // the keys are there already
    build.stage(stages.rotary);
    Qcur                = build.staged(stages.rotary, rotate_and_store(build, Qcur, state.config.n_head, none, 0, ggml_get_rows(ctx, state.cos, rows), ggml_get_rows(ctx, state.sin, rows), 0));
    ggml_tensor * cur   = build.staged(stages.attention, apply_attention(build, Qcur, state.config.n_head, state.keys_values, std::move(segments)));
    cur                 = finish_layer(build, state, layer, inpL, cur);
    cur                 = build.staged(stages.norm, apply_norm(build, { row_norm::rms, &output_norm, state.config.rms_eps }, cur));
    build.keep(cur);
    build.run();
    return read_rows(cur, 0, n);
}

// With a tap: the final norm of every row, then the last rows of it.
std::vector<float> tap_final_norm(backend & backend, const layer_norm & output_norm, const decoder_state & state, const stage_tap & tap) {
    std::vector<float> normed;
    for (int64_t first = 0; first < state.n_rows; first += backend.chunk_rows()) {
        const int64_t n = std::min(backend.chunk_rows(), state.n_rows - first);
        graph         build(backend, 8);
        ggml_tensor * cur = apply_norm(build, { row_norm::rms, &output_norm, state.config.rms_eps }, view_rows(build.context(), state.hidden, first, n));
        build.keep(cur);
        build.run();
        const auto rows = read_rows(cur, 0, n);
        normed.insert(normed.end(), rows.begin(), rows.end());
    }
    tap("decoder.norm", normed.data(), state.n_rows, state.config.n_embd);
    std::vector<float> last;
    for (const int32_t end : state.pass.ends) {
        const auto begin = normed.begin() + (state.rows[static_cast<size_t>(end)].end - 1) * state.config.n_embd;
        last.insert(last.end(), begin, begin + state.config.n_embd);
    }
    return last;
}

}  // namespace

std::vector<float> run_text_decoder(backend & backend, const decoder_config & config, const decoder_weights & weights, bool mrope,
                                    const std::vector<decoder_sequence> & sequences, const decoder_pass & pass, const stage_tap & tap) {
    decoder_state state(backend, config, mrope, sequences, pass);
    embed_tokens(backend, weights, sequences, state);
    const auto tap_hidden = [&](const std::string & name) {
        if (tap) {
            tap(name, read_rows(state.hidden, 0, state.n_rows).data(), state.n_rows, config.n_embd);
        }
    };
    tap_hidden(embed_stage);
    const size_t n_whole = tap ? weights.layers.size() : weights.layers.size() - 1;
    for (size_t il = 0; il < n_whole; il++) {
        restore_openings(state, il);
        for (int64_t first = 0; first < state.n_rows; first += backend.chunk_rows()) {
            run_chunk(backend, weights.layers[il], state, first, std::min(backend.chunk_rows(), state.n_rows - first));
        }
        save_openings(state);
        tap_hidden("decoder.layer." + std::to_string(il));
    }
    if (tap) {
        return tap_final_norm(backend, weights.output_norm, state, tap);
    }
    restore_openings(state, n_whole);
    std::vector<float> last = run_last_layer(backend, weights.layers.back(), weights.output_norm, state);
    save_openings(state);
    return last;
}

}  // namespace gme
