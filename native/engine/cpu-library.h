// ggml's kernels for the processor: linked into the engine, or the best of several libraries beside it.
#pragma once

#include <string>

#include "ggml-backend.h"
#include "ggml-cpu.h"

namespace gme {

// What the engine takes from them, in ggml's own words.
struct cpu_library {
    std::string name;  // of the library that was chosen, such as "haswell"; "native": linked in, for the processor it was built on

    decltype(&ggml_cpu_init)         init             = nullptr;
    decltype(&ggml_backend_cpu_reg)  registry         = nullptr;
    decltype(&ggml_threadpool_new)   threadpool_new   = nullptr;
    decltype(&ggml_threadpool_free)  threadpool_free  = nullptr;
    decltype(&ggml_threadpool_pause) threadpool_pause = nullptr;
    decltype(&ggml_graph_plan)       graph_plan       = nullptr;
    decltype(&ggml_graph_compute)    graph_compute    = nullptr;
};

// The same for the whole process, chosen at the first call. GME_DEVICE_UNAVAILABLE: none runs on this processor; each is named with the
// reason, and the next call tries again.
const cpu_library & find_cpu_library();

}  // namespace gme
