// Calls that <napi.h>'s inline functions name and the reader never makes. Without the header: their arguments do not matter.

#include "fuzz-checks.h"

#define NEVER_CALLED(name) \
    int name() { throw fuzz::violation("broken promise: the reader does not call " #name); }

extern "C" {
NEVER_CALLED(napi_async_destroy)
NEVER_CALLED(napi_call_function)
NEVER_CALLED(napi_close_callback_scope)
NEVER_CALLED(napi_close_escapable_handle_scope)
NEVER_CALLED(napi_create_error)
NEVER_CALLED(napi_create_object)
NEVER_CALLED(napi_create_reference)
NEVER_CALLED(napi_create_string_utf8)
NEVER_CALLED(napi_create_type_error)
NEVER_CALLED(napi_define_properties)
NEVER_CALLED(napi_delete_reference)
NEVER_CALLED(napi_escape_handle)
NEVER_CALLED(napi_fatal_error)
NEVER_CALLED(napi_get_and_clear_last_exception)
NEVER_CALLED(napi_get_last_error_info)
NEVER_CALLED(napi_get_property)
NEVER_CALLED(napi_get_reference_value)
NEVER_CALLED(napi_has_property)
NEVER_CALLED(napi_is_exception_pending)
NEVER_CALLED(napi_open_escapable_handle_scope)
NEVER_CALLED(napi_throw)
}
