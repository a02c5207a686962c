// gme: the C boundary. Exceptions end here and become gme_error; nothing else of the engine is visible outside.
//
//   gme_* call -> plain structs -> the stages (model, embedding, tokenizer, image-*) -> status, caller-owned results

#include "gme.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <system_error>

#include "embedding.h"
#include "error.h"
#include "file-listing.h"
#include "image-patches.h"
#include "json-writer.h"
#include "low-rank-update.h"
#include "model.h"
#include "number-conversion.h"
#include "number-quantisation.h"
#include "roofline.h"
#include "stage-profile.h"

namespace {

char * copy_text(const std::string & text) {
    auto * copy = static_cast<char *>(std::malloc(text.size() + 1));
    if (copy != nullptr) {
        std::memcpy(copy, text.c_str(), text.size() + 1);
    }
    return copy;
}

// For when there is not even memory for an error. Of the thread, since callers may write into theirs; never freed.
gme_error * error_without_memory() {
    static thread_local gme_error last;
    last = { "GME_OUT_OF_MEMORY", "out of memory", "", "", "", "", -1, -1 };
    return &last;
}

// A gme_error with room for its texts in one allocation. Called from handlers of exceptions: it throws none.
void set_error(gme_error ** target, std::string_view code, std::string_view message, const gme::error * detail) noexcept {
    if (target == nullptr) {
        return;
    }
    const std::string_view texts[] = { code, message, detail ? std::string_view(detail->file) : "", detail ? std::string_view(detail->field) : "",
                                       detail ? std::string_view(detail->value) : "", detail ? std::string_view(detail->expected) : "" };
    size_t                 size    = sizeof(gme_error);
    for (const auto text : texts) {
        size += text.size() + 1;
    }
    auto * made = static_cast<gme_error *>(std::malloc(size));
    if (made == nullptr) {
        *target = error_without_memory();
        return;
    }
    *target              = made;
    const char ** fields[] = { &made->code, &made->message, &made->file, &made->field, &made->value, &made->expected };
    char *        at       = reinterpret_cast<char *>(made + 1);
    for (size_t i = 0; i < 6; i++) {
        std::copy(texts[i].begin(), texts[i].end(), at);
        at[texts[i].size()] = '\0';
        *fields[i]          = at;
        at += texts[i].size() + 1;
    }
    made->offset = detail ? detail->offset : -1;
    made->item   = detail ? detail->item : -1;
}

template <typename F> gme_status guarded(gme_error ** target, F && call) {
    if (target != nullptr) {
        *target = nullptr;
    }
    try {
        call();
        return GME_STATUS_OK;
    } catch (const gme::error & failure) {
        set_error(target, failure.code, failure.what(), &failure);
        return failure.code == "GME_ABORTED" ? GME_STATUS_ABORTED : GME_STATUS_ERROR;
    } catch (const std::bad_alloc &) {
        set_error(target, "GME_OUT_OF_MEMORY", "out of memory", nullptr);
    } catch (const std::system_error & failure) {
        const bool scarce = failure.code() == std::errc::resource_unavailable_try_again || failure.code() == std::errc::not_enough_memory;
        set_error(target, scarce ? "GME_OUT_OF_MEMORY" : "GME_INTERNAL", failure.what(), nullptr);  // scarce: a thread
    } catch (const std::exception & failure) {
        set_error(target, "GME_INTERNAL", failure.what(), nullptr);
    } catch (...) {
        set_error(target, "GME_INTERNAL", "an exception of unknown type", nullptr);
    }
    return GME_STATUS_ERROR;
}

// The callback holds for one call only.
class abort_scope {
  public:
    abort_scope(gme_model & model, gme_abort_callback callback, void * data) : model_(model) { model_.each_backend([&](gme::backend & each) { each.set_abort(callback, data); }); }
    ~abort_scope() {
        model_.each_backend([](gme::backend & each) {
            each.set_abort(nullptr, nullptr);
            each.trim(each.on_device() ? SIZE_MAX : 64u << 20);
        });
    }

  private:
    gme_model & model_;
};

// The profile holds for one call only.
class profile_scope {
  public:
    profile_scope(gme_model & model, gme_stage_callback callback) : model_(model) { collect(callback == nullptr ? nullptr : &profile_); }
    ~profile_scope() { collect(nullptr); }

    void report(gme_stage_callback callback, void * data) const {
        for (const auto & stage : profile_.stages()) {
            callback(stage.name.c_str(), stage.milliseconds, stage.flop, stage.n_runs, data);
        }
    }

  private:
    void collect(gme::stage_profile * profile) {
        model_.each_backend([profile](gme::backend & each) { each.set_profile(profile); });
    }

    gme_model &        model_;
    gme::stage_profile profile_;
};

gme::image_plan plan_from(const gme_image_plan & plan, const gme_image & image) {
    gme::image_plan result;
    result.source         = { image.width, image.height };
    result.loader         = { plan.loader_width, plan.loader_height };
    result.processor      = { plan.processor_width, plan.processor_height };
    result.grid_h         = plan.grid_h;
    result.grid_w         = plan.grid_w;
    result.n_image_tokens = plan.image_tokens;
    return result;
}

}  // namespace

extern "C" {

void gme_error_free(gme_error * error) {
    // Texts of an error that was allocated lie behind it.
    if (error != nullptr && error->code == reinterpret_cast<const char *>(error + 1)) {
        std::free(error);
    }
}

gme_load_params gme_load_params_default(void) {
    gme_load_params params = {};
    params.n_threads       = 1;
    params.use_mmap        = true;
    return params;
}

gme_embed_params gme_embed_params_default(void) {
    return {};
}

gme_status gme_model_load(const char * path, const gme_load_params * params, gme_model ** model, gme_error ** error) {
    *model = nullptr;
    return guarded(error, [&] {
        gme::find_cpu_library();
        *model = new gme_model(path, *params);
    });
}

void gme_model_free(gme_model * model) {
    delete model;
}

const char * gme_model_info(const gme_model * model) {
    return model->info.c_str();
}

int32_t gme_model_dimensions(const gme_model * model) {
    return model->decoder_config.n_embd;
}

gme_memory gme_model_memory(const gme_model * model) {
    gme_memory memory = {};
    for (const auto * weights : { model->decoder_tensors.get(), model->mmproj_tensors.get() }) {
        if (weights != nullptr) {
            memory.mapped += static_cast<int64_t>(weights->mapped_bytes());
            memory.owned += static_cast<int64_t>(weights->owned_bytes());
        }
    }
    model->each_backend([&](gme::backend & each) { memory.compute += static_cast<int64_t>(each.compute_bytes() + each.scratch_bytes()); });
    for (const auto * copy : { model->decoder_copy.get(), model->vision_copy.get() }) {
        memory.owned += copy == nullptr ? 0 : copy->bytes();
    }
    memory.kept    = static_cast<int64_t>(model->openings.bytes());
    return memory;
}

gme_status gme_device_library_add(const char * path, gme_error ** error) {
    return guarded(error, [&] { gme::add_device_library(path); });
}

gme_status gme_devices_list(char ** json, gme_error ** error) {
    *json = nullptr;
    return guarded(error, [&] {
        std::string devices;
        for (const auto & entry : gme::list_devices()) {
            gme::json_object device;
            device.add("name", entry.name).add("description", entry.description).add("id", entry.id).add("library", entry.library)
                .add("memoryFree", entry.memory_free).add("memoryTotal", entry.memory_total).add("discrete", entry.discrete).add("software", entry.software);
            devices += (devices.empty() ? "" : ",") + device.text();
        }
        gme::json_object all;
        all.add("processor", gme::find_cpu_library().name).add("kernels", gme::cpu_level_name(gme::detect_cpu())).add_json("devices", "[" + devices + "]");
        *json = copy_text(all.text());
        if (*json == nullptr) {
            throw std::bad_alloc();
        }
    });
}

gme_status gme_file_inspect(const char * path, char ** json, gme_error ** error) {
    *json = nullptr;
    return guarded(error, [&] {
        *json = copy_text(gme::list_file(path));
        if (*json == nullptr) {
            throw std::bad_alloc();
        }
    });
}

void gme_string_free(char * text) {
    std::free(text);
}

gme_status gme_embed(gme_model * model, const gme_item * items, int32_t n_items, const gme_embed_params * params, float * embeddings, gme_error ** error) {
    return guarded(error, [&] {
        abort_scope scope(*model, params->abort, params->abort_data);
        profile_scope profile(*model, params->profile);
        model->cpu->check_abort();
        gme::embed_items(*model, items, n_items, *params, embeddings);
        profile.report(params->profile, params->profile_data);
    });
}

gme_status gme_count_tokens(const gme_model * model, const gme_item * item, bool parse_special, gme_token_count * count, gme_error ** error) {
    return guarded(error, [&] {
        gme_embed_params params = gme_embed_params_default();
        params.parse_special    = parse_special;
        const bool has_image    = item->image.width != 0 || item->image.height != 0;
        const auto n_image      = has_image ? gme::plan_item_image(*model, item->image).n_image_tokens : 0;
        const auto prompt       = gme::make_item_prompt(*model, *item, n_image, INT32_MAX, params);
        *count                  = { prompt.n_text, prompt.n_image, static_cast<int32_t>(prompt.ids.size()) };
    });
}

gme_status gme_tokenize(const gme_model * model, gme_text text, bool parse_special, int32_t ** ids, size_t * n_ids, gme_error ** error) {
    *ids   = nullptr;
    *n_ids = 0;
    return guarded(error, [&] {
        std::vector<int32_t>   found;
        const std::string_view bytes = text.data == nullptr ? std::string_view() : std::string_view(text.data, text.size);
        if (parse_special) {
            model->tokens->tokenize_parsed(bytes, found);
        } else {
            model->tokens->tokenize(bytes, found);
        }
        *ids = static_cast<int32_t *>(std::malloc(found.size() * sizeof(int32_t) + 1));
        if (*ids == nullptr) {
            throw std::bad_alloc();
        }
        std::copy(found.begin(), found.end(), *ids);
        *n_ids = found.size();
    });
}

void gme_ids_free(int32_t * ids) {
    std::free(ids);
}

gme_status gme_image_plan_make(int32_t width, int32_t height, bool loader_resize, int32_t image_tokens_min, int32_t image_tokens_max,
                               gme_image_plan * plan, gme_error ** error) {
    return guarded(error, [&] {
        const auto made = gme::plan_image({ width, height }, { image_tokens_min, image_tokens_max, loader_resize });
        *plan = { made.loader.width, made.loader.height, made.processor.width, made.processor.height, 1, made.grid_h, made.grid_w, made.n_image_tokens };
    });
}

gme_status gme_image_preprocess(const gme_image * image, const gme_image_plan * plan, uint8_t * loader_rgb, uint8_t * processor_rgb,
                                float * pixel_values, gme_error ** error) {
    return guarded(error, [&] {
        const auto sizes   = plan_from(*plan, *image);
        const auto loader  = gme::resize_bicubic(image->rgb, sizes.source, sizes.loader);
        const auto resized = gme::resize_bicubic(loader.data(), sizes.loader, sizes.processor);
        std::copy(loader.begin(), loader.end(), loader_rgb);
        std::copy(resized.begin(), resized.end(), processor_rgb);
        gme::image_patches(resized.data(), sizes.processor, gme::image_normalisation(), 2, pixel_values);
    });
}

gme_status gme_convert_numbers(const char * from, const void * source, const char * to, void * target, size_t n, gme_error ** error) {
    return guarded(error, [&] { gme::convert_numbers(from, source, to, target, n); });
}

size_t gme_row_size(const char * type, int64_t n_columns) {
    return gme::row_size(type, n_columns);
}

gme_status gme_quantize_rows(const char * from, const void * rows, int64_t n_rows, int64_t n_columns, const char * to, int32_t n_threads,
                             void * target, gme_error ** error) {
    return guarded(error, [&] { gme::quantize_rows(from, rows, n_rows, n_columns, to, n_threads, target); });
}

gme_status gme_add_low_rank(const char * type, const void * rows, int64_t n_rows, int64_t n_columns, const float * a, const float * b,
                            int32_t rank, float scale, float * target, gme_error ** error) {
    return guarded(error, [&] { gme::add_low_rank(type, rows, n_rows, n_columns, a, b, rank, scale, target); });
}

gme_status gme_roofline_measure(const char * type, const char * device, int32_t n_threads, double seconds, gme_abort_callback abort, void * abort_data,
                                gme_roofline * roofline, gme_error ** error) {
    return guarded(error, [&] { *roofline = gme::measure_roofline(type, device == nullptr ? "" : device, n_threads, seconds, abort, abort_data); });
}

}  // extern "C"
