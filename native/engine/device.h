// A device that graphs run on, with the processor beside it for what it cannot do.
#pragma once

#include <functional>
#include <vector>

#include "device-list.h"
#include "ggml-cpp.h"
#include "tensor-memory.h"

namespace gme {

class device {
  public:
    // GME_DEVICE_UNAVAILABLE: its driver does not start.
    device(device_entry entry, int32_t n_threads);
    device(const device &)             = delete;
    device & operator=(const device &) = delete;

    const device_entry &       entry() const { return entry_; }
    ggml_backend_buffer_type_t memory_type() const { return ggml_backend_get_default_buffer_type(gpu_.get()); }
    bool                       supports(const ggml_tensor * node) const { return ggml_backend_supports_op(gpu_.get(), node); }

    // Memory of the device for all tensors of the context. GME_OUT_OF_MEMORY
    ggml_backend_buffer_ptr allocate(ggml_context * context) const;
    // Memory for a graph's nodes; what the device cannot do is given to the processor. GME_OUT_OF_MEMORY
    void plan(ggml_cgraph * nodes);
    // Whether the device is to stop after a node, and, `done`, that it has: all up to this node is computed.
    using observer = std::function<bool(const ggml_tensor * node, bool done)>;
    // Runs a planned graph to its end. GME_OUT_OF_MEMORY, GME_INTERNAL
    void compute(ggml_cgraph * nodes, const observer & observe = {});
    // Bytes of graphs, on the device and beside it, at their largest so far.
    size_t compute_bytes() const;
    void   trim() { scheduler_.reset(); }

  private:
    void start();

    device_entry           entry_;
    ggml_backend_ptr       gpu_;
    ggml_backend_ptr       cpu_;
    int32_t                n_threads_ = 1;
    size_t                 n_nodes_max_ = 0;  // of scheduler_
    ggml_backend_sched_ptr scheduler_;        // made when a graph needs it
};

}  // namespace gme
