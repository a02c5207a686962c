// model-config: GGUF keys -> the numbers of decoder and vision tower.
//
//   general.architecture, qwen2vl.* -> decoder_config
//   clip.*                          -> vision_config
//   gme.*                           -> model_defaults
//
// Every number is checked here, against its range and against the others, so that no graph can be built from numbers
// that do not fit. What Qwen2-VL fixes (patch 14, merge 2, two frames) is compared for equality. The MLP width of the tower
// is not read: llama.cpp's tools write it wrong or as 0, so the tensors decide.

#include "model-config.h"

#include <cmath>

#include "error.h"
#include "prompt.h"

namespace gme {

namespace {

constexpr int32_t head_width_max = 1024;  // Qwen2-VL's heads are 80 and 128 wide; every thread's working memory grows with this

error range_error(const gguf_file & file, const std::string & key, const std::string & found, const std::string & expected) {
    return error("GME_HPARAM_RANGE", printable(file.path()) + ": " + key + " is " + found + ", expected " + expected)
        .in_file(file.path()).at_field("kv[\"" + key + "\"]").found(found).wanted(expected);
}

int32_t integer_in(const gguf_file & file, const std::string & key, int64_t low, int64_t high) {
    const int64_t value = file.integer(key);
    if (value < low || value > high) {
        throw range_error(file, key, std::to_string(value), std::to_string(low) + ".." + std::to_string(high));
    }
    return static_cast<int32_t>(value);
}

float number_in(const gguf_file & file, const std::string & key, double low, double high) {
    const double value = file.number(key);
    if (!(value >= low && value <= high)) {
        throw range_error(file, key, std::to_string(value), "a number in " + std::to_string(low) + ".." + std::to_string(high));
    }
    return static_cast<float>(value);
}

void require_equal(const gguf_file & file, const std::string & key, int64_t expected) {
    const auto value = file.find_integer(key);
    if (value && *value != expected) {
        throw range_error(file, key, std::to_string(*value), std::to_string(expected));
    }
}

// Heads must share the width out evenly, in columns of four: the attention kernel takes four at a time, and the tower's rotary
// positions split a head into rows and columns, each in pairs.
int32_t head_width(const gguf_file & file, const std::string & key, int32_t n_embd, int32_t n_head) {
    const int32_t n_embd_head = n_embd / n_head;
    if (n_embd % n_head != 0 || n_embd_head % 4 != 0 || n_embd_head > head_width_max) {
        throw range_error(file, key, std::to_string(n_head), "a divisor of the width " + std::to_string(n_embd) + " with a quotient divisible by 4, at most "
                          + std::to_string(head_width_max));
    }
    return n_embd_head;
}

void read_rope_sections(const gguf_file & file, decoder_config & config) {
    const std::string key      = "qwen2vl.rope.dimension_sections";
    const auto        sections = file.find_integers(key);
    const int32_t     n_pairs  = config.n_embd_head / 2;
    if (!sections) {
        // Without sections only plain positions are possible; giving all pairs to t makes both modes agree on text.
        config.rope_sections[0] = n_pairs;
        return;
    }
    if (sections->size() != 4) {
        throw range_error(file, key, std::to_string(sections->size()) + " numbers", "4 numbers");
    }
    int64_t sum = 0;
    for (size_t i = 0; i < sections->size(); i++) {
        const int32_t n = (*sections)[i];
        if (n < 0 || n > n_pairs || (i == 3 && n != 0)) {
            throw range_error(file, key, std::to_string(n), i == 3 ? "0" : "0.." + std::to_string(n_pairs));
        }
        sum += n;
        if (i < 3) {
            config.rope_sections[i] = n;
        }
    }
    if (sum != n_pairs) {
        throw range_error(file, key, "a sum of " + std::to_string(sum), "half a head's width, " + std::to_string(n_pairs));
    }
}

// key_length and value_length are optional and must repeat what the heads say.
void check_head_length(const gguf_file & file, const char * name, const decoder_config & config) {
    require_equal(file, std::string("qwen2vl.attention.") + name, config.n_embd_head);
}

}  // namespace

bool has_decoder(const gguf_file & file) {
    return file.find_key("qwen2vl.block_count") != nullptr || file.find_tensor("token_embd.weight") != nullptr;
}

bool has_vision_tower(const gguf_file & file) {
    return file.find_key("clip.projector_type") != nullptr || file.find_tensor("v.patch_embd.weight") != nullptr;
}

decoder_config read_decoder_config(const gguf_file & file) {
    const std::string architecture = file.string("general.architecture");
    if (architecture != "qwen2vl") {
        const char * hint = architecture == "clip" ? " (a vision tower: pass it as mmproj, beside the decoder's file)" : "";
        throw error("GME_MODEL_UNSUPPORTED", printable(file.path()) + ": architecture " + printable(architecture) + " is not supported" + hint)
            .in_file(file.path()).at_field("kv[\"general.architecture\"]").found(printable(architecture)).wanted("qwen2vl");
    }
    decoder_config config;
    config.n_embd    = integer_in(file, "qwen2vl.embedding_length", 4, 65536);
    config.n_layer   = integer_in(file, "qwen2vl.block_count", 1, 512);
    config.n_ff      = integer_in(file, "qwen2vl.feed_forward_length", 1, 1 << 20);
    config.n_head    = integer_in(file, "qwen2vl.attention.head_count", 1, 1024);
    config.n_head_kv = integer_in(file, "qwen2vl.attention.head_count_kv", 1, config.n_head);
    config.n_ctx     = integer_in(file, "qwen2vl.context_length", 32, 1 << 20);
    config.rms_eps    = number_in(file, "qwen2vl.attention.layer_norm_rms_epsilon", 1e-12, 1e-2);
    config.rope_theta = number_in(file, "qwen2vl.rope.freq_base", 1.0, 1e9);
    if (config.n_ff > n_ff_ratio_max * config.n_embd) {
        throw range_error(file, "qwen2vl.feed_forward_length", std::to_string(config.n_ff),
                          "at most " + std::to_string(n_ff_ratio_max) + " times the embedding length " + std::to_string(config.n_embd));
    }
    config.n_embd_head = head_width(file, "qwen2vl.attention.head_count", config.n_embd, config.n_head);
    if (config.n_head % config.n_head_kv != 0) {
        throw range_error(file, "qwen2vl.attention.head_count_kv", std::to_string(config.n_head_kv), "a divisor of " + std::to_string(config.n_head));
    }
    check_head_length(file, "key_length", config);
    check_head_length(file, "value_length", config);
    read_rope_sections(file, config);
    const auto pooling = file.find_integer("qwen2vl.pooling_type");
    if (pooling && *pooling != 3) {
        throw error("GME_MODEL_UNSUPPORTED", printable(file.path()) + ": GME pools the last token; the file asks for another pooling")
            .in_file(file.path()).at_field("kv[\"qwen2vl.pooling_type\"]").found(*pooling).wanted("3 (last token)");
    }
    return config;
}

static void read_normalisation(const gguf_file & file, const std::string & key, bool positive, float (&target)[3]) {
    const auto numbers = file.find_numbers(key);
    if (!numbers) {
        throw error("GME_GGUF_MISSING_KEY", printable(file.path()) + ": the key " + key + " is missing")
            .in_file(file.path()).at_field("kv[\"" + key + "\"]").wanted("3 numbers");
    }
    if (numbers->size() != 3) {
        throw range_error(file, key, std::to_string(numbers->size()) + " numbers", "3 numbers");
    }
    for (size_t i = 0; i < 3; i++) {
        const float value = (*numbers)[i];
        if (!std::isfinite(value) || std::fabs(value) > 1e3f || (positive && value < 1e-3f)) {
            throw range_error(file, key, std::to_string(value), positive ? "a number in 0.001..1000" : "a number in -1000..1000");
        }
        target[i] = value;
    }
}

static void require_vision_encoder(const gguf_file & file) {
    const std::string  key   = "clip.has_vision_encoder";
    const gguf_value * value = file.find_key(key);
    const bool         known = value != nullptr && value->type == gguf_type::boolean;
    if (known && *file.find_boolean(key)) {
        return;
    }
    throw error("GME_GGUF_BAD_VALUE", printable(file.path()) + ": the file does not say that it holds a vision encoder")
        .in_file(file.path()).at_field("kv[\"" + key + "\"]").found(known ? "false" : value == nullptr ? "missing" : gguf_type_name(value->type)).wanted("true");
}

vision_config read_vision_config(const gguf_file & file) {
    const auto projector = file.find_string("clip.projector_type");
    if (!projector || *projector != "qwen2vl_merger") {
        const std::string found = projector.value_or("nothing");
        throw error("GME_MODEL_UNSUPPORTED", printable(file.path()) + ": not the vision tower of Qwen2-VL")
            .in_file(file.path()).at_field("kv[\"clip.projector_type\"]").found(printable(found)).wanted("qwen2vl_merger");
    }
    require_vision_encoder(file);
    vision_config config;
    config.n_embd   = integer_in(file, "clip.vision.embedding_length", 4, 65536);
    config.n_layer  = integer_in(file, "clip.vision.block_count", 1, 512);
    config.n_head   = integer_in(file, "clip.vision.attention.head_count", 1, 1024);
    config.n_output = integer_in(file, "clip.vision.projection_dim", 1, 65536);
    config.norm_eps = number_in(file, "clip.vision.attention.layer_norm_epsilon", 1e-12, 1e-2);
    integer_in(file, "clip.vision.patch_size", 14, 14);
    require_equal(file, "clip.vision.spatial_merge_size", 2);
    require_equal(file, "clip.vision.temporal_patch_size", 2);
    const auto image_size = file.find_integer("clip.vision.image_size");
    if (image_size && (*image_size < 28 || *image_size > 65536 || *image_size % 14 != 0)) {
        throw range_error(file, "clip.vision.image_size", std::to_string(*image_size), "a multiple of 14 in 28..65536");
    }
    config.n_embd_head = head_width(file, "clip.vision.attention.head_count", config.n_embd, config.n_head);
    read_normalisation(file, "clip.vision.image_mean", false, config.normalisation.mean);
    read_normalisation(file, "clip.vision.image_std", true, config.normalisation.std);
    return config;
}

model_defaults read_model_defaults(const gguf_file & file) {
    model_defaults defaults;
    if (const auto positions = file.find_string("gme.positions")) {
        if (*positions != "sequential" && *positions != "mrope") {
            throw range_error(file, "gme.positions", printable(*positions), "sequential or mrope");
        }
        defaults.mrope = *positions == "mrope";
    }
    defaults.loader_resize = file.find_boolean("gme.loader_resize");
    if (file.find_key("gme.image_tokens_min")) {
        defaults.image_tokens_min = integer_in(file, "gme.image_tokens_min", 1, 16384);
    }
    if (file.find_key("gme.image_tokens_max")) {
        defaults.image_tokens_max = integer_in(file, "gme.image_tokens_max", defaults.image_tokens_min.value_or(1), 16384);
    }
    defaults.instruction = file.find_string("gme.default_instruction").value_or(std::string(default_instruction));
    return defaults;
}

}  // namespace gme
