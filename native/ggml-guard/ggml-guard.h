// ggml's failures as errors: what happens on this thread when ggml runs out of memory, or when one of its assertions fails.
#pragma once

#include <stdexcept>

#include "ggml-backend.h"

namespace gme {

// One of ggml's assertions, in ggml's own words: "ggml.c:3155: GGML_ASSERT(…) failed".
struct ggml_failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// In force on this thread while it lives, the innermost one counts. Without one, ggml's failures end the process.
class ggml_scope {
  public:
    enum class on_failure {
        raise,        // an assertion throws ggml_failure; memory and threads that ran out are told by shortage()
        end_process,  // while a graph runs: other threads wait for this one, and would wait for ever
    };
    explicit ggml_scope(on_failure what) noexcept;
    ~ggml_scope();
    ggml_scope(const ggml_scope &)             = delete;
    ggml_scope & operator=(const ggml_scope &) = delete;

    // What ran out since the last question: "memory", "threads" or nullptr. After an answer everything that ggml made since then
    // must be freed, by ggml's own functions.
    const char * shortage() noexcept;

  private:
    friend struct ggml_guard;

    ggml_scope * outer_;
    on_failure   what_;
    bool         no_memory_ = false, no_thread_ = false;
    bool         reserve_is_empty_ = false;
};

// ggml's memory for graphs, except that it answers nullptr where there is none and never throws.
ggml_backend_buffer_type_t graph_memory();

// The first instruction set that this build of ggml needs and this processor lacks, or nullptr. In required-cpu.cpp.
const char * missing_instructions() noexcept;

}  // namespace gme
