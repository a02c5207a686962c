// The machine's own limits, measured: the fastest matrix product and the fastest reading of memory.
#pragma once

#include <string>

#include "gme.h"

namespace gme {

// GME_DEVICE_UNAVAILABLE: there is no such device; GME_OPTION_INVALID: a type that ggml cannot multiply by, threads or seconds out of range; GME_ABORTED, GME_OUT_OF_MEMORY.
gme_roofline measure_roofline(const std::string & type, const std::string & device, int32_t n_threads, double seconds, gme_abort_callback abort, void * abort_data);

}  // namespace gme
