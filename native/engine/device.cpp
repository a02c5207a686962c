// device: runs graphs on one device.
//
//   graph -> ggml's scheduler: nodes that the device can do stay there, the others go to the processor, with copies between -> computed
//
// A graph cannot be stopped once the device has it; between graphs, of which a layer takes one or more, the caller asks for aborts.

#include "device.h"

#include <algorithm>
#include <string>
#include <utility>

#include "cpu-library.h"
#include "error.h"
#include "ggml-alloc.h"
#include "ggml-impl.h"

namespace gme {

namespace {

error no_memory(const device_entry & entry, const std::string & what) {
    return error("GME_OUT_OF_MEMORY", "no memory " + what + " on " + entry.name + " (" + std::to_string(entry.memory_free >> 20) + " of " +
                                          std::to_string(entry.memory_total >> 20) + " MiB were free)");
}

}  // namespace

device::device(device_entry entry, int32_t n_threads) : entry_(std::move(entry)), n_threads_(n_threads) {
    start();
}

void device::start() {
    gpu_.reset(ggml_backend_dev_init(entry_.device, nullptr));
    cpu_.reset(ggml_backend_dev_init(ggml_backend_reg_dev_get(find_cpu_library().registry(), 0), nullptr));
    if (!gpu_ || !cpu_) {
        throw error("GME_DEVICE_UNAVAILABLE", entry_.name + " (" + printable(entry_.description) + ") does not start")
            .at_field("device").found(entry_.name).wanted("a device whose driver starts");
    }
    for (ggml_backend_t backend : { gpu_.get(), cpu_.get() }) {  // the stand-in device takes threads too
        const auto registry = ggml_backend_dev_backend_reg(ggml_backend_get_device(backend));
        if (void * set = ggml_backend_reg_get_proc_address(registry, "ggml_backend_set_n_threads")) {
            reinterpret_cast<ggml_backend_set_n_threads_t>(set)(backend, n_threads_);
        }
    }
}

ggml_backend_buffer_ptr device::allocate(ggml_context * context) const {
    const ggml_scope        scope(ggml_scope::on_failure::raise);
    ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors_from_buft(context, memory_type()));
    if (!buffer) {
        throw no_memory(entry_, "for tensors");
    }
    return buffer;
}

// The software driver of Mesa 22.3 follows all descriptors of a set, also those that a kernel has no use for and that point to memory
// which was freed since: it gets a new queue, with new sets, for every graph.
void device::plan(ggml_cgraph * nodes) {
    const ggml_scope scope(ggml_scope::on_failure::raise);
    const auto       n_nodes = static_cast<size_t>(nodes->n_nodes + nodes->n_leafs);
    if (n_nodes > n_nodes_max_ || entry_.software) {
        scheduler_.reset();
    }
    if (!scheduler_) {
        if (entry_.software) {
            start();
        }
        ggml_backend_t backends[] = { gpu_.get(), cpu_.get() };
        n_nodes_max_              = std::max<size_t>(n_nodes, 1024);
        scheduler_.reset(ggml_backend_sched_new(backends, nullptr, 2, n_nodes_max_, /*parallel*/ false, /*op_offload*/ false));
    }
    ggml_backend_sched_reset(scheduler_.get());
    if (!ggml_backend_sched_alloc_graph(scheduler_.get(), nodes)) {
        scheduler_.reset();
        throw no_memory(entry_, "to compute a graph");
    }
}

void device::compute(ggml_cgraph * nodes, const observer & observe) {
    const ggml_backend_sched_eval_callback call = [](ggml_tensor * node, bool ask, void * data) {
        const bool stops = (*static_cast<const observer *>(data))(node, !ask);
        return !ask || stops;
    };
    ggml_backend_sched_set_eval_callback(scheduler_.get(), observe ? call : nullptr, const_cast<observer *>(&observe));
    const ggml_status status = [&] {
        const ggml_scope scope(ggml_scope::on_failure::end_process);
        return ggml_backend_sched_graph_compute(scheduler_.get(), nodes);
    }();
    ggml_backend_sched_set_eval_callback(scheduler_.get(), nullptr, nullptr);
    if (status == GGML_STATUS_ALLOC_FAILED) {
        throw no_memory(entry_, "to compute a graph");
    }
    if (status != GGML_STATUS_SUCCESS) {
        throw error("GME_INTERNAL", entry_.name + " (" + printable(entry_.description) + ") could not compute a graph");
    }
}

size_t device::compute_bytes() const {
    size_t bytes = 0;
    if (scheduler_) {
        for (ggml_backend_t backend : { gpu_.get(), cpu_.get() }) {
            bytes += ggml_backend_sched_get_buffer_size(scheduler_.get(), backend);
        }
    }
    return bytes;
}

}  // namespace gme
