// An addon that makes an external ArrayBuffer, and exports the status: the control of external-buffers.test.ts.
#include <node_api.h>

static char bytes[16];

NAPI_MODULE_INIT() {
  napi_value buffer, status;
  napi_create_int32(env, napi_create_external_arraybuffer(env, bytes, sizeof bytes, NULL, NULL, &buffer), &status);
  napi_set_named_property(env, exports, "status", status);
  return exports;
}
