// The tensors of a model by role, their shapes checked, their bytes mapped or owned. Tensor names stand in model-weights.cpp only.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gguf-file.h"
#include "model-config.h"
#include "tensor-memory.h"

namespace gme {

struct linear {
    ggml_tensor * weight = nullptr;  // [n_in, n_out] in ggml's order: ne0 is the input
    ggml_tensor * bias   = nullptr;  // [n_out] f32, or nullptr
};

struct layer_norm {
    ggml_tensor * weight = nullptr;  // [n] f32
    ggml_tensor * bias   = nullptr;  // [n] f32; nullptr for RMS norm
};

struct decoder_layer {
    layer_norm attn_norm, ffn_norm;
    linear     q, k, v, o;
    linear     gate, up, down;
};

struct decoder_weights {
    ggml_tensor *              token_embd = nullptr;  // [n_embd, n_vocab]
    std::vector<decoder_layer> layers;
    layer_norm                 output_norm;
    int32_t                    n_vocab = 0;
};

struct vision_block {
    layer_norm ln1, ln2;
    linear     q, k, v, o;
    linear     up, down;
};

struct vision_weights {
    // Both frames of a still picture are equal, so W0·x + W1·x = (W0 + W1)·x: the sum, f32, rows padded with zeros.
    ggml_tensor *             patch_embd = nullptr;  // [patch_row_padded, n_embd]
    std::vector<vision_block> blocks;
    layer_norm                post_ln;
    linear                    merger_0, merger_2;
};

constexpr int32_t patch_row        = 3 * 14 * 14;  // one frame of one patch
constexpr int32_t patch_row_padded = 608;          // next multiple of 32: the fast products need whole SIMD rows

// Bytes of one file's weights: a mapping, or owned memory when mapping is off or the file's alignment is too small.
class weights_file {
  public:
    using progress = std::function<void(uint64_t bytes_done)>;  // may throw to stop

    weights_file(const gguf_file & file, bool use_mmap, size_t n_extra_tensors);

    // A tensor of the file as ggml's. Errors: GME_TENSOR_MISSING, GME_TENSOR_SHAPE, GME_TENSOR_TYPE, with both shapes.
    ggml_tensor * matrix(const std::string & name, int64_t n_in, int64_t n_out);
    ggml_tensor * vector(const std::string & name, int64_t n);
    ggml_tensor * owned_matrix(const std::string & name, int64_t ne0, int64_t ne1);  // f32, filled by the caller
    const gguf_tensor & require(const std::string & name) const;

    // Reads owned bytes; a mapping needs none. To be called once all tensors are named.
    void load(const progress & on_progress);
    // The numbers of a tensor as f32.
    std::vector<float> numbers(const gguf_tensor & tensor) const;

    const gguf_file &        file() const { return file_; }
    uint64_t                 mapped_bytes() const { return mapping_ ? mapping_->size() : 0; }
    uint64_t                 owned_bytes() const;
    std::vector<std::string> unused() const;  // names in the file that no role asked for

  private:
    ggml_tensor * create(const gguf_tensor & info);

    const gguf_file &             file_;
    std::unique_ptr<file_mapping> mapping_;
    tensor_context                context_;        // tensors of the file
    tensor_context                owned_context_;  // tensors that are computed at load
    tensor_memory                 memory_, owned_memory_;
    std::vector<std::pair<ggml_tensor *, const gguf_tensor *>> created_;
    std::unordered_map<std::string_view, ggml_tensor *>        by_name_;  // of created_
    std::vector<ggml_tensor *>                                 owned_;
};

// Rows `ids` of a matrix in memory of the host, as f32: [n, ne0].
std::vector<float> look_up_rows(const ggml_tensor * matrix, const std::vector<int32_t> & ids);

decoder_weights find_decoder_weights(weights_file & weights, const decoder_config & config);
vision_weights  find_vision_weights(weights_file & weights, const vision_config & config);
// Sums the two frames of the patch embedding into `vision.patch_embd`; after load().
void            sum_patch_frames(const weights_file & weights, const vision_config & config, vision_weights & vision);

}  // namespace gme
