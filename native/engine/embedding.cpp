// embedding: items in, unit vectors out; the whole path in one place.
//
//   all items:  picture's sizes -> number of image tokens -> prompt ids (every length is checked before anything runs)
//   each pass:  pictures -> resize, resize -> patches -> vision tower -> image tokens
//               sequences side by side -> decoder -> last hidden states -> pooling
//
// Items are packed into passes of bounded length: short texts share one reading of the weights. Each sequence attends to
// itself only, so packing changes a vector by rounding at most.

#include "embedding.h"

#include <cmath>

#include "error.h"
#include "image-patches.h"
#include "pooling.h"
#include "text-decoder.h"
#include "vision-tower.h"

namespace gme {

namespace {

constexpr int32_t default_batch_tokens = 1024;

bool has_image(const gme_image & image) {
    return image.rgb != nullptr || image.width != 0 || image.height != 0;
}

struct planned_item {
    image_plan image;
    prompt     text;
};

std::vector<float> make_pixel_values(const gme_model & model, const gme_image & image, const image_plan & plan, const stage_tap & tap) {
    const std::vector<uint8_t> resized       = resize_image(image.rgb, plan);
    const auto &               normalisation = model.vision_config->normalisation;
    const auto                 n             = static_cast<size_t>(plan.grid_h) * static_cast<size_t>(plan.grid_w);
    if (tap) {
        std::vector<float> both(n * 2 * patch_row);
        image_patches(resized.data(), plan.processor, normalisation, 2, both.data());
        tap("pixel_values", both.data(), static_cast<int64_t>(n), 2 * patch_row);
    }
    std::vector<float> pixel_values(n * patch_row);
    image_patches(resized.data(), plan.processor, normalisation, 1, pixel_values.data());
    return pixel_values;
}

decoder_sequence make_sequence(gme_model & model, const gme_item & item, const planned_item & planned, const stage_tap & tap) {
    decoder_sequence sequence;
    sequence.ids = planned.text.ids;
    if (planned.text.n_image > 0) {
        const auto & plan     = planned.image;
        const auto   pixels   = make_pixel_values(model, item.image, plan, tap);
        sequence.image        = { planned.text.image_begin, planned.text.n_image, plan.grid_h / 2, plan.grid_w / 2 };
        sequence.image_tokens = run_vision_tower(*model.cpu, *model.vision_config, model.vision, pixels, plan.grid_h, plan.grid_w, tap);
    }
    return sequence;
}

bool all_finite(const float * data, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (!std::isfinite(data[i])) {
            return false;
        }
    }
    return true;
}

// Runs the item once more with taps and names the first stage whose output is not finite.
[[noreturn]] void fail_non_finite(gme_model & model, const gme_item & item, const planned_item & planned) {
    std::string     first_bad;
    const stage_tap look = [&](const std::string & name, const float * data, int64_t n_rows, int64_t n_columns) {
        if (first_bad.empty() && !all_finite(data, n_rows * n_columns)) {
            first_bad = name;
        }
    };
    const std::vector<decoder_sequence> sequences = { make_sequence(model, item, planned, look) };
    run_text_decoder(*model.cpu, model.decoder_config, model.decoder, model.mrope, sequences, look);
    throw error("GME_NON_FINITE", "the model's weights give numbers that are not finite, first in " + (first_bad.empty() ? "pooling" : first_bad))
        .in_file(model.decoder_file.path()).at_field(first_bad.empty() ? "embedding" : first_bad).found("NaN or infinity").wanted("finite numbers");
}

struct pass {
    std::vector<decoder_sequence> sequences;
    std::vector<int32_t>          items;
    int64_t                       n_tokens = 0;
};

void run_pass(gme_model & model, const gme_item * items, const std::vector<planned_item> & planned, const pass & pass, const stage_tap & tap, float * embeddings) {
    const int32_t n_embd = model.decoder_config.n_embd;
    const auto    hidden = run_text_decoder(*model.cpu, model.decoder_config, model.decoder, model.mrope, pass.sequences, tap);
    for (size_t i = 0; i < pass.items.size(); i++) {
        const auto    index     = static_cast<size_t>(pass.items[i]);
        const float * row       = hidden.data() + i * static_cast<size_t>(n_embd);
        float *       embedding = embeddings + index * static_cast<size_t>(n_embd);
        if (!pool_last_token(row, n_embd, embedding)) {
            try {
                fail_non_finite(model, items[index], planned[index]);
            } catch (error & failure) {
                failure.item = pass.items[i];
                throw;
            }
        }
        if (tap) {
            tap("hidden", row, 0, n_embd);
            tap("embedding", embedding, 0, n_embd);
        }
    }
}

std::vector<planned_item> plan_items(const gme_model & model, const gme_item * items, int32_t n_items, const gme_embed_params & params) {
    std::vector<planned_item> planned(static_cast<size_t>(n_items));
    for (int32_t i = 0; i < n_items; i++) {
        try {
            auto & plan = planned[static_cast<size_t>(i)];
            if (has_image(items[i].image)) {
                if (items[i].image.rgb == nullptr) {
                    throw error("GME_INPUT_INVALID", "a picture without pixels").at_field("image").wanted("RGB8 pixels");
                }
                plan.image = plan_item_image(model, items[i].image);
            }
            plan.text = make_item_prompt(model, items[i], plan.image.n_image_tokens, model.tokens_max, params);
        } catch (error & failure) {
            failure.item = i;
            throw;
        }
    }
    return planned;
}

}  // namespace

image_plan plan_item_image(const gme_model & model, const gme_image & image) {
    if (!model.vision_config) {
        const std::string & path = model.decoder_file.path();
        const std::string   why  = model.vision_note.empty() ? "fetch its mmproj-*.gguf and lay it beside the file, or name it with the mmproj option" : model.vision_note;
        throw error("GME_MODEL_NO_VISION", printable(path) + " is a decoder without a vision tower: " + why)
            .in_file(path).at_field("image").wanted("mmproj-*.gguf beside the decoder");
    }
    return plan_image({ image.width, image.height }, model.image_limits);
}

prompt make_item_prompt(const gme_model & model, const gme_item & item, int32_t n_image_tokens, int32_t tokens_max, const gme_embed_params & params) {
    const overflow         overflows[] = { overflow::error, overflow::truncate, overflow::reference };
    const std::string_view instruction = item.instruction.data == nullptr ? std::string_view(model.defaults.instruction)
                                                                           : std::string_view(item.instruction.data, item.instruction.size);
    const std::string_view text        = item.text.data == nullptr ? std::string_view() : std::string_view(item.text.data, item.text.size);
    return make_prompt(*model.tokens, instruction, item.text.data != nullptr, text, n_image_tokens,
                       { overflows[params.overflow], params.parse_special, tokens_max });
}

void embed_items(gme_model & model, const gme_item * items, int32_t n_items, const gme_embed_params & params, float * embeddings) {
    const auto planned = plan_items(model, items, n_items, params);
    stage_tap  tap;
    if (params.tap != nullptr) {
        tap = [&](const std::string & name, const float * data, int64_t n_rows, int64_t n_columns) {
            params.tap(name.c_str(), data, n_rows, n_columns, params.tap_data);
        };
    }
    const int64_t batch_tokens = params.n_batch_tokens > 0 ? params.n_batch_tokens : default_batch_tokens;
    pass          current;
    const auto    flush = [&] {
        if (!current.items.empty()) {
            run_pass(model, items, planned, current, tap, embeddings);
            if (params.progress != nullptr) {
                params.progress(current.items.back() + 1, params.progress_data);
            }
        }
        current = pass();
    };
    for (int32_t i = 0; i < n_items; i++) {
        const auto & plan = planned[static_cast<size_t>(i)];
        const auto   n    = static_cast<int64_t>(plan.text.ids.size());
        if (tap || current.n_tokens + n > batch_tokens) {
            flush();
        }
        current.sequences.push_back(make_sequence(model, items[i], plan, tap));
        current.items.push_back(i);
        current.n_tokens += n;
    }
    flush();
}

}  // namespace gme
