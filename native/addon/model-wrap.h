// The JS object of a loaded model: a handle on the engine thread that owns the model.
#pragma once

#include "engine-thread.h"

#include <string>

namespace gme_addon {

class Environment;

class ModelWrap {
  public:
    static bool define(napi_env env, Environment & environment);  // the class; false: a JS exception is pending

    // The object for the model that `thread` has loaded. NULL when JS cannot make it; the load's discard() then frees the model.
    static napi_value create(napi_env env, std::shared_ptr<EngineThread> thread, const std::string & info);

  private:
    explicit ModelWrap(std::shared_ptr<EngineThread> thread) : thread_(std::move(thread)) {}

    static napi_value js_new(napi_env env, napi_callback_info info);
    static napi_value js_embed(Napi::CallbackInfo & info);
    static napi_value js_profile(Napi::CallbackInfo & info);
    static napi_value js_stages(Napi::CallbackInfo & info);
    static napi_value js_count_tokens(Napi::CallbackInfo & info);
    static napi_value js_tokenize(Napi::CallbackInfo & info);
    static napi_value js_memory(Napi::CallbackInfo & info);
    static napi_value js_close(Napi::CallbackInfo & info);

    static ModelWrap * unwrap(const Napi::CallbackInfo & info);
    static void        finalize(napi_env env, void * data, void *);

    std::shared_ptr<EngineThread> thread_;
    napi_ref                      closing_ = nullptr;  // the promise of the first close()
};

}  // namespace gme_addon
