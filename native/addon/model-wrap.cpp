#include "model-wrap.h"

#include "embed-job.h"
#include "environment.h"
#include "js-entry.h"
#include "js-results.h"
#include "load-job.h"

namespace gme_addon {

// Random: tells our objects from anything else that a caller may pass as `this`.
static constexpr napi_type_tag type_tag = {0x7c1d5e0b93f24a68, 0xa4e86f1720d95bc3};

bool ModelWrap::define(napi_env env, Environment & environment) {
    const napi_property_descriptor methods[] = {
        {"embed", nullptr, js_entry<js_embed>, nullptr, nullptr, nullptr, napi_default_method, nullptr},
        {"profile", nullptr, js_entry<js_profile>, nullptr, nullptr, nullptr, napi_default_method, nullptr},
        {"stages", nullptr, js_entry<js_stages>, nullptr, nullptr, nullptr, napi_default_method, nullptr},
        {"countTokens", nullptr, js_entry<js_count_tokens>, nullptr, nullptr, nullptr, napi_default_method, nullptr},
        {"tokenize", nullptr, js_entry<js_tokenize>, nullptr, nullptr, nullptr, napi_default_method, nullptr},
        {"memory", nullptr, js_entry<js_memory>, nullptr, nullptr, nullptr, napi_default_method, nullptr},
        {"close", nullptr, js_entry<js_close>, nullptr, nullptr, nullptr, napi_default_method, nullptr},
    };
    const size_t n_methods = sizeof(methods) / sizeof(methods[0]);
    napi_value constructor;
    return napi_define_class(env, "NativeModel", NAPI_AUTO_LENGTH, js_new, nullptr, n_methods, methods, &constructor) == napi_ok &&
           napi_create_reference(env, constructor, 1, &environment.model_class) == napi_ok;
}

// Objects from `new model.constructor()` stay without a tag, so every method refuses them.
napi_value ModelWrap::js_new(napi_env env, napi_callback_info info) {
    napi_value self;
    return napi_get_cb_info(env, info, nullptr, nullptr, &self, nullptr) == napi_ok ? self : nullptr;
}

napi_value ModelWrap::create(napi_env env, std::shared_ptr<EngineThread> thread, const std::string & info) {
    Environment * environment = Environment::of(env);
    napi_value constructor;
    napi_value self;
    napi_value text = js_text(env, info);
    const napi_property_descriptor property = {"info", nullptr, nullptr, nullptr, nullptr, text, napi_enumerable, nullptr};
    std::unique_ptr<ModelWrap> wrap(new ModelWrap(std::move(thread)));
    if (!text || napi_get_reference_value(env, environment->model_class, &constructor) != napi_ok ||
        napi_new_instance(env, constructor, 0, nullptr, &self) != napi_ok ||
        napi_define_properties(env, self, 1, &property) != napi_ok || napi_type_tag_object(env, self, &type_tag) != napi_ok ||
        napi_wrap(env, self, wrap.get(), finalize, nullptr, nullptr) != napi_ok) {
        return nullptr;
    }
    wrap.release();  // the object's, until finalize
    return self;
}

// Garbage collection, or the end of the environment (after Environment::shut_down, when the thread is gone and finish() does nothing).
// Runs inside the collector: it must not wait, so the thread frees the model itself, after the jobs whose promises are still awaited.
void ModelWrap::finalize(napi_env env, void * data, void *) {
    auto * self = static_cast<ModelWrap *>(data);
    self->thread_->finish();
    if (self->closing_) {
        napi_delete_reference(env, self->closing_);
    }
    delete self;
}

// NULL with a JS exception pending when `this` is not ours.
ModelWrap * ModelWrap::unwrap(const Napi::CallbackInfo & info) {
    napi_env env = info.Env();
    bool is_ours = false;
    void * self = nullptr;
    if (!info.This().IsObject() || napi_check_object_type_tag(env, info.This(), &type_tag, &is_ours) != napi_ok || !is_ours ||
        napi_unwrap(env, info.This(), &self) != napi_ok) {
        failure cause;
        cause.code     = "GME_INPUT_INVALID";
        cause.message  = "Expected a model for this but received another object";
        cause.field    = "this";
        cause.expected = "a model";
        js_throw(env, cause);
        return nullptr;
    }
    return static_cast<ModelWrap *>(self);
}

napi_value ModelWrap::js_embed(Napi::CallbackInfo & info) {
    ModelWrap * self = unwrap(info);
    if (!self) {
        return nullptr;
    }
    ArgsReader reader(info.Env());
    std::vector<item_args> items;
    embed_args args;
    napi_value on_progress = nullptr;
    Environment * environment = Environment::of(info.Env());
    if (!reader.items(info[0], &items) || !reader.embed(info[1], &args) || !reader.callback(info[2], "onProgress", &on_progress)) {
        return environment->refuse(reader.cause);
    }
    return environment->submit(std::make_shared<EmbedJob>(std::move(items), args), self->thread_, on_progress);
}

napi_value ModelWrap::js_profile(Napi::CallbackInfo & info) {
    ModelWrap * self = unwrap(info);
    if (!self) {
        return nullptr;
    }
    ArgsReader reader(info.Env());
    std::vector<item_args> items;
    embed_args args;
    Environment * environment = Environment::of(info.Env());
    if (!reader.items(info[0], &items) || !reader.embed(info[1], &args)) {
        return environment->refuse(reader.cause);
    }
    return environment->submit(std::make_shared<ProfileJob>(std::move(items), args), self->thread_);
}

napi_value ModelWrap::js_stages(Napi::CallbackInfo & info) {
    ModelWrap * self = unwrap(info);
    if (!self) {
        return nullptr;
    }
    ArgsReader reader(info.Env());
    item_args item;
    embed_args args;
    Environment * environment = Environment::of(info.Env());
    if (!reader.item(info[0], &item) || !reader.embed(info[1], &args)) {
        return environment->refuse(reader.cause);
    }
    return environment->submit(std::make_shared<StagesJob>(std::move(item), args), self->thread_);
}

napi_value ModelWrap::js_count_tokens(Napi::CallbackInfo & info) {
    ModelWrap * self = unwrap(info);
    if (!self) {
        return nullptr;
    }
    ArgsReader reader(info.Env());
    std::vector<item_args> items;
    bool parse_special = false;
    Environment * environment = Environment::of(info.Env());
    if (!reader.item_sizes(info[0], &items) || !reader.flag(info[1], "parseSpecial", &parse_special)) {
        return environment->refuse(reader.cause);
    }
    return environment->submit(std::make_shared<CountJob>(std::move(items), parse_special), self->thread_);
}

napi_value ModelWrap::js_tokenize(Napi::CallbackInfo & info) {
    ModelWrap * self = unwrap(info);
    if (!self) {
        return nullptr;
    }
    ArgsReader reader(info.Env());
    std::vector<std::string> texts;
    bool parse_special = false;
    Environment * environment = Environment::of(info.Env());
    if (!reader.texts(info[0], &texts) || !reader.flag(info[1], "parseSpecial", &parse_special)) {
        return environment->refuse(reader.cause);
    }
    return environment->submit(std::make_shared<TokenizeJob>(std::move(texts), parse_special), self->thread_);
}

napi_value ModelWrap::js_memory(Napi::CallbackInfo & info) {
    ModelWrap * self = unwrap(info);
    if (!self) {
        return nullptr;
    }
    const gme_memory memory = self->thread_->memory();
    return js_object(info.Env(), {
        {"mappedBytes", js_integer(info.Env(), memory.mapped)},
        {"ownedBytes", js_integer(info.Env(), memory.owned)},
        {"computeBytes", js_integer(info.Env(), memory.compute)},
        {"keptBytes", js_integer(info.Env(), memory.kept)},
    });
}

// Every call answers with the promise of the first: closing twice is one close.
napi_value ModelWrap::js_close(Napi::CallbackInfo & info) {
    ModelWrap * self = unwrap(info);
    napi_env env = info.Env();
    napi_value promise = nullptr;
    if (!self) {
        return nullptr;
    }
    if (self->closing_) {
        return napi_get_reference_value(env, self->closing_, &promise) == napi_ok ? promise : nullptr;
    }
    promise = Environment::of(env)->submit_last(std::make_shared<CloseJob>(), *self->thread_);
    if (promise) {
        napi_create_reference(env, promise, 1, &self->closing_);
    }
    return promise;
}

}  // namespace gme_addon
