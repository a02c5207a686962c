// A loaded model: files, numbers, weights, tokenizer and the backend they run on.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "backend.h"
#include "decoder-pass.h"
#include "device-weights.h"
#include "gme.h"
#include "image-resize.h"
#include "model-config.h"
#include "model-weights.h"
#include "tokenizer.h"

// gme.h's opaque handle.
struct gme_model {
    gme_model(const std::string & path, const gme_load_params & params);
    ~gme_model();

    gme::gguf_file                     decoder_file;
    std::unique_ptr<gme::gguf_file>    mmproj_file;   // nullptr: the tower is in decoder_file, or there is none
    gme::decoder_config                decoder_config;
    std::optional<gme::vision_config>  vision_config;
    gme::model_defaults                defaults;
    gme::image_limits                  image_limits;
    bool                               mrope      = false;
    int32_t                            tokens_max = 0;
    std::string                        vision_note;   // why there is no tower, for the error of a picture

    std::unique_ptr<gme::weights_file> decoder_tensors;
    std::unique_ptr<gme::weights_file> mmproj_tensors;
    gme::decoder_weights               decoder;
    gme::vision_weights                vision;
    std::unique_ptr<gme::tokenizer>    tokens;
    gme::cpu_features                  features;      // what our kernels use of the processor
    std::unique_ptr<gme::backend>      cpu;
    std::unique_ptr<gme::backend>      gpu;           // nullptr: everything runs on the processor
    std::unique_ptr<gme::device_weights> decoder_copy;  // on the device; nullptr: the decoder runs on the processor
    std::unique_ptr<gme::device_weights> vision_copy;
    std::string                        device_note;   // why not everything is on the device that could have been
    gme::opening_cache                 openings;      // of the instructions used last
    std::string                        info;          // JSON

    template <typename F> void each_backend(const F & call) const {
        for (auto * each : { cpu.get(), gpu.get() }) {
            if (each != nullptr) {
                call(*each);
            }
        }
    }
    gme::backend & decoder_backend() { return decoder_copy ? *gpu : *cpu; }
    gme::backend & vision_backend() { return vision_copy ? *gpu : *cpu; }

  private:
    const gme::gguf_file * vision_file() const;
    void                   place_weights(const gme_load_params & params);
    void                   place_on(const gme::device_entry & entry, bool strict, const gme_load_params & params);
    void                   copy_part(const gme::device_entry & entry, bool is_tower, bool strict, int64_t needed, int64_t & free, const gme_load_params & params);
    void                   open_vision(const gme_load_params & params);
    void                   apply_options(const gme_load_params & params);
    void                   load_weights(const gme_load_params & params);
    void                   load_tokenizer();
    std::string            describe(const gme_load_params & params) const;
};
