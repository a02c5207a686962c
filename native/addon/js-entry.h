// The outermost frame of every native function: no C++ exception leaves the addon.
#pragma once

#include "js-errors.h"

#include <new>
#include <stdexcept>

namespace gme_addon {

inline napi_value js_throw(napi_env env, const failure & cause) {
    napi_value error = js_error_new(env, cause);
    if (error) {
        napi_throw(env, error);
    }
    return nullptr;
}

template <napi_value (*Function)(Napi::CallbackInfo &)> napi_value js_entry(napi_env env, napi_callback_info raw) {
    try {
        Napi::CallbackInfo info(env, raw);
        return Function(info);
    } catch (const std::bad_alloc &) {
        return js_throw(env, failure_out_of_memory());
    } catch (const std::length_error &) {
        return js_throw(env, failure_out_of_memory());
    } catch (const std::exception & error) {
        return js_throw(env, failure_internal(error.what()));
    }
}

}  // namespace gme_addon
