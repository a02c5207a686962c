// What went wrong, as a plain struct that any thread may fill, and its way to a JS Error on the JS thread.
#pragma once

#include "napi-setup.h"

#include <cstdint>
#include <string>

struct gme_error;

namespace gme_addon {

// Empty strings and -1 stand for "does not apply"; such properties are absent on the JS Error.
struct failure {
    std::string code;
    std::string message;
    std::string file;
    std::string field;
    std::string value;
    std::string expected;
    int64_t     offset = -1;
    int32_t     item   = -1;
};

// Copies and frees `error`. A NULL error (the engine broke its contract) still gives a typed failure.
failure failure_from_engine(gme_error * error);

failure failure_aborted();
failure failure_closed();
failure failure_out_of_memory();
failure failure_internal(const char * what);

// JS thread. A JS Error with own properties code, file?, field?, offset?, value?, expected?, item?; NULL when JS cannot run any more.
napi_value js_error_new(napi_env env, const failure & cause);

// JS thread. The error of failure_out_of_memory(), made without memory of our own.
napi_value js_out_of_memory_new(napi_env env) noexcept;

// JS thread. Both answer NULL, with a JS exception pending; the second, for a handler, throws the C++ exception that it handles.
napi_value js_throw(napi_env env, const failure & cause);
napi_value js_throw_current(napi_env env) noexcept;

// JS thread. Takes a pending JS exception away and returns it; NULL where none is pending.
napi_value js_exception_take(napi_env env) noexcept;

}  // namespace gme_addon
