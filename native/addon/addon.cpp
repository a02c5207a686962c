// Registration: what lib/binding.ts calls NativeBinding.
//
// Who may touch what: functions here and in model-wrap run on the JS thread. Job::run runs on an engine thread and sees plain structs
// only. Results and failures come back through Environment::drain on the JS thread. environment.cpp says how each of them ends.

#include "embed-args.h"
#include "environment.h"
#include "js-entry.h"
#include "js-results.h"
#include "load-job.h"
#include "low-rank-job.h"
#include "model-wrap.h"
#include "service-job.h"

#ifndef GME_GGML_VERSION
#define GME_GGML_VERSION "unknown"
#endif
#ifndef GME_VERSION
#define GME_VERSION "unknown"
#endif

namespace gme_addon {

static napi_value js_load(Napi::CallbackInfo & info) {
    ArgsReader reader(info.Env());
    load_args args;
    napi_value on_progress = nullptr;
    Environment * environment = Environment::of(info.Env());
    if (!reader.load(info[0], info[1], &args) || !reader.callback(info[2], "onProgress", &on_progress)) {
        return environment->refuse(reader.cause);
    }
    const auto job = std::make_shared<LoadJob>(std::move(args));  // before the thread, which nobody would end if this failed
    return environment->submit(job, environment->start_thread(), on_progress);
}

static napi_value js_inspect_file(Napi::CallbackInfo & info) {
    ArgsReader reader(info.Env());
    std::string path;
    Environment * environment = Environment::of(info.Env());
    if (!reader.path(info[0], "path", &path)) {
        return environment->refuse(reader.cause);
    }
    return environment->submit(std::make_shared<InspectJob>(std::move(path)), environment->service_thread());
}

static napi_value js_add_device_library(Napi::CallbackInfo & info) {
    ArgsReader reader(info.Env());
    std::string path;
    Environment * environment = Environment::of(info.Env());
    if (!reader.path(info[0], "path", &path)) {
        return environment->refuse(reader.cause);
    }
    return environment->submit(std::make_shared<DeviceLibraryJob>(std::move(path)), environment->service_thread());
}

static napi_value js_devices(Napi::CallbackInfo & info) {
    Environment * environment = Environment::of(info.Env());
    return environment->submit(std::make_shared<DevicesJob>(), environment->service_thread());
}

// Integer arithmetic only, so it answers at once; bad arguments are thrown.
static napi_value js_plan_image(Napi::CallbackInfo & info) {
    ArgsReader reader(info.Env());
    int32_t width = 0;
    int32_t height = 0;
    plan_args args;
    if (!reader.size(info[0], "width", &width) || !reader.size(info[1], "height", &height) || !reader.plan(info[2], &args)) {
        return info.Env().IsExceptionPending() ? nullptr : js_throw(info.Env(), reader.cause);
    }
    gme_image_plan plan{};
    gme_error * error = nullptr;
    if (gme_image_plan_make(width, height, args.loader_resize, args.image_tokens_min, args.image_tokens_max, &plan, &error) !=
        GME_STATUS_OK) {
        return js_throw(info.Env(), failure_from_engine(error));
    }
    return js_image_plan(info.Env(), plan);
}

static napi_value js_preprocess_image(Napi::CallbackInfo & info) {
    ArgsReader reader(info.Env());
    image_args image;
    plan_args args;
    Environment * environment = Environment::of(info.Env());
    if (!reader.image(info[0], "image", &image) || !reader.plan(info[1], &args)) {
        return environment->refuse(reader.cause);
    }
    return environment->submit(std::make_shared<PreprocessJob>(std::move(image), args), environment->service_thread());
}

static napi_value js_convert_numbers(Napi::CallbackInfo & info) {
    ArgsReader reader(info.Env());
    convert_args args;
    Environment * environment = Environment::of(info.Env());
    if (!reader.convert(info[0], info[1], info[2], &args)) {
        return environment->refuse(reader.cause);
    }
    return environment->submit(std::make_shared<ConvertJob>(std::move(args)), environment->service_thread());
}

static napi_value js_quantize_rows(Napi::CallbackInfo & info) {
    ArgsReader reader(info.Env());
    quantize_args args;
    Environment * environment = Environment::of(info.Env());
    if (!reader.quantize(info[0], info[1], info[2], info[3], &args)) {
        return environment->refuse(reader.cause);
    }
    return environment->submit(std::make_shared<QuantizeJob>(std::move(args)), environment->service_thread());
}

static napi_value js_add_low_rank(Napi::CallbackInfo & info) {
    ArgsReader reader(info.Env());
    low_rank_args args;
    Environment * environment = Environment::of(info.Env());
    if (!reader.low_rank(info[0], info[1], info[2], &args)) {
        return environment->refuse(reader.cause);
    }
    return environment->submit(std::make_shared<LowRankJob>(std::move(args)), environment->service_thread());
}

static napi_value js_roofline(Napi::CallbackInfo & info) {
    ArgsReader reader(info.Env());
    roofline_args args;
    Environment * environment = Environment::of(info.Env());
    if (!reader.roofline(info[0], info[1], &args)) {
        return environment->refuse(reader.cause);
    }
    return environment->submit(std::make_shared<RooflineJob>(std::move(args)), environment->service_thread());
}

static bool export_functions(napi_env env, napi_value exports) {
    napi_value version = js_object(env, {{"ggml", js_text(env, GME_GGML_VERSION)}, {"engine", js_text(env, GME_VERSION)}});
    const napi_property_descriptor properties[] = {
        {"load", nullptr, js_entry<js_load>, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
        {"inspectFile", nullptr, js_entry<js_inspect_file>, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
        {"addDeviceLibrary", nullptr, js_entry<js_add_device_library>, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
        {"devices", nullptr, js_entry<js_devices>, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
        {"planImage", nullptr, js_entry<js_plan_image>, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
        {"preprocessImage", nullptr, js_entry<js_preprocess_image>, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
        {"convertNumbers", nullptr, js_entry<js_convert_numbers>, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
        {"quantizeRows", nullptr, js_entry<js_quantize_rows>, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
        {"addLowRank", nullptr, js_entry<js_add_low_rank>, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
        {"roofline", nullptr, js_entry<js_roofline>, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
        {"version", nullptr, nullptr, nullptr, nullptr, version, napi_enumerable, nullptr},
    };
    return version && napi_define_properties(env, exports, sizeof(properties) / sizeof(properties[0]), properties) == napi_ok;
}

static Napi::Object init(Napi::Env env, Napi::Object exports) {
    if (!Environment::create(env) || !ModelWrap::define(env, *Environment::of(env)) || !export_functions(env, exports)) {
        if (!env.IsExceptionPending()) {
            napi_throw_error(env, "GME_ADDON_MISSING", "The addon could not be initialised in this environment");
        }
    }
    return exports;
}

}  // namespace gme_addon

static Napi::Object init_addon(Napi::Env env, Napi::Object exports) {
    try {
        return gme_addon::init(env, exports);
    } catch (...) {
        gme_addon::js_throw_current(env);
        return exports;
    }
}

NODE_API_MODULE(gme_embed, init_addon)
