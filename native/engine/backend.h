// Where graphs run: the processor with a threadpool of its own, or a device; memory for state that outlives a graph; the graph itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cpu-library.h"
#include "device.h"
#include "ggml-cpp.h"
#include "matrix-product.h"
#include "stage-profile.h"
#include "tensor-memory.h"

namespace gme {

using abort_callback = bool (*)(void *);

class backend;

// Work of our own as a node of a graph: every thread of the pool calls run() once, with memory of its own to work in.
class graph_op {
  public:
    virtual ~graph_op() = default;
    virtual void run(ggml_tensor * target, int n_threads, char * scratch) noexcept = 0;

    backend * owner = nullptr;

  protected:
    std::atomic<int64_t> next{ 0 };  // tasks taken so far, by all threads
};

class backend {
  public:
    // `cpu`: what our own kernels may use, detect_cpu() outside tests.
    explicit backend(int32_t n_threads, const cpu_features & cpu = detect_cpu());  // GME_OUT_OF_MEMORY, GME_DEVICE_UNAVAILABLE
    // Graphs run on `gpu`, out of ggml's own nodes.
    backend(int32_t n_threads, std::unique_ptr<device> gpu);
    backend(const backend &)             = delete;
    backend & operator=(const backend &) = delete;

    // Asked between the nodes of every graph until it is replaced; nullptr: never stops. What it throws stops the graph too.
    void    set_abort(abort_callback callback, void * data);
    // Throws GME_ABORTED when the callback answers true.
    void    check_abort() const;
    int32_t n_threads() const { return n_threads_; }
    bool             on_device() const { return gpu_ != nullptr; }
    const device &   gpu() const { return *gpu_; }  // with on_device() only
    // Rows that go through a layer at a time: enough to read a weight for, few enough that the widest tensor of a layer stays small.
    int64_t          chunk_rows() const { return on_device() ? 2048 : 768; }
    // Tokens of several items that run in one pass, and patches of several pictures: a device reads no weight twice for a batch that fits.
    int64_t          batch_tokens() const { return on_device() ? 8192 : 1536; }
    int64_t          batch_patches() const { return on_device() ? 8192 : 2048; }
    cpu_level               level() const { return level_; }
    const product_kernels & kernels() const { return kernels_; }
    // Working memory of one thread: at least `bytes`, aligned to 64. To be asked for before a graph runs.
    void                    reserve_scratch(size_t bytes);  // GME_OUT_OF_MEMORY
    size_t                  scratch_bytes() const { return scratch_bytes_ * static_cast<size_t>(n_threads_); }  // of all threads
    char *                  scratch(int thread) const { return scratch_.get() + static_cast<size_t>(thread) * scratch_bytes_; }
    // Collects the time of every graph's stages until it is replaced; nullptr: graphs run whole and nothing is measured.
    void            set_profile(stage_profile * profile);
    stage_profile * profile() const { return profile_; }
    // Bytes of memory that graphs take beside weights and state, at their largest so far.
    size_t  compute_bytes() const;
    // Gives the graphs' memory back when it is larger than `keep` bytes; the next graph takes what it needs.
    void    trim(size_t keep);

  private:
    friend class graph;

    struct pool_delete {
        void operator()(ggml_threadpool * pool) const { find_cpu_library().threadpool_free(pool); }
    };
    using pool_ptr = std::unique_ptr<ggml_threadpool, pool_delete>;

    pool_ptr        new_pool(int32_t n_threads) const;
    static bool     ask_abort(void * data) noexcept;
    void            use_pool(bool alone);
    void            plan_memory(ggml_cgraph * nodes);
    void            compute(ggml_cgraph * nodes, node_watch * watch = nullptr);

    const cpu_library & cpu_;
    int32_t            n_threads_ = 1;
    cpu_level          level_     = cpu_level::portable;
    product_kernels    kernels_;
    aligned_bytes      scratch_;
    size_t             scratch_bytes_ = 0;  // of each thread
    aligned_bytes      work_;               // ggml's own scratch
    size_t             work_bytes_ = 0;
    pool_ptr           pool_;
    pool_ptr           alone_;            // the calling thread only, for graphs too small to share
    ggml_threadpool *  in_use_ = nullptr;  // one of the two
    ggml_gallocr_ptr   allocator_;        // made when a graph needs it
    std::unique_ptr<device> gpu_;
    std::vector<char>  arena_;            // tensor descriptions of the graph being built
    abort_callback     abort_      = nullptr;
    void *             abort_data_ = nullptr;
    std::exception_ptr abort_threw_;
    stage_profile *    profile_ = nullptr;
};

// Tensors that live over many graphs: hidden states, keys and values, positions, masks. Zero at first.
class state_memory {
  public:
    explicit state_memory(size_t n_tensors);
    ggml_tensor * add(const char * name, int64_t ne0, int64_t ne1, ggml_type type = GGML_TYPE_F32);
    void          allocate(const backend & where);  // GME_OUT_OF_MEMORY

  private:
    tensor_context          context_;
    tensor_memory           memory_;
    ggml_backend_buffer_ptr device_memory_;
};

// One graph: built, run once, gone. Only one at a time per backend.
class graph {
  public:
    graph(class backend & backend, size_t n_nodes_max);

    class backend & where() const { return backend_; }
    ggml_context * context() const { return context_.get(); }
    // A tensor whose content is copied in before the graph runs; `data` must live until run().
    ggml_tensor * input_f32(const float * data, int64_t ne0, int64_t ne1);
    ggml_tensor * input_i32(const int32_t * data, int64_t ne0);
    ggml_tensor * input_f16(std::vector<ggml_fp16_t> data, int64_t ne0, int64_t ne1);
    // A node of our own with an output of its own, or one that writes into `target`. It runs after `sources`.
    ggml_tensor * add_op(std::unique_ptr<graph_op> op, ggml_type type, int64_t ne0, int64_t ne1, const std::vector<ggml_tensor *> & sources);
    ggml_tensor * add_op_inplace(std::unique_ptr<graph_op> op, ggml_tensor * target, const std::vector<ggml_tensor *> & sources);
    // Puts a node behind all earlier ones: order matters where state is written and then read.
    void          add(ggml_tensor * node) { ggml_build_forward_expand(nodes_, node); }
    // Keeps the node's memory until read().
    void          keep(ggml_tensor * node);
    // For the profile: what is added from now on belongs to this stage, and with it whatever add() pulls in that was not added
    // before. `name` must live until run().
    void          stage(const char * name) {
        if (backend_.profile_ != nullptr) {
            begin_section(name);
        }
    }
    // The same in an expression: `cur` and all before it that no stage has yet belong to `name`. Adds nothing without a profile.
    ggml_tensor * staged(const char * name, ggml_tensor * cur) {
        if (backend_.profile_ != nullptr) {
            begin_section(name);
            add(cur);
        }
        return cur;
    }
    // Operations of a node that ggml does not know (GGML_OP_CUSTOM), or instead of those that a matrix product's shape gives; other
    // products are counted without. The first form is counted where the node is added, the second for the stage that is in force now.
    void          count_flop(const ggml_tensor * node, double flop);
    void          count_flop(double flop);
    void          run();  // GME_ABORTED, GME_OUT_OF_MEMORY

  private:
    struct input {
        ggml_tensor * tensor;
        const void *  data;
    };
    struct counted {
        const ggml_tensor * node;
        double              flop;
    };
    struct section {  // nodes [first, first of the next) of one stage
        const char * name;
        int          first;
        double       flop;  // beside its nodes' own
    };

    void   begin_section(const char * name);
    double product_flop(int first, int end) const;
    double section_flop(int first, int end) const;
    void   run_sections();
    std::unordered_map<const ggml_tensor *, size_t> sections_by_node() const;
    void   run_on_device(const std::unordered_map<const ggml_tensor *, size_t> & section_of);
    void   run_section(const section & part, int end);

    class backend &      backend_;
    ggml_scope           scope_{ ggml_scope::on_failure::raise };  // while the graph is built
    ggml_context_ptr     context_;
    ggml_cgraph *        nodes_ = nullptr;
    std::vector<input>   inputs_;
    std::vector<std::vector<ggml_fp16_t>> kept_inputs_;
    std::vector<std::unique_ptr<graph_op>> ops_;
    std::vector<counted> node_flop_;
    std::vector<section> sections_;  // with a profile only
    double               flop_ = 0;  // of all count_flop
};

// Copies of state or kept nodes, row by row: [ne1, ne0].
std::vector<float> read_rows(const ggml_tensor * tensor, int64_t first_row, int64_t n_rows);
void               write_rows(ggml_tensor * tensor, int64_t first_row, int64_t n_rows, const float * data);

}  // namespace gme
