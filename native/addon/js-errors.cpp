#include "js-errors.h"

#include "gme.h"

#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>

namespace gme_addon {

static constexpr const char * memory_code = "GME_OUT_OF_MEMORY";
static constexpr const char * memory_text = "Not enough memory for this operation";

failure failure_from_engine(gme_error * error) {
    if (!error) {
        return failure_internal("the engine reported a failure without saying which");
    }
    const std::unique_ptr<gme_error, void (*)(gme_error *)> owned(error, gme_error_free);
    failure cause;
    cause.code     = error->code;
    cause.message  = error->message;
    cause.file     = error->file;
    cause.field    = error->field;
    cause.value    = error->value;
    cause.expected = error->expected;
    cause.offset   = error->offset;
    cause.item     = error->item;
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
    return failure_make(memory_code, memory_text);
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

napi_value js_out_of_memory_new(napi_env env) noexcept {
    napi_value code;
    napi_value message;
    napi_value error;
    if (napi_create_string_utf8(env, memory_code, strlen(memory_code), &code) != napi_ok ||
        napi_create_string_utf8(env, memory_text, strlen(memory_text), &message) != napi_ok ||
        napi_create_error(env, code, message, &error) != napi_ok) {
        return nullptr;
    }
    return error;
}

static napi_value throw_value(napi_env env, napi_value error) noexcept {
    if (error) {
        napi_throw(env, error);
    }
    return nullptr;
}

napi_value js_throw(napi_env env, const failure & cause) {
    return throw_value(env, js_error_new(env, cause));
}

napi_value js_throw_current(napi_env env) noexcept {
    try {
        try {
            throw;
        } catch (const std::bad_alloc &) {
            return throw_value(env, js_out_of_memory_new(env));
        } catch (const std::length_error &) {
            return throw_value(env, js_out_of_memory_new(env));
        } catch (const std::exception & error) {
            return js_throw(env, failure_internal(error.what()));
        } catch (...) {
            return js_throw(env, failure_internal("unknown exception"));
        }
    } catch (...) {
        return throw_value(env, js_out_of_memory_new(env));  // there was no memory for the text
    }
}

napi_value js_exception_take(napi_env env) noexcept {
    bool pending = false;
    napi_value exception = nullptr;
    if (napi_is_exception_pending(env, &pending) != napi_ok || !pending) {
        return nullptr;
    }
    return napi_get_and_clear_last_exception(env, &exception) == napi_ok ? exception : nullptr;
}

}  // namespace gme_addon
