#include "js-results.h"

#include <cstring>

namespace gme_addon {

// Raw Node-API calls: an environment that is being terminated answers with a status here, where wrappers would hand out empty arrays.
static napi_value typed_array(napi_env env, napi_typedarray_type type, const void * data, size_t n, size_t bytes_each) {
    void * target = nullptr;
    napi_value buffer;
    napi_value array;
    if (napi_create_arraybuffer(env, n * bytes_each, &target, &buffer) != napi_ok) {
        return nullptr;
    }
    if (n > 0) {
        memcpy(target, data, n * bytes_each);
    }
    return napi_create_typedarray(env, type, n, buffer, 0, &array) == napi_ok ? array : nullptr;
}

napi_value js_float32_array(napi_env env, const float * data, size_t n) {
    return typed_array(env, napi_float32_array, data, n, sizeof(*data));
}

napi_value js_uint8_array(napi_env env, const uint8_t * data, size_t n) {
    return typed_array(env, napi_uint8_array, data, n, sizeof(*data));
}

napi_value js_int32_array(napi_env env, const int32_t * data, size_t n) {
    return typed_array(env, napi_int32_array, data, n, sizeof(*data));
}

napi_value js_text(napi_env env, const std::string & text) {
    napi_value value;
    return napi_create_string_utf8(env, text.data(), text.size(), &value) == napi_ok ? value : nullptr;
}

napi_value js_integer(napi_env env, int64_t number) {
    napi_value value;
    return napi_create_int64(env, number, &value) == napi_ok ? value : nullptr;
}

napi_value js_flag(napi_env env, bool flag) {
    napi_value value;
    return napi_get_boolean(env, flag, &value) == napi_ok ? value : nullptr;
}

napi_value js_number(napi_env env, double number) {
    napi_value value;
    return napi_create_double(env, number, &value) == napi_ok ? value : nullptr;
}

napi_value js_integers(napi_env env, std::initializer_list<int64_t> numbers) {
    napi_value array;
    uint32_t index = 0;
    if (napi_create_array_with_length(env, numbers.size(), &array) != napi_ok) {
        return nullptr;
    }
    for (int64_t number : numbers) {
        napi_value value = js_integer(env, number);
        if (!value || napi_set_element(env, array, index++, value) != napi_ok) {
            return nullptr;
        }
    }
    return array;
}

napi_value js_object(napi_env env, std::initializer_list<js_property> properties) {
    napi_value object;
    if (napi_create_object(env, &object) != napi_ok) {
        return nullptr;
    }
    for (const js_property & property : properties) {
        if (!property.value || napi_set_named_property(env, object, property.name, property.value) != napi_ok) {
            return nullptr;
        }
    }
    return object;
}

// Widths first; gridThw counts patches of 14×14.
napi_value js_image_plan(napi_env env, const gme_image_plan & plan) {
    return js_object(env, {
        {"loader", js_integers(env, {plan.loader_width, plan.loader_height})},
        {"processor", js_integers(env, {plan.processor_width, plan.processor_height})},
        {"gridThw", js_integers(env, {plan.grid_t, plan.grid_h, plan.grid_w})},
        {"imageTokens", js_integer(env, plan.image_tokens)},
    });
}

}  // namespace gme_addon
