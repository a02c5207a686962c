// model: paths and options -> a model that is ready to embed.
//
//   decoder file (+ mmproj: given, in the same file, or beside it) -> numbers -> options in force -> weights -> tokenizer
//     -> backend -> description
//
// Everything that can be wrong with a file or an option is found here, before any graph exists.

#include "model.h"

#include <algorithm>
#include <filesystem>

#include "error.h"
#include "fingerprint.h"
#include "json-writer.h"
#include "tensor-types.h"
#include "vocabulary-keys.h"

namespace {

using gme::error;
using gme::gguf_file;
using gme::printable;

namespace fs = std::filesystem;

void check_abort(const gme_load_params & params) {
    if (params.abort != nullptr && params.abort(params.abort_data)) {
        throw error("GME_ABORTED", "loading was aborted");
    }
}

error option_error(const char * option, int64_t found, const std::string & expected) {
    return error("GME_OPTION_INVALID", std::string(option) + " is " + std::to_string(found) + ", expected " + expected)
        .at_field(option).found(found).wanted(expected);
}

size_t common_prefix(const std::string & a, const std::string & b) {
    return static_cast<size_t>(std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size())), b.begin()).first - a.begin());
}

// Among mmproj-*.gguf beside the decoder the one whose name agrees longest with the decoder's. With a tie nothing is
// guessed: `note` says what to do.
std::string find_mmproj_beside(const std::string & decoder_path, std::string & note) {
    const fs::path           path(decoder_path);
    const std::string        stem = path.stem().string();
    std::error_code          failed;
    std::vector<std::string> best;
    size_t                   best_length = 0;
    for (const auto & entry : fs::directory_iterator(path.has_parent_path() ? path.parent_path() : fs::path("."), failed)) {
        const std::string name = entry.path().filename().string();
        if (name.rfind("mmproj-", 0) != 0 || entry.path().extension() != ".gguf" || entry.path() == path) {
            continue;
        }
        const size_t length = common_prefix(name.substr(7), stem);
        if (best.empty() || length > best_length) {
            best        = { entry.path().string() };
            best_length = length;
        } else if (length == best_length) {
            best.push_back(entry.path().string());
        }
    }
    if (best.size() > 1) {
        note = "several mmproj-*.gguf files lie beside the decoder and none is clearly its own; name one with the mmproj option";
        return "";
    }
    return best.empty() ? "" : best.front();
}

std::string most_common_type(const gguf_file & file) {
    std::vector<uint64_t> bytes(256, 0);
    for (const auto & tensor : file.tensors()) {
        if (tensor.n_dims > 1 && tensor.type < bytes.size()) {
            bytes[tensor.type] += tensor.size;
        }
    }
    const auto most = static_cast<uint32_t>(std::max_element(bytes.begin(), bytes.end()) - bytes.begin());
    return gme::find_tensor_type(most)->name;
}

int64_t count_parameters(const gguf_file & file) {
    int64_t n = 0;
    for (const auto & tensor : file.tensors()) {
        n += tensor.ne[0] * tensor.ne[1] * tensor.ne[2] * tensor.ne[3];
    }
    return n;
}

std::string json_list(const std::vector<std::string> & texts) {
    std::string list = "[";
    for (size_t i = 0; i < texts.size(); i++) {
        list += (i ? "," : "") + gme::json_string(texts[i]);
    }
    return list + "]";
}

}  // namespace

gme_model::gme_model(const std::string & path, const gme_load_params & params) : decoder_file(path) {
    decoder_file.require_whole();
    decoder_config = gme::read_decoder_config(decoder_file);
    open_vision(params);
    defaults = gme::read_model_defaults(decoder_file);
    apply_options(params);
    check_abort(params);
    load_weights(params);
    check_abort(params);
    load_tokenizer();
    check_abort(params);
    const gme::cpu_level most = params.cpu_limit == GME_CPU_PORTABLE ? gme::cpu_level::portable
                                : params.cpu_limit == GME_CPU_AVX2   ? gme::cpu_level::avx2
                                                                     : gme::cpu_level::avx512;
    features = gme::limit_cpu(gme::detect_cpu(), most);
    cpu      = std::make_unique<gme::backend>(params.n_threads, features);
    place_weights(params);
    decoder_file.file().check_unchanged();
    if (mmproj_file) {
        mmproj_file->file().check_unchanged();
    }
    info = describe(params);
    if (params.progress != nullptr) {
        params.progress(1.0f, params.progress_data);
    }
}

gme_model::~gme_model() = default;

const gguf_file * gme_model::vision_file() const {
    return !vision_config ? nullptr : mmproj_file ? mmproj_file.get() : &decoder_file;
}

void gme_model::open_vision(const gme_load_params & params) {
    const bool given = params.mmproj != nullptr && params.mmproj[0] != '\0';
    if (!given && gme::has_vision_tower(decoder_file)) {
        vision_config = gme::read_vision_config(decoder_file);
    } else {
        const std::string path = given ? params.mmproj : find_mmproj_beside(decoder_file.path(), vision_note);
        if (path.empty()) {
            return;
        }
        mmproj_file = std::make_unique<gguf_file>(path);
        mmproj_file->require_whole();
        if (!gme::has_vision_tower(*mmproj_file)) {
            throw error("GME_MMPROJ_MISMATCH", printable(path) + " holds no vision tower" + (gme::has_decoder(*mmproj_file) ? " (it is a decoder)" : ""))
                .in_file(path).at_field("kv[\"clip.projector_type\"]").found("missing").wanted("qwen2vl_merger");
        }
        vision_config = gme::read_vision_config(*mmproj_file);
    }
    if (vision_config->n_output == decoder_config.n_embd) {
        return;
    }
    const std::string numbers = "image tokens of width " + std::to_string(vision_config->n_output) + " for a decoder of width " + std::to_string(decoder_config.n_embd);
    if (mmproj_file && !given) {
        // Found by its name only: another model's tower must not keep texts from working.
        vision_note = printable(mmproj_file->path()) + " belongs to another model (" + numbers + ")";
        vision_config.reset();
        mmproj_file.reset();
        return;
    }
    const std::string file = mmproj_file ? mmproj_file->path() : decoder_file.path();
    throw error("GME_MMPROJ_MISMATCH", printable(file) + " does not belong to " + printable(decoder_file.path()) + ": " + numbers)
        .in_file(file).at_field("kv[\"clip.vision.projection_dim\"]").found(vision_config->n_output).wanted(std::to_string(decoder_config.n_embd));
}

void gme_model::apply_options(const gme_load_params & params) {
    if (params.n_threads < 1 || params.n_threads > 512) {
        throw option_error("threads", params.n_threads, "1..512");
    }
    mrope                      = params.positions == GME_POSITIONS_FROM_FILE ? defaults.mrope.value_or(false) : params.positions == GME_POSITIONS_MROPE;
    image_limits.loader_resize = params.loader_resize == GME_TOGGLE_FROM_FILE ? defaults.loader_resize.value_or(true) : params.loader_resize == GME_TOGGLE_ON;
    image_limits.tokens_min    = params.image_tokens_min != 0 ? params.image_tokens_min : defaults.image_tokens_min.value_or(256);
    image_limits.tokens_max    = params.image_tokens_max != 0 ? params.image_tokens_max : defaults.image_tokens_max.value_or(1280);
    if (params.image_tokens_min == 0) {
        image_limits.tokens_min = std::min(image_limits.tokens_min, image_limits.tokens_max);
    }
    if (image_limits.tokens_max < 1 || image_limits.tokens_max > 16384) {
        throw option_error("maxImageTokens", image_limits.tokens_max, "1..16384");
    }
    if (image_limits.tokens_min < 1 || image_limits.tokens_min > image_limits.tokens_max) {
        throw option_error("minImageTokens", image_limits.tokens_min, "1.." + std::to_string(image_limits.tokens_max));
    }
    tokens_max = params.tokens_max != 0 ? params.tokens_max : decoder_config.n_ctx;
    if (tokens_max < 1 || tokens_max > decoder_config.n_ctx) {
        throw option_error("maxTokens", tokens_max, "1.." + std::to_string(decoder_config.n_ctx));
    }
}

void gme_model::load_weights(const gme_load_params & params) {
    decoder_tensors = std::make_unique<gme::weights_file>(decoder_file, params.use_mmap, 4);
    decoder         = gme::find_decoder_weights(*decoder_tensors, decoder_config);
    gme::weights_file * vision_tensors = decoder_tensors.get();
    if (mmproj_file) {
        mmproj_tensors = std::make_unique<gme::weights_file>(*mmproj_file, params.use_mmap, 4);
        vision_tensors = mmproj_tensors.get();
    }
    if (vision_config) {
        vision = gme::find_vision_weights(*vision_tensors, *vision_config);
    }
    const auto total    = static_cast<double>(decoder_file.file().size() + (mmproj_file ? mmproj_file->file().size() : 0));
    double     done     = 0;
    const auto progress = [&](uint64_t bytes) {
        check_abort(params);
        done += static_cast<double>(bytes);
        if (params.progress != nullptr) {
            params.progress(static_cast<float>(std::min(0.95, done / total)), params.progress_data);
        }
    };
    decoder_tensors->load(progress);
    if (mmproj_tensors) {
        mmproj_tensors->load(progress);
    }
    if (vision_config) {
        gme::sum_patch_frames(*vision_tensors, *vision_config, vision);
    }
}

// Decoder and tower together where both fit, else the decoder, else neither. A device that was named must take all.
void gme_model::place_weights(const gme_load_params & params) {
    const std::string wanted = params.device == nullptr || params.device[0] == '\0' ? "auto" : params.device;
    if (wanted == "cpu") {
        return;
    }
    if (wanted != "auto") {
        return place_on(gme::find_device(wanted), true, params);
    }
    try {
        const auto ranked = gme::rank_devices();
        if (!ranked.empty()) {
            place_on(ranked.front(), false, params);
        }
    } catch (const std::exception & failure) {  // drivers throw what they like
        check_abort(params);
        device_note = printable(failure.what());
        gpu.reset();
    }
}

void gme_model::place_on(const gme::device_entry & entry, bool strict, const gme_load_params & params) {
    gpu          = std::make_unique<gme::backend>(params.n_threads, std::make_unique<gme::device>(entry, params.n_threads));
    int64_t free = entry.memory_total == 0 ? INT64_MAX : entry.memory_free - entry.memory_free / 16;  // the driver wants some too
    copy_part(entry, false, strict, gme::estimate_decoder_bytes(decoder_config, decoder, tokens_max, gpu->chunk_rows()), free, params);
    if (vision_config && decoder_copy) {
        copy_part(entry, true, strict, gme::estimate_vision_bytes(*vision_config, vision, image_limits.tokens_max, gpu->chunk_rows()), free, params);
    }
    if (!decoder_copy) {
        gpu.reset();
    }
}

// One part to the device if it fits into `free` bytes, which are fewer afterwards.
void gme_model::copy_part(const gme::device_entry & entry, bool is_tower, bool strict, int64_t needed, int64_t & free, const gme_load_params & params) {
    const auto megabytes = [](int64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20); };
    const auto progress  = [&](uint64_t) { check_abort(params); };
    std::string reason   = "needs about " + megabytes(needed) + " MiB, " + megabytes(std::max<int64_t>(free, 0)) + " MiB are free";
    if (needed <= free) {
        try {
            if (is_tower) {
                vision_copy = std::make_unique<gme::device_weights>(gpu->gpu(), vision, progress);
            } else {
                decoder_copy = std::make_unique<gme::device_weights>(gpu->gpu(), decoder, progress);
            }
            free -= needed;
            return;
        } catch (const std::exception & failure) {
            check_abort(params);
            reason += ", yet they could not be had (" + printable(failure.what()) + ")";
        }
    }
    const std::string message = std::string(is_tower ? "the vision tower" : "the decoder") + " " + reason + " on " + entry.name;
    if (strict) {
        throw error("GME_OUT_OF_MEMORY", message).at_field("device").found(megabytes(free) + " MiB free").wanted(megabytes(needed) + " MiB");
    }
    device_note = message + ": it runs on the processor";
}

void gme_model::load_tokenizer() {
    tokens = std::make_unique<gme::tokenizer>(gme::read_vocabulary(decoder_file, decoder.n_vocab), decoder_file.path());
    for (const char * text : { "<|vision_start|>", "<|vision_end|>", "<|image_pad|>" }) {
        if (vision_config && tokens->special_id(text) < 0) {
            throw error("GME_TOKENIZER_BAD", printable(decoder_file.path()) + ": the vocabulary lacks a special token of a picture's prompt")
                .in_file(decoder_file.path()).at_field("tokenizer.ggml.tokens").found("absent").wanted(text);
        }
    }
}

std::string gme_model::describe(const gme_load_params & params) const {
    const gguf_file * tower = vision_file();
    int64_t           bytes = static_cast<int64_t>(decoder_file.file().size());
    int64_t           n     = count_parameters(decoder_file);
    auto              loose = decoder_tensors->unused();
    if (mmproj_file) {
        bytes += static_cast<int64_t>(mmproj_file->file().size());
        n += count_parameters(*mmproj_file);
        const auto more = mmproj_tensors->unused();
        loose.insert(loose.end(), more.begin(), more.end());
    }
    gme::json_object json;
    json.add("name", decoder_file.find_string("general.name").value_or(fs::path(decoder_file.path()).stem().string()))
        .add("architecture", "qwen2vl").add("file", decoder_file.path());
    json.add_json("visionFile", tower == nullptr ? "null" : gme::json_string(tower->path()));
    json.add("vision", vision_config.has_value()).add("visionNote", vision_note).add("type", most_common_type(decoder_file))
        .add("dimensions", decoder_config.n_embd).add("parameters", n).add("fileBytes", bytes)
        .add("layers", decoder_config.n_layer).add("heads", decoder_config.n_head).add("headsKv", decoder_config.n_head_kv)
        .add("feedForward", decoder_config.n_ff).add("vocabulary", decoder.n_vocab).add("contextLength", decoder_config.n_ctx);
    if (vision_config) {
        json.add("visionType", most_common_type(*tower)).add("visionLayers", vision_config->n_layer).add("visionWidth", vision_config->n_embd)
            .add("visionHeads", vision_config->n_head);
    }
    json.add("device", decoder_copy ? gpu->gpu().entry().name : "cpu").add("deviceDescription", decoder_copy ? gpu->gpu().entry().description : "")
        .add("visionDevice", vision_copy ? gpu->gpu().entry().name : "cpu").add("deviceNote", device_note);
    json.add("kernels", gme::cpu_level_name(features)).add("threads", params.n_threads).add("mmap", decoder_tensors->mapped_bytes() > 0)
        .add("positions", mrope ? "mrope" : "sequential").add("loaderResize", image_limits.loader_resize)
        .add("minImageTokens", image_limits.tokens_min).add("maxImageTokens", image_limits.tokens_max).add("maxTokens", tokens_max)
        .add("defaultInstruction", defaults.instruction).add("fingerprint", gme::model_fingerprint(decoder_file, tower))
        .add_json("unusedTensors", json_list(loose));
    return json.text();
}
