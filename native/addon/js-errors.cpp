#include "js-errors.h"

#include "gme.h"

namespace gme_addon {

failure failure_from_engine(gme_error * error) {
    if (!error) {
        return failure_internal("the engine reported a failure without saying which");
    }
    failure cause;
    cause.code     = error->code;
    cause.message  = error->message;
    cause.file     = error->file;
    cause.field    = error->field;
    cause.value    = error->value;
    cause.expected = error->expected;
    cause.offset   = error->offset;
    cause.item     = error->item;
    gme_error_free(error);
    return cause;
}

static failure failure_make(const char * code, const char * message) {
    failure cause;
    cause.code    = code;
    cause.message = message;
    return cause;
}

failure failure_aborted() {
    return failure_make("GME_ABORTED", "The operation was aborted");
}

failure failure_closed() {
    return failure_make("GME_MODEL_CLOSED", "The model is closed");
}

failure failure_out_of_memory() {
    return failure_make("GME_OUT_OF_MEMORY", "Not enough memory for this operation");
}

failure failure_internal(const char * what) {
    failure cause = failure_make("GME_ENGINE_CRASHED", "The engine failed unexpectedly: ");
    cause.message += what;
    return cause;
}

static void set_value(napi_env env, napi_value object, const char * name, napi_value value) {
    const napi_property_descriptor property = {
        name, nullptr, nullptr, nullptr, nullptr, value, napi_default_jsproperty, nullptr,
    };
    napi_define_properties(env, object, 1, &property);
}

static void set_text(napi_env env, napi_value object, const char * name, const std::string & text) {
    napi_value value;
    if (!text.empty() && napi_create_string_utf8(env, text.data(), text.size(), &value) == napi_ok) {
        set_value(env, object, name, value);
    }
}

static void set_number(napi_env env, napi_value object, const char * name, int64_t number) {
    napi_value value;
    if (number >= 0 && napi_create_int64(env, number, &value) == napi_ok) {
        set_value(env, object, name, value);
    }
}

napi_value js_error_new(napi_env env, const failure & cause) {
    napi_value message;
    napi_value error;
    if (napi_create_string_utf8(env, cause.message.data(), cause.message.size(), &message) != napi_ok ||
        napi_create_error(env, nullptr, message, &error) != napi_ok) {
        return nullptr;
    }
    // An error made outside any JS frame has a stack of one line. Without it GmeError.from keeps its own, with the awaiting callers.
    napi_value undefined;
    if (napi_get_undefined(env, &undefined) == napi_ok) {
        set_value(env, error, "stack", undefined);
    }
    set_text(env, error, "code", cause.code);
    set_text(env, error, "file", cause.file);
    set_text(env, error, "field", cause.field);
    set_text(env, error, "value", cause.value);
    set_text(env, error, "expected", cause.expected);
    set_number(env, error, "offset", cause.offset);
    set_number(env, error, "item", cause.item);
    return error;
}

napi_value js_exception_take(napi_env env) {
    bool pending = false;
    napi_value exception = nullptr;
    if (napi_is_exception_pending(env, &pending) != napi_ok || !pending) {
        return nullptr;
    }
    return napi_get_and_clear_last_exception(env, &exception) == napi_ok ? exception : nullptr;
}

}  // namespace gme_addon
