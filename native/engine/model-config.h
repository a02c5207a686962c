// The numbers of a model, read from GGUF keys and checked against each other. Keys are named in model-config.cpp only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "gguf-file.h"
#include "image-patches.h"

namespace gme {

// Widest MLP over the hidden width; Qwen2-VL has 4 to 6. A wider one would take memory out of all proportion to its file.
constexpr int32_t n_ff_ratio_max = 64;

struct decoder_config {
    int32_t n_embd        = 0;  // hidden width
    int32_t n_layer       = 0;
    int32_t n_ff          = 0;  // MLP width
    int32_t n_head        = 0;
    int32_t n_head_kv     = 0;
    int32_t n_embd_head   = 0;  // width of one head
    int32_t n_ctx         = 0;  // longest sequence the file allows, tokens
    float   rms_eps       = 0;
    float   rope_theta    = 0;
    int32_t rope_sections[3] = { 0, 0, 0 };  // frequency pairs that follow t, h, w in mrope; their sum is n_embd_head/2
};

struct vision_config {
    int32_t n_embd      = 0;
    int32_t n_layer     = 0;
    int32_t n_head      = 0;
    int32_t n_embd_head = 0;
    int32_t n_output    = 0;  // width of an image token, the decoder's n_embd
    float   norm_eps    = 0;
    image_normalisation normalisation;
};

// The `gme.*` keys: what a file says of the path its vectors were trained on.
struct model_defaults {
    std::optional<bool>    mrope;
    std::optional<bool>    loader_resize;
    std::optional<int32_t> image_tokens_min, image_tokens_max;
    std::string            instruction;
};

// Errors: GME_MODEL_UNSUPPORTED, GME_GGUF_MISSING_KEY, GME_GGUF_WRONG_TYPE, GME_HPARAM_RANGE.
decoder_config read_decoder_config(const gguf_file & file);
vision_config  read_vision_config(const gguf_file & file);
model_defaults read_model_defaults(const gguf_file & file);

bool has_decoder(const gguf_file & file);
bool has_vision_tower(const gguf_file & file);

}  // namespace gme
