#include "service-job.h"

#include "js-results.h"

#include <memory>

namespace gme_addon {

static constexpr size_t patch_values = 1176;  // 3 channels * 2 frames * 14 * 14

// The engine's text, given back.
static std::string take_text(char * json) {
    const std::unique_ptr<char, void (*)(char *)> owned(json, gme_string_free);
    return json ? json : "";
}

void InspectJob::run(EngineThread &) {
    char * json = nullptr;
    gme_error * error = nullptr;
    const gme_status status = gme_file_inspect(path_.c_str(), &json, &error);
    conclude(status, error);
    json_ = take_text(json);
}

napi_value InspectJob::result(napi_env env) {
    return js_text(env, json_);
}

void DeviceLibraryJob::run(EngineThread &) {
    gme_error * error = nullptr;
    const gme_status status = gme_device_library_add(path_.c_str(), &error);
    conclude(status, error);
}

napi_value DeviceLibraryJob::result(napi_env env) {
    napi_value undefined;
    return napi_get_undefined(env, &undefined) == napi_ok ? undefined : nullptr;
}

void DevicesJob::run(EngineThread &) {
    char * json = nullptr;
    gme_error * error = nullptr;
    const gme_status status = gme_devices_list(&json, &error);
    conclude(status, error);
    json_ = take_text(json);
}

napi_value DevicesJob::result(napi_env env) {
    return js_text(env, json_);
}

void PreprocessJob::run(EngineThread &) {
    gme_error * error = nullptr;
    gme_status status = gme_image_plan_make(image_.width, image_.height, args_.loader_resize, args_.image_tokens_min,
                                            args_.image_tokens_max, &plan_, &error);
    if (status == GME_STATUS_OK) {
        loader_.resize(size_t(plan_.loader_width) * size_t(plan_.loader_height) * 3);
        processor_.resize(size_t(plan_.processor_width) * size_t(plan_.processor_height) * 3);
        pixel_values_.resize(size_t(plan_.grid_h) * size_t(plan_.grid_w) * patch_values);
        const gme_image view = {image_.rgb.data(), image_.width, image_.height};
        status = gme_image_preprocess(&view, &plan_, loader_.data(), processor_.data(), pixel_values_.data(), &error);
    }
    conclude(status, error);
    image_ = {};
}

napi_value PreprocessJob::result(napi_env env) {
    return js_object(env, {
        {"loader", js_uint8_array(env, loader_.data(), loader_.size())},
        {"processor", js_uint8_array(env, processor_.data(), processor_.size())},
        {"pixelValues", js_float32_array(env, pixel_values_.data(), pixel_values_.size())},
        {"plan", js_image_plan(env, plan_)},
    });
}

void ConvertJob::run(EngineThread &) {
    target_.resize(args_.n_numbers * args_.target_bytes_each);
    if (args_.n_numbers == 0) {
        return;
    }
    gme_error * error = nullptr;
    const gme_status status = gme_convert_numbers(args_.from.c_str(), args_.source.data(), args_.to.c_str(), target_.data(),
                                                  args_.n_numbers, &error);
    conclude(status, error);
    args_.source = {};
}

napi_value ConvertJob::result(napi_env env) {
    return js_uint8_array(env, target_.data(), target_.size());
}

void QuantizeJob::run(EngineThread &) {
    target_.resize(size_t(args_.n_rows) * args_.row_bytes);
    gme_error * error = nullptr;
    const gme_status status = gme_quantize_rows(args_.from.c_str(), args_.rows.data(), args_.n_rows, args_.n_columns, args_.to.c_str(),
                                                args_.n_threads, target_.data(), &error);
    conclude(status, error);
    args_ = {};
}

napi_value QuantizeJob::result(napi_env env) {
    return js_uint8_array(env, target_.data(), target_.size());
}

void RooflineJob::run(EngineThread &) {
    gme_error * error = nullptr;
    const gme_status status = gme_roofline_measure(args_.type.c_str(), args_.device.c_str(), args_.n_threads, args_.seconds, abort_asked, static_cast<Job *>(this),
                                                   &roofline_, &error);
    conclude(status, error);
}

napi_value RooflineJob::result(napi_env env) {
    return js_object(env, {
        {"gflops", js_number(env, roofline_.gflops)},
        {"weights", js_integers(env, {roofline_.n_out, roofline_.n_in})},
        {"tokens", js_integer(env, roofline_.n_tokens)},
        {"repacked", js_flag(env, roofline_.repacked)},
        {"readGigabytesPerSecond", js_number(env, roofline_.read_gigabytes_per_second)},
    });
}

}  // namespace gme_addon
