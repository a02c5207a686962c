// A model's weights on a device: what they take there, and the copy.
#pragma once

#include <functional>

#include "backend.h"
#include "model-config.h"
#include "model-weights.h"

namespace gme {

// Bytes of a device that a part of the model needs: its weights, its state and its widest graph for the largest item that is allowed.
int64_t estimate_decoder_bytes(const decoder_config & config, const decoder_weights & weights, int64_t tokens_max, int64_t chunk_rows);
int64_t estimate_vision_bytes(const vision_config & config, const vision_weights & weights, int64_t image_tokens_max, int64_t chunk_rows);

// Tensors of a part, copied. They live as long as this does.
class device_weights {
  public:
    using progress = std::function<void(uint64_t bytes_done)>;  // may throw to stop

    // Points the weights at their copies. The token table stays on the host, where its few rows are looked up; so do matrices of a
    // type that the device cannot multiply by. GME_OUT_OF_MEMORY
    device_weights(const device & gpu, decoder_weights & weights, const progress & on_progress);
    device_weights(const device & gpu, vision_weights & weights, const progress & on_progress);

    int64_t bytes() const { return static_cast<int64_t>(ggml_backend_buffer_get_size(buffer_.get())); }

  private:
    void copy(const device & gpu, const std::vector<ggml_tensor **> & tensors, const progress & on_progress);

    std::unique_ptr<tensor_context> context_;
    ggml_backend_buffer_ptr         buffer_;
};

}  // namespace gme
