// The outermost frame of every native function: no C++ exception leaves the addon.
#pragma once

#include "js-errors.h"

namespace gme_addon {

template <napi_value (*Function)(Napi::CallbackInfo &)> napi_value js_entry(napi_env env, napi_callback_info raw) {
    try {
        Napi::CallbackInfo info(env, raw);
        return Function(info);
    } catch (...) {
        return js_throw_current(env);
    }
}

}  // namespace gme_addon
