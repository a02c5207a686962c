// embedding: items in, unit vectors out; the whole path in one place.
//
//   all items:  picture's sizes -> number of image tokens -> prompt ids (every length is checked before anything runs)
//   each pass:  pictures -> resize, resize -> patches -> vision tower -> image tokens
//               sequences side by side, common beginnings once -> decoder -> last hidden states -> pooling
//
// Items run in the order of their ids, packed into passes of bounded length: texts share one reading of the weights, and what
// they begin with in common is computed once. Each sequence attends to itself only, so that packing changes a vector by rounding
// at most. An item that comes twice is computed once.

#include "embedding.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "error.h"
#include "image-patches.h"
#include "pooling.h"
#include "text-decoder.h"
#include "vision-tower.h"

namespace gme {

namespace {

// Memory on a device was reckoned for the longest item: a batch takes no more, but for the little that the processor would take too.
int64_t largest_batch(int64_t wanted, int64_t least, int64_t of_longest_item) {
    return std::min(wanted, std::max(least, of_longest_item));
}

bool has_image(const gme_image & image) {
    return image.rgb != nullptr || image.width != 0 || image.height != 0;
}

struct planned_item {
    image_plan image;
    prompt     text;
};

std::vector<float> make_pixel_values(const gme_model & model, const gme_image & image, const image_plan & plan, const stage_tap & tap) {
    stage_profile *            profile = model.cpu->profile();
    const std::vector<uint8_t> resized = [&] {
        const stage_timer timer(profile, "host.resize");
        return resize_image(image.rgb, plan);
    }();
    const auto &               normalisation = model.vision_config->normalisation;
    const auto                 n             = static_cast<size_t>(plan.grid_h) * static_cast<size_t>(plan.grid_w);
    if (tap) {
        std::vector<float> both(n * 2 * patch_row);
        image_patches(resized.data(), plan.processor, normalisation, 2, both.data());
        tap("pixel_values", both.data(), static_cast<int64_t>(n), 2 * patch_row);
    }
    const stage_timer  timer(profile, "host.patches");
    std::vector<float> pixel_values(n * patch_row);
    image_patches(resized.data(), plan.processor, normalisation, 1, pixel_values.data());
    return pixel_values;
}

decoder_sequence make_sequence(const planned_item & planned) {
    decoder_sequence sequence;
    sequence.ids       = planned.text.ids;
    sequence.n_opening = planned.text.n_opening;
    if (planned.text.n_image > 0) {
        sequence.image = { planned.text.image_begin, planned.text.n_image, planned.image.grid_h / 2, planned.image.grid_w / 2 };
    }
    return sequence;
}

// Runs the tower over the pictures of `items`, several at a time, and gives their image tokens to the sequences.
void embed_pictures(gme_model & model, const gme_item * items, const std::vector<planned_item> & planned, const std::vector<int32_t> & indices,
                    std::vector<decoder_sequence> & sequences, const stage_tap & tap) {
    std::vector<vision_input> pictures;
    std::vector<size_t>       owners;
    const int64_t             n_patches_max = largest_batch(model.vision_backend().batch_patches(), 2048, 4ll * model.image_limits.tokens_max);
    int64_t                   n_patches     = 0;
    const auto                flush         = [&] {
        if (!pictures.empty()) {
            auto tokens = run_vision_tower(model.vision_backend(), *model.vision_config, model.vision, pictures, tap);
            for (size_t i = 0; i < owners.size(); i++) {
                sequences[owners[i]].image_tokens = std::move(tokens[i]);
            }
        }
        pictures.clear();
        owners.clear();
        n_patches = 0;
    };
    for (size_t i = 0; i < indices.size(); i++) {
        const auto   index = static_cast<size_t>(indices[i]);
        const auto & plan  = planned[index].image;
        if (sequences[i].image.n == 0) {
            continue;
        }
        const int64_t n = static_cast<int64_t>(plan.grid_h) * plan.grid_w;
        if (n_patches + n > n_patches_max) {
            flush();
        }
        pictures.push_back({ make_pixel_values(model, items[index].image, plan, tap), plan.grid_h, plan.grid_w });
        owners.push_back(i);
        n_patches += n;
    }
    flush();
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
[[noreturn]] void fail_non_finite(gme_model & model, const gme_item * items, const std::vector<planned_item> & planned, int32_t index) {
    std::string     first_bad;
    const stage_tap look = [&](const std::string & name, const float * data, int64_t n_rows, int64_t n_columns) {
        if (first_bad.empty() && !all_finite(data, n_rows * n_columns)) {
            first_bad = name;
        }
    };
    std::vector<decoder_sequence> sequences = { make_sequence(planned[static_cast<size_t>(index)]) };
    embed_pictures(model, items, planned, { index }, sequences, look);
    const auto run = [&](const stage_tap & tap) {
        return run_text_decoder(model.decoder_backend(), model.decoder_config, model.decoder, model.mrope, sequences, plan_separate_pass(sequences), tap);
    };
    const auto row = run(look);
    // Without taps the last layer computes a row per sequence, which products of quantised weights round in another way.
    if (first_bad.empty() && !all_finite(run({}).data(), model.decoder_config.n_embd)) {
        first_bad = "decoder.layer." + std::to_string(model.decoder_config.n_layer - 1);
    }
    error failure("GME_NON_FINITE", "the model's weights give numbers that are not finite, first in " + (first_bad.empty() ? "pooling" : first_bad));
    failure.in_file(model.decoder_file.path()).at_field(first_bad.empty() ? "embedding" : first_bad).found("NaN or infinity").wanted("finite numbers");
    if (first_bad.empty() && std::inner_product(row.begin(), row.end(), row.begin(), 0.0) < 1e-24) {
        failure = error("GME_NON_FINITE", "the model's weights give a state of zeros, which has no direction");
        failure.in_file(model.decoder_file.path()).at_field("embedding").found("0/0").wanted("a state of length 1e-12 or more");
    }
    throw failure;
}

// Keys and values of the sequences' openings, unless the cache has them.
void prepare_openings(gme_model & model, const std::vector<decoder_sequence> & sequences) {
    for (const auto & sequence : sequences) {
        const auto n = static_cast<size_t>(sequence.n_opening);
        if (n == 0 || n > opening_cache::tokens_max || model.openings.find(sequence.ids.data(), n)) {
            continue;
        }
        decoder_sequence opening;
        opening.ids             = std::vector<int32_t>(sequence.ids.begin(), sequence.ids.begin() + sequence.n_opening);
        const decoder_pass pass = plan_opening_pass(opening);
        run_text_decoder(model.decoder_backend(), model.decoder_config, model.decoder, model.mrope, { opening }, pass, {});
        const auto & state = pass.segments[0].wanted;
        if (!all_finite(state->keys_values.data(), static_cast<int64_t>(state->keys_values.size()))) {
            return;  // the items' own states will tell where it went wrong
        }
        model.openings.keep(state);
    }
}

decoder_pass plan_pass(gme_model & model, const std::vector<decoder_sequence> & sequences, const stage_tap & tap) {
    if (tap) {
        return plan_separate_pass(sequences);
    }
    prepare_openings(model, sequences);
    return plan_decoder_pass(sequences, model.openings);
}

// Reading a page of a mapped file that is not there any more would end the process; of a file that was written to, give wrong vectors.
void check_mapped_files(const gme_model & model) {
    for (const auto * weights : { model.decoder_tensors.get(), model.mmproj_tensors.get() }) {
        if (weights != nullptr && weights->mapped_bytes() > 0) {
            weights->file().file().check_bytes_unchanged();
        }
    }
}

void run_pass(gme_model & model, const gme_item * items, const std::vector<planned_item> & planned, const std::vector<int32_t> & indices, const stage_tap & tap,
              float * embeddings) {
    const int32_t                 n_embd = model.decoder_config.n_embd;
    std::vector<decoder_sequence> sequences;
    for (const int32_t index : indices) {
        sequences.push_back(make_sequence(planned[static_cast<size_t>(index)]));
    }
    check_mapped_files(model);
    embed_pictures(model, items, planned, indices, sequences, tap);
    const decoder_pass pass   = plan_pass(model, sequences, tap);
    const auto         hidden = run_text_decoder(model.decoder_backend(), model.decoder_config, model.decoder, model.mrope, sequences, pass, tap);
    for (size_t i = 0; i < indices.size(); i++) {
        const float * row       = hidden.data() + i * static_cast<size_t>(n_embd);
        float *       embedding = embeddings + static_cast<size_t>(indices[i]) * static_cast<size_t>(n_embd);
        if (!pool_last_token(row, n_embd, embedding)) {
            try {
                fail_non_finite(model, items, planned, indices[i]);
            } catch (error & failure) {
                failure.item = indices[i];
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
    const stage_timer         timer(model.cpu->profile(), "host.tokenize");
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

bool same_picture(const gme_image & a, const gme_image & b) {
    const size_t n = static_cast<size_t>(a.width) * static_cast<size_t>(a.height) * 3;
    return a.width == b.width && a.height == b.height && (a.rgb == b.rgb || std::memcmp(a.rgb, b.rgb, n) == 0);
}

// Items in the order of their ids, so that those with common beginnings come together; equal ones stand side by side.
std::vector<int32_t> order_items(const std::vector<planned_item> & planned) {
    std::vector<int32_t> order(planned.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return planned[static_cast<size_t>(a)].text.ids < planned[static_cast<size_t>(b)].text.ids;
    });
    return order;
}

// For each item the item whose vector it has too: itself, or an equal one earlier in the order.
std::vector<int32_t> find_twins(const gme_item * items, const std::vector<planned_item> & planned, const std::vector<int32_t> & order) {
    std::vector<int32_t> twins(planned.size());
    for (size_t i = 0; i < order.size(); i++) {
        const auto   index = static_cast<size_t>(order[i]);
        const auto & ids   = planned[index].text.ids;
        twins[index]       = order[i];
        for (size_t j = i; j-- > 0 && planned[static_cast<size_t>(order[j])].text.ids == ids;) {
            const auto other = static_cast<size_t>(order[j]);
            if (planned[index].text.n_image == 0) {
                twins[index] = twins[other];
                break;
            }
            if (twins[other] == order[j] && same_picture(items[index].image, items[other].image)) {
                twins[index] = order[j];
                break;
            }
        }
    }
    return twins;
}

void copy_to_twins(const std::vector<int32_t> & twins, size_t n_embd, float * embeddings) {
    for (size_t i = 0; i < twins.size(); i++) {
        const auto twin = static_cast<size_t>(twins[i]);
        if (twin != i) {
            std::copy(embeddings + twin * n_embd, embeddings + (twin + 1) * n_embd, embeddings + i * n_embd);
        }
    }
}

// Rows that an item adds to a pass behind `before`, whose tokens it shares as far as they agree.
int64_t count_new_rows(const planned_item & before, const planned_item & item) {
    const auto & a      = before.text.ids;
    const auto & b      = item.text.ids;
    const auto   n      = static_cast<int64_t>(b.size());
    const auto   common = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).second - b.begin();
    return n - std::min<int64_t>(common, item.text.n_image > 0 ? item.text.image_begin : n - 1);
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
            if (name != embed_stage) {
                params.tap(name.c_str(), data, n_rows, n_columns, params.tap_data);
            }
        };
    }
    const int64_t        batch_tokens = params.n_batch_tokens > 0 ? params.n_batch_tokens : largest_batch(model.decoder_backend().batch_tokens(), 1536, model.tokens_max);
    const auto           order        = order_items(planned);
    const auto           twins        = find_twins(items, planned, order);
    std::vector<int32_t> pass;
    int64_t              n_rows = 0;
    int32_t              n_done = 0;
    const auto           flush  = [&] {
        if (!pass.empty()) {
            run_pass(model, items, planned, pass, tap, embeddings);
            n_done += static_cast<int32_t>(pass.size());
            if (params.progress != nullptr) {
                params.progress(n_done, params.progress_data);
            }
        }
        pass.clear();
        n_rows = 0;
    };
    for (const int32_t index : order) {
        const auto & item = planned[static_cast<size_t>(index)];
        if (twins[static_cast<size_t>(index)] != index) {
            continue;
        }
        const int64_t n_new = pass.empty() ? 0 : count_new_rows(planned[static_cast<size_t>(pass.back())], item);
        if (tap || n_rows + n_new > batch_tokens) {
            flush();
        }
        n_rows += pass.empty() ? static_cast<int64_t>(item.text.ids.size()) : n_new;
        pass.push_back(index);
    }
    flush();
    copy_to_twins(twins, static_cast<size_t>(model.decoder_config.n_embd), embeddings);
    if (params.progress != nullptr && n_done < n_items) {
        params.progress(n_items, params.progress_data);
    }
}

}  // namespace gme
