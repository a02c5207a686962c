// Where graphs run: ggml's CPU backend with its own threadpool, memory for state that outlives a graph, and the graph itself.
#pragma once

#include <cstdint>
#include <vector>

#include "ggml-cpp.h"
#include "ggml-cpu.h"

namespace gme {

using abort_callback = bool (*)(void *);

class backend {
  public:
    explicit backend(int32_t n_threads);  // GME_OUT_OF_MEMORY
    ~backend();
    backend(const backend &)             = delete;
    backend & operator=(const backend &) = delete;

    // Asked between the nodes of every graph until it is replaced; nullptr: never stops.
    void    set_abort(abort_callback callback, void * data);
    // Throws GME_ABORTED when the callback answers true.
    void    check_abort() const;
    int32_t n_threads() const { return n_threads_; }
    // Bytes of memory that graphs take beside weights and state, at their largest so far.
    size_t  compute_bytes() const;
    // Gives the graphs' memory back when it is larger than `keep` bytes; the next graph takes what it needs.
    void    trim(size_t keep);

  private:
    friend class graph;

    void use_pool(bool alone);
    void release_pools();

    int32_t            n_threads_ = 1;
    ggml_backend_ptr   cpu_;
    ggml_threadpool_t  pool_  = nullptr;
    ggml_threadpool_t  alone_ = nullptr;  // the calling thread only, for graphs too small to share
    ggml_gallocr_ptr   allocator_;
    std::vector<char>  arena_;  // tensor descriptions of the graph being built
    abort_callback     abort_      = nullptr;
    void *             abort_data_ = nullptr;
};

// Tensors that live over many graphs: hidden states, keys and values, positions. All f32, zero at first.
class state_memory {
  public:
    explicit state_memory(size_t n_tensors);
    ggml_tensor * add(const char * name, int64_t ne0, int64_t ne1);
    void          allocate();  // GME_OUT_OF_MEMORY

  private:
    ggml_context_ptr        context_;
    ggml_backend_buffer_ptr buffer_;
};

// One graph: built, run once, gone. Only one at a time per backend.
class graph {
  public:
    graph(backend & backend, size_t n_nodes_max);

    ggml_context * context() const { return context_.get(); }
    // A tensor whose content is copied in before the graph runs; `data` must live until run().
    ggml_tensor * input_f32(const float * data, int64_t ne0, int64_t ne1);
    ggml_tensor * input_i32(const int32_t * data, int64_t ne0);
    // Puts a node behind all earlier ones: order matters where state is written and then read.
    void          add(ggml_tensor * node) { ggml_build_forward_expand(nodes_, node); }
    // Keeps the node's memory until read().
    void          keep(ggml_tensor * node);
    void          run();  // GME_ABORTED, GME_OUT_OF_MEMORY

  private:
    struct input {
        ggml_tensor * tensor;
        const void *  data;
    };
    backend &          backend_;
    ggml_context_ptr   context_;
    ggml_cgraph *      nodes_ = nullptr;
    std::vector<input> inputs_;
};

// Copies of state or kept nodes, row by row: [ne1, ne0].
std::vector<float> read_rows(const ggml_tensor * tensor, int64_t first_row, int64_t n_rows);
void               write_rows(ggml_tensor * tensor, int64_t first_row, int64_t n_rows, const float * data);

}  // namespace gme
