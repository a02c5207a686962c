// The engine's C interface as the tests use it: a model that frees itself, items from strings, errors as text.
#pragma once

#include "gme.h"

#include <string>
#include <vector>

namespace engine {

struct model {
    gme_model * handle = nullptr;
    std::string failure;  // "CODE field" when loading failed

    explicit model(const std::string & path, const std::string & mmproj = "", int32_t n_threads = 2, gme_load_params params = gme_load_params_default()) {
        params.n_threads = n_threads;
        params.mmproj    = mmproj.empty() ? nullptr : mmproj.c_str();
        gme_error * error = nullptr;
        if (gme_model_load(path.c_str(), &params, &handle, &error) != GME_STATUS_OK) {
            failure = std::string(error->code) + " " + error->field;
            gme_error_free(error);
        }
    }
    ~model() { gme_model_free(handle); }
    model(const model &) = delete;

    int32_t dimensions() const { return gme_model_dimensions(handle); }

    // [n_items, dimensions]; empty with `failure` set when the call failed.
    std::vector<float> embed(const std::vector<gme_item> & items, gme_embed_params params = gme_embed_params_default()) {
        std::vector<float> embeddings(items.size() * static_cast<size_t>(dimensions()));
        gme_error *        error = nullptr;
        failure.clear();
        if (gme_embed(handle, items.data(), static_cast<int32_t>(items.size()), &params, embeddings.data(), &error) != GME_STATUS_OK) {
            failure = std::string(error->code) + " " + error->field + " item " + std::to_string(error->item);
            gme_error_free(error);
            embeddings.clear();
        }
        return embeddings;
    }
};

inline gme_item text_item(const std::string & text) {
    gme_item item = {};
    item.text     = { text.data(), text.size() };
    return item;
}

}  // namespace engine
