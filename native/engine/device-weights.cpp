// device-weights: mapped weights -> memory of a device.
//
//   roles of a part -> those that the device can use -> one buffer there -> bytes copied tensor by tensor -> roles point at the copies
//
// The estimate is made before anything is copied: weights, states of the largest item, and the widest tensors of one chunk of rows.

#include "device-weights.h"

#include <algorithm>

namespace gme {

namespace {

void add_norm(std::vector<ggml_tensor **> & to, layer_norm & norm) {
    to.push_back(&norm.weight);
    to.push_back(&norm.bias);
}

void add_linear(std::vector<ggml_tensor **> & to, linear & weights) {
    to.push_back(&weights.weight);
    to.push_back(&weights.bias);
}

// Places of all tensors of a part but the token table; some hold nullptr.
std::vector<ggml_tensor **> places_of(decoder_weights & weights) {
    std::vector<ggml_tensor **> places;
    for (auto & layer : weights.layers) {
        add_norm(places, layer.attn_norm);
        add_norm(places, layer.ffn_norm);
        for (linear * each : { &layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down }) {
            add_linear(places, *each);
        }
    }
    add_norm(places, weights.output_norm);
    return places;
}

std::vector<ggml_tensor **> places_of(vision_weights & weights) {
    std::vector<ggml_tensor **> places = { &weights.patch_embd };
    for (auto & block : weights.blocks) {
        add_norm(places, block.ln1);
        add_norm(places, block.ln2);
        for (linear * each : { &block.q, &block.k, &block.v, &block.o, &block.up, &block.down }) {
            add_linear(places, *each);
        }
    }
    add_norm(places, weights.post_ln);
    add_linear(places, weights.merger_0);
    add_linear(places, weights.merger_2);
    return places;
}

template <typename weights_of> int64_t bytes_of(weights_of weights) {  // a copy: roles are only looked at
    int64_t bytes = 0;
    for (ggml_tensor ** place : places_of(weights)) {
        bytes += *place == nullptr ? 0 : static_cast<int64_t>((ggml_nbytes(*place) + 255) / 256 * 256);
    }
    return bytes;
}

// Whether the device can multiply by a matrix of this type and shape. Norms and biases are f32, which all can.
bool can_multiply(const device & gpu, const ggml_tensor * weight) {
    if (weight->ne[1] == 1) {
        return true;
    }
    const tensor_context context(3);
    ggml_tensor *        matrix = ggml_new_tensor_2d(context.get(), weight->type, weight->ne[0], weight->ne[1]);
    ggml_tensor *        rows   = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, weight->ne[0], 64);
    return gpu.supports(ggml_mul_mat(context.get(), matrix, rows));
}

}  // namespace

int64_t estimate_decoder_bytes(const decoder_config & config, const decoder_weights & weights, int64_t tokens_max, int64_t chunk_rows) {
    const int64_t n_kv   = static_cast<int64_t>(config.n_embd_head) * config.n_head_kv;
    const int64_t n_rows = std::min(chunk_rows, tokens_max);
    const int64_t state  = tokens_max * (config.n_embd + 2 * n_kv + 2 * config.n_embd_head) * 4;
    const int64_t widest = n_rows * (3ll * config.n_ff + 4ll * config.n_embd) * 4 + n_rows * tokens_max * 2;  // and the mask
    return bytes_of(weights) + state + widest;
}

int64_t estimate_vision_bytes(const vision_config & config, const vision_weights & weights, int64_t image_tokens_max, int64_t chunk_rows) {
    const int64_t n_patches = 4 * image_tokens_max;  // 2×2 patches make a token
    const int64_t n_rows    = std::min(chunk_rows, n_patches);
    const int64_t n_ff      = weights.blocks.empty() ? 0 : weights.blocks[0].up.weight->ne[1];
    const int64_t state     = n_patches * (3ll * config.n_embd + 2ll * (config.n_embd / config.n_head)) * 4;
    const int64_t widest    = n_rows * (3 * n_ff + 6ll * config.n_embd) * 4;
    return bytes_of(weights) + state + widest;
}

device_weights::device_weights(const device & gpu, decoder_weights & weights, const progress & on_progress) {
    copy(gpu, places_of(weights), on_progress);
}

device_weights::device_weights(const device & gpu, vision_weights & weights, const progress & on_progress) {
    copy(gpu, places_of(weights), on_progress);
}

void device_weights::copy(const device & gpu, const std::vector<ggml_tensor **> & tensors, const progress & on_progress) {
    context_ = std::make_unique<tensor_context>(tensors.size());
    std::vector<std::pair<ggml_tensor **, ggml_tensor *>> copies;
    for (ggml_tensor ** place : tensors) {
        if (*place != nullptr && can_multiply(gpu, *place)) {
            ggml_tensor * made = ggml_dup_tensor(context_->get(), *place);
            ggml_set_name(made, ggml_get_name(*place));
            copies.emplace_back(place, made);
        }
    }
    buffer_ = gpu.allocate(context_->get());
    ggml_backend_buffer_set_usage(buffer_.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    for (const auto & [place, made] : copies) {
        ggml_backend_tensor_set(made, (*place)->data, 0, ggml_nbytes(made));
        on_progress(ggml_nbytes(made));
    }
    for (const auto & [place, made] : copies) {  // nothing fails from here on
        *place = made;
    }
}

}  // namespace gme
