// Native results -> fresh JS-owned memory, on the JS thread. Every function answers NULL when JS has no memory or cannot run.
#pragma once

#include "napi-setup.h"

#include "gme.h"

#include <string>

namespace gme_addon {

napi_value js_float32_array(napi_env env, const float * data, size_t n);
napi_value js_uint8_array(napi_env env, const uint8_t * data, size_t n);
napi_value js_int32_array(napi_env env, const int32_t * data, size_t n);
napi_value js_text(napi_env env, const std::string & text);
napi_value js_integer(napi_env env, int64_t number);
napi_value js_flag(napi_env env, bool flag);
napi_value js_number(napi_env env, double number);
napi_value js_integers(napi_env env, std::initializer_list<int64_t> numbers);
napi_value js_image_plan(napi_env env, const gme_image_plan & plan);

// A plain object of `properties`; NULL when one of the values is NULL.
struct js_property {
    const char * name;
    napi_value   value;
};
napi_value js_object(napi_env env, std::initializer_list<js_property> properties);

}  // namespace gme_addon
