#include "load-job.h"

#include "model-wrap.h"

namespace gme_addon {

void LoadJob::run(EngineThread & thread) {
    struct reporter {
        LoadJob *      job;
        EngineThread * thread;
    } target{this, &thread};

    gme_load_params params  = gme_load_params_default();
    params.mmproj           = args_.has_mmproj ? args_.mmproj.c_str() : nullptr;
    params.device           = args_.device.c_str();
    params.n_threads        = args_.threads;
    params.use_mmap         = args_.mmap;
    params.positions        = args_.positions;
    params.loader_resize    = args_.loader_resize;
    params.image_tokens_min = args_.image_tokens_min;
    params.image_tokens_max = args_.image_tokens_max;
    params.tokens_max       = args_.tokens_max;
    params.abort            = abort_asked;
    params.abort_data       = static_cast<Job *>(this);
    params.progress_data    = &target;
    params.progress         = [](float fraction, void * user_data) {
        const auto * to = static_cast<reporter *>(user_data);
        to->job->report(*to->thread, fraction);
    };

    gme_error * error = nullptr;
    const gme_status status = gme_model_load(args_.path.c_str(), &params, &thread.model, &error);
    conclude(status, error);
    if (thread.model) {
        info_ = gme_model_info(thread.model);
    }
}

void LoadJob::discard() noexcept {
    const auto owner = thread.lock();
    if (owner) {
        owner->finish();
    }
}

napi_value LoadJob::result(napi_env env) {
    return ModelWrap::create(env, thread.lock(), info_);
}

napi_value CloseJob::result(napi_env env) {
    napi_value undefined;
    return napi_get_undefined(env, &undefined) == napi_ok ? undefined : nullptr;
}

}  // namespace gme_addon
