// backend: runs graphs on the CPU.
//
//   nodes in order -> memory planned by ggml's graph allocator -> inputs copied in -> computed by our threadpool
//
// Small graphs run on the calling thread alone: ggml's threads wait for each other at every node by spinning, which on a
// busy machine costs a time slice per node, thousands of times what the node itself takes.
//
// The arena of tensor descriptions and the graphs' memory are kept between graphs, so that a layer costs no allocation.

#include "backend.h"

#include "error.h"
#include "ggml-alloc.h"
#include "ggml-backend.h"

namespace gme {

namespace {

ggml_threadpool_t new_pool(int32_t n_threads) {
    ggml_threadpool_params params = ggml_threadpool_params_default(n_threads);
    return ggml_threadpool_new(&params);
}

// Multiplications and additions of a graph's matrix products, where nearly all of its time goes.
double count_operations(ggml_cgraph * nodes) {
    double n = 0;
    for (int i = 0; i < ggml_graph_n_nodes(nodes); i++) {
        const ggml_tensor * node = ggml_graph_node(nodes, i);
        if (node->op == GGML_OP_MUL_MAT) {
            n += 2.0 * static_cast<double>(ggml_nelements(node)) * static_cast<double>(node->src[0]->ne[0]);
        }
    }
    return n;
}

constexpr double operations_worth_sharing = 32e6;  // about half a millisecond of one core

}  // namespace

backend::backend(int32_t n_threads) : n_threads_(n_threads) {
    cpu_.reset(ggml_backend_cpu_init());
    pool_  = new_pool(n_threads);
    alone_ = new_pool(1);
    allocator_.reset(ggml_gallocr_new(ggml_backend_cpu_buffer_type()));
    if (!cpu_ || pool_ == nullptr || alone_ == nullptr || !allocator_) {
        release_pools();
        throw error("GME_OUT_OF_MEMORY", "the CPU backend could not be started");
    }
    use_pool(true);
}

void backend::use_pool(bool alone) {
    ggml_backend_cpu_set_n_threads(cpu_.get(), alone ? 1 : n_threads_);
    ggml_backend_cpu_set_threadpool(cpu_.get(), alone ? alone_ : pool_);  // puts the other pool's threads to sleep
}

void backend::release_pools() {
    cpu_.reset();  // before the pools that it uses
    for (ggml_threadpool_t pool : { pool_, alone_ }) {
        if (pool != nullptr) {
            ggml_threadpool_free(pool);
        }
    }
}

backend::~backend() {
    release_pools();
}

void backend::set_abort(abort_callback callback, void * data) {
    abort_      = callback;
    abort_data_ = data;
    ggml_backend_cpu_set_abort_callback(cpu_.get(), callback, data);
}

void backend::check_abort() const {
    if (abort_ != nullptr && abort_(abort_data_)) {
        throw error("GME_ABORTED", "the call was aborted");
    }
}

size_t backend::compute_bytes() const {
    return ggml_gallocr_get_buffer_size(allocator_.get(), 0);
}

void backend::trim(size_t keep) {
    if (compute_bytes() > keep) {
        allocator_.reset(ggml_gallocr_new(ggml_backend_cpu_buffer_type()));
    }
}

state_memory::state_memory(size_t n_tensors) {
    ggml_init_params params = { ggml_tensor_overhead() * (n_tensors + 1), nullptr, /*no_alloc*/ true };
    context_.reset(ggml_init(params));
    if (!context_) {
        throw error("GME_OUT_OF_MEMORY", "no memory for the state's descriptions");
    }
}

ggml_tensor * state_memory::add(const char * name, int64_t ne0, int64_t ne1) {
    ggml_tensor * tensor = ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, ne0, ne1);
    ggml_set_name(tensor, name);
    return tensor;
}

void state_memory::allocate() {
    buffer_.reset(ggml_backend_alloc_ctx_tensors_from_buft(context_.get(), ggml_backend_cpu_buffer_type()));
    if (!buffer_) {
        throw error("GME_OUT_OF_MEMORY", "no memory for hidden states, keys and values");
    }
    ggml_backend_buffer_clear(buffer_.get(), 0);
}

graph::graph(backend & backend, size_t n_nodes_max) : backend_(backend) {
    backend_.check_abort();
    const size_t n_tensors = 2 * n_nodes_max;  // leaves and views beside the nodes
    const size_t size      = n_tensors * ggml_tensor_overhead() + ggml_graph_overhead_custom(n_tensors, false);
    if (backend_.arena_.size() < size) {
        backend_.arena_.resize(size);
    }
    ggml_init_params params = { backend_.arena_.size(), backend_.arena_.data(), /*no_alloc*/ true };
    context_.reset(ggml_init(params));
    if (!context_) {
        throw error("GME_OUT_OF_MEMORY", "no memory for a graph");
    }
    nodes_ = ggml_new_graph_custom(context_.get(), n_tensors, false);
}

ggml_tensor * graph::input_f32(const float * data, int64_t ne0, int64_t ne1) {
    ggml_tensor * tensor = ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, ne0, ne1);
    ggml_set_input(tensor);
    inputs_.push_back({ tensor, data });
    return tensor;
}

ggml_tensor * graph::input_i32(const int32_t * data, int64_t ne0) {
    ggml_tensor * tensor = ggml_new_tensor_1d(context_.get(), GGML_TYPE_I32, ne0);
    ggml_set_input(tensor);
    inputs_.push_back({ tensor, data });
    return tensor;
}

void graph::keep(ggml_tensor * node) {
    ggml_set_output(node);
    add(node);
}

void graph::run() {
    if (!ggml_gallocr_alloc_graph(backend_.allocator_.get(), nodes_)) {
        throw error("GME_OUT_OF_MEMORY", "no memory to compute a graph");
    }
    for (const auto & [tensor, data] : inputs_) {
        ggml_backend_tensor_set(tensor, data, 0, ggml_nbytes(tensor));
    }
    backend_.use_pool(backend_.n_threads_ == 1 || count_operations(nodes_) < operations_worth_sharing);
    const ggml_status status = ggml_backend_graph_compute(backend_.cpu_.get(), nodes_);
    if (status == GGML_STATUS_ABORTED) {
        throw error("GME_ABORTED", "the call was aborted");
    }
    if (status != GGML_STATUS_SUCCESS) {
        throw error("GME_OUT_OF_MEMORY", "no memory to compute a graph");
    }
}

std::vector<float> read_rows(const ggml_tensor * tensor, int64_t first_row, int64_t n_rows) {
    std::vector<float> rows(static_cast<size_t>(n_rows * tensor->ne[0]));
    ggml_backend_tensor_get(tensor, rows.data(), static_cast<size_t>(first_row) * tensor->nb[1], rows.size() * sizeof(float));
    return rows;
}

void write_rows(ggml_tensor * tensor, int64_t first_row, int64_t n_rows, const float * data) {
    ggml_backend_tensor_set(tensor, data, static_cast<size_t>(first_row) * tensor->nb[1], static_cast<size_t>(n_rows) * tensor->nb[1]);
}

}  // namespace gme
