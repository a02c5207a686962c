#include "embed-job.h"

#include "js-results.h"

#include <memory>
#include <new>

namespace gme_addon {

static gme_embed_params params_make(const embed_args & args) {
    gme_embed_params params = gme_embed_params_default();
    params.overflow       = args.overflow;
    params.parse_special  = args.parse_special;
    params.n_batch_tokens = args.batch_tokens;
    return params;
}

// The index of the offending item, for engine functions that see one item at a time.
static gme_error * with_item(gme_error * error, size_t index) {
    if (error && error->item < 0) {
        error->item = int32_t(index);
    }
    return error;
}

// An array of n elements made by `make(i)`; NULL when one cannot be made.
template <typename F> static napi_value js_array(napi_env env, size_t n, F make) {
    napi_value array;
    if (napi_create_array_with_length(env, n, &array) != napi_ok) {
        return nullptr;
    }
    for (size_t i = 0; i < n; i++) {
        Napi::HandleScope scope(env);
        napi_value element = make(i);
        if (!element || napi_set_element(env, array, uint32_t(i), element) != napi_ok) {
            return nullptr;
        }
    }
    return array;
}

static std::vector<gme_item> views_of(const std::vector<item_args> & items) {
    std::vector<gme_item> views;
    views.reserve(items.size());
    for (const item_args & item : items) {
        views.push_back(item.view());
    }
    return views;
}

void EmbedJob::run(EngineThread & thread) {
    struct reporter {
        EmbedJob *     job;
        EngineThread * thread;
    } target{this, &thread};

    if (items_.empty()) {
        return;
    }
    const std::vector<gme_item> views = views_of(items_);
    embeddings_.resize(items_.size() * size_t(gme_model_dimensions(thread.model)));

    gme_embed_params params = params_make(args_);
    params.abort         = abort_asked;
    params.abort_data    = static_cast<Job *>(this);
    params.progress_data = &target;
    params.progress      = [](int32_t n_done, void * user_data) {
        const auto * to = static_cast<reporter *>(user_data);
        to->job->report(*to->thread, n_done);
    };
    gme_error * error = nullptr;
    const gme_status status = gme_embed(thread.model, views.data(), int32_t(views.size()), &params, embeddings_.data(), &error);
    conclude(status, error);
    items_ = {};  // the pixels are not needed while the result waits for the JS thread
}

napi_value EmbedJob::result(napi_env env) {
    return js_float32_array(env, embeddings_.data(), embeddings_.size());
}

void ProfileJob::run(EngineThread & thread) {
    if (items_.empty()) {
        return;
    }
    const std::vector<gme_item> views = views_of(items_);
    embeddings_.resize(items_.size() * size_t(gme_model_dimensions(thread.model)));

    gme_embed_params params = params_make(args_);
    params.abort        = abort_asked;
    params.abort_data   = static_cast<Job *>(this);
    params.profile      = add_stage;
    params.profile_data = this;
    gme_error * error = nullptr;
    const gme_status status = gme_embed(thread.model, views.data(), int32_t(views.size()), &params, embeddings_.data(), &error);
    if (memory_ran_out_) {
        gme_error_free(error);
        throw std::bad_alloc();
    }
    conclude(status, error);
    items_ = {};
}

// Called from inside the engine, through C: an exception must not cross it.
void ProfileJob::add_stage(const char * name, double milliseconds, double flop, int64_t runs, void * user_data) noexcept {
    auto * self = static_cast<ProfileJob *>(user_data);
    try {
        self->stages_.push_back({name, milliseconds, flop, runs});
    } catch (...) {
        self->memory_ran_out_ = true;
    }
}

napi_value ProfileJob::result(napi_env env) {
    napi_value stages = js_array(env, stages_.size(), [&](size_t i) {
        return js_object(env, {
            {"name", js_text(env, stages_[i].name)},
            {"milliseconds", js_number(env, stages_[i].milliseconds)},
            {"flop", js_number(env, stages_[i].flop)},
            {"runs", js_integer(env, stages_[i].runs)},
        });
    });
    return js_object(env, {{"vectors", js_float32_array(env, embeddings_.data(), embeddings_.size())}, {"stages", stages}});
}

void StagesJob::run(EngineThread & thread) {
    const gme_item view = item_.view();
    std::vector<float> embedding(size_t(gme_model_dimensions(thread.model)));

    gme_embed_params params = params_make(args_);
    params.abort      = abort_asked;
    params.abort_data = static_cast<Job *>(this);
    params.tap        = tap;
    params.tap_data   = this;
    gme_error * error = nullptr;
    const gme_status status = gme_embed(thread.model, &view, 1, &params, embedding.data(), &error);
    if (memory_ran_out_) {
        gme_error_free(error);
        throw std::bad_alloc();
    }
    conclude(status, error);
}

// Called from inside the engine, through C: an exception must not cross it.
void StagesJob::tap(const char * name, const float * data, int64_t n_rows, int64_t n_columns, void * user_data) noexcept {
    auto * self = static_cast<StagesJob *>(user_data);
    try {
        stage copy;
        copy.name  = name;
        copy.shape = n_rows > 0 ? std::vector<int64_t>{n_rows, n_columns} : std::vector<int64_t>{n_columns};
        copy.data.assign(data, data + (n_rows > 0 ? n_rows : 1) * n_columns);
        self->stages_.push_back(std::move(copy));
    } catch (...) {
        self->memory_ran_out_ = true;
        self->abort();
    }
}

napi_value StagesJob::result(napi_env env) {
    return js_array(env, stages_.size(), [&](size_t i) {
        const stage & from = stages_[i];
        return js_object(env, {
            {"name", js_text(env, from.name)},
            {"shape", js_array(env, from.shape.size(), [&](size_t axis) { return js_integer(env, from.shape[axis]); })},
            {"data", js_float32_array(env, from.data.data(), from.data.size())},
        });
    });
}

void CountJob::run(EngineThread & thread) {
    counts_.resize(items_.size());
    for (size_t i = 0; i < items_.size(); i++) {
        const gme_item view = items_[i].view();
        gme_error * error = nullptr;
        const gme_status status =
            aborted() ? GME_STATUS_ABORTED : gme_count_tokens(thread.model, &view, parse_special_, &counts_[i], &error);
        if (status != GME_STATUS_OK) {
            conclude(status, with_item(error, i));
            return;
        }
    }
}

napi_value CountJob::result(napi_env env) {
    return js_array(env, counts_.size(), [&](size_t i) {
        return js_object(env, {
            {"text", js_integer(env, counts_[i].text)},
            {"image", js_integer(env, counts_[i].image)},
            {"total", js_integer(env, counts_[i].total)},
        });
    });
}

void TokenizeJob::run(EngineThread & thread) {
    ids_.reserve(texts_.size());
    for (size_t i = 0; i < texts_.size(); i++) {
        int32_t * ids = nullptr;
        size_t n_ids = 0;
        gme_error * error = nullptr;
        const gme_status status = aborted() ? GME_STATUS_ABORTED : gme_tokenize(thread.model, {texts_[i].data(), texts_[i].size()},
                                                                               parse_special_, &ids, &n_ids, &error);
        if (status != GME_STATUS_OK) {
            conclude(status, with_item(error, i));
            return;
        }
        const std::unique_ptr<int32_t, void (*)(int32_t *)> owned(ids, gme_ids_free);
        ids_.emplace_back(ids, ids + n_ids);
    }
}

napi_value TokenizeJob::result(napi_env env) {
    return js_array(env, ids_.size(), [&](size_t i) { return js_int32_array(env, ids_[i].data(), ids_[i].size()); });
}

}  // namespace gme_addon
