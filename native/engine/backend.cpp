// backend: runs graphs on the processor, or hands them to a device.
//
//   nodes in order -> memory planned by ggml's graph allocator -> inputs copied in -> computed by our threadpool
//
// Small graphs run on the calling thread alone: ggml's threads wait for each other at every node by spinning, which on a
// busy machine costs a time slice per node, thousands of times what the node itself takes.
//
// With a profile a graph runs section by section, a section being the nodes of one stage in a row: same order, same memory,
// same threads, and a clock between them. Vectors stay the same to the bit. A device runs the graph whole and stops after each section.
//
// The arena of tensor descriptions and the graphs' memory are kept between graphs, so that a layer costs no allocation.

#include "backend.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "error.h"
#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-impl.h"

namespace gme {

namespace {

constexpr double operations_worth_sharing = 32e6;  // about half a millisecond of one core

}  // namespace

backend::pool_ptr backend::new_pool(int32_t n_threads) const {
    ggml_scope             scope(ggml_scope::on_failure::raise);
    ggml_threadpool_params params = ggml_threadpool_params_default(n_threads);
    params.poll                   = 5;  // some milliseconds: awake from layer to layer, asleep when nothing is called
    pool_ptr pool(cpu_.threadpool_new(&params));
    require_enough(scope, "for the engine's threads");
    return pool;
}

backend::backend(int32_t n_threads, const cpu_features & cpu)
    : cpu_(find_cpu_library()), n_threads_(n_threads), level_(cpu.level), kernels_(find_product_kernels(cpu)) {
    {
        ggml_scope scope(ggml_scope::on_failure::raise);
        cpu_.init();
        require_enough(scope, "to start the CPU backend");
    }
    pool_  = new_pool(n_threads);
    alone_ = new_pool(1);
    use_pool(true);
    reserve_scratch(product_scratch_bytes());
}

backend::backend(int32_t n_threads, std::unique_ptr<device> gpu) : cpu_(find_cpu_library()), n_threads_(n_threads), gpu_(std::move(gpu)) {}

void backend::use_pool(bool alone) {
    ggml_threadpool * wanted = alone ? alone_.get() : pool_.get();
    if (in_use_ != nullptr && in_use_ != wanted) {
        cpu_.threadpool_pause(in_use_);
    }
    in_use_ = wanted;
}

void backend::set_abort(abort_callback callback, void * data) {
    abort_      = callback;
    abort_data_ = data;
}

// Called by ggml on the calling thread, while the others wait for it: an exception must not pass through.
bool backend::ask_abort(void * data) noexcept {
    auto * self = static_cast<backend *>(data);
    try {
        return self->abort_(self->abort_data_);
    } catch (...) {
        self->abort_threw_ = std::current_exception();
        return true;
    }
}

void backend::check_abort() const {
    if (abort_ != nullptr && abort_(abort_data_)) {
        throw error("GME_ABORTED", "the call was aborted");
    }
}

void backend::set_profile(stage_profile * profile) {
    profile_ = profile;
}

size_t backend::compute_bytes() const {
    return gpu_ ? gpu_->compute_bytes() : allocator_ ? ggml_gallocr_get_buffer_size(allocator_.get(), 0) : 0;
}

void backend::trim(size_t keep) {
    if (compute_bytes() > keep) {
        allocator_.reset();
        if (gpu_) {
            gpu_->trim();
        }
    }
}

void backend::reserve_scratch(size_t bytes) {
    if (bytes > scratch_bytes_) {
        bytes = (bytes + 63) / 64 * 64;
        scratch_.reset();
        scratch_bytes_ = 0;
        scratch_       = allocate_aligned(bytes * static_cast<size_t>(n_threads_));
        if (!scratch_) {
            throw error("GME_OUT_OF_MEMORY", "no memory for the threads to work in");
        }
        scratch_bytes_ = bytes;
    }
}

// Planned anew each time: the allocator takes a graph for the last one when their nodes are alike, whatever the leafs are.
void backend::plan_memory(ggml_cgraph * nodes) {
    if (gpu_) {
        return gpu_->plan(nodes);
    }
    ggml_scope scope(ggml_scope::on_failure::raise);
    try {
        if (!allocator_) {
            allocator_.reset(ggml_gallocr_new(graph_memory()));
        }
        const bool planned = ggml_gallocr_reserve(allocator_.get(), nodes) && ggml_gallocr_alloc_graph(allocator_.get(), nodes);
        require_enough(scope, "to compute a graph");
        if (!planned) {
            throw error("GME_OUT_OF_MEMORY", "no memory to compute a graph");
        }
    } catch (...) {
        allocator_.reset();
        throw;
    }
}

void backend::compute(ggml_cgraph * nodes, node_watch * watch) {
    if (gpu_) {
        return gpu_->compute(nodes, watch);
    }
    ggml_cplan plan = cpu_.graph_plan(nodes, in_use_ == alone_.get() ? 1 : n_threads_, in_use_);
    if (plan.work_size > work_bytes_) {
        work_.reset();
        work_bytes_ = 0;
        work_       = allocate_aligned(plan.work_size);
        if (!work_) {
            throw error("GME_OUT_OF_MEMORY", "no memory to compute a graph");
        }
        work_bytes_ = plan.work_size;
    }
    plan.work_data           = reinterpret_cast<uint8_t *>(work_.get());
    plan.abort_callback      = abort_ == nullptr ? nullptr : ask_abort;
    plan.abort_callback_data = this;
    const ggml_status status = [&] {
        const ggml_scope scope(ggml_scope::on_failure::end_process);
        return cpu_.graph_compute(nodes, &plan);
    }();
    if (abort_threw_) {
        std::rethrow_exception(std::exchange(abort_threw_, nullptr));
    }
    if (status == GGML_STATUS_ABORTED) {
        throw error("GME_ABORTED", "the call was aborted");
    }
    if (status != GGML_STATUS_SUCCESS) {
        throw error("GME_OUT_OF_MEMORY", "no memory to compute a graph");
    }
}

state_memory::state_memory(size_t n_tensors) : context_(n_tensors) {}

ggml_tensor * state_memory::add(const char * name, int64_t ne0, int64_t ne1, ggml_type type) {
    const ggml_scope scope(ggml_scope::on_failure::raise);
    ggml_tensor *    tensor = ggml_new_tensor_2d(context_.get(), type, ne0, ne1);
    ggml_set_name(tensor, name);
    return tensor;
}

void state_memory::allocate(const backend & where) {
    if (where.on_device()) {
        device_memory_ = where.gpu().allocate(context_.get());
        ggml_backend_buffer_clear(device_memory_.get(), 0);
    } else {
        memory_ = tensor_memory::of_all(context_.get());
    }
}

graph::graph(backend & backend, size_t n_nodes_max) : backend_(backend) {
    backend_.check_abort();
    const size_t n_tensors = (backend.on_device() ? 8 : 2) * n_nodes_max;  // leaves and views beside the nodes; ggml's own are smaller steps
    const size_t size      = n_tensors * ggml_tensor_overhead() + ggml_graph_overhead_custom(n_tensors, false);
    if (backend_.arena_.size() < size) {
        backend_.arena_.resize(size);
    }
    context_ = new_context(backend_.arena_.data(), backend_.arena_.size());
    nodes_   = ggml_new_graph_custom(context_.get(), n_tensors, false);
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

ggml_tensor * graph::input_f16(std::vector<ggml_fp16_t> data, int64_t ne0, int64_t ne1) {
    ggml_tensor * tensor = ggml_new_tensor_2d(context_.get(), GGML_TYPE_F16, ne0, ne1);
    ggml_set_input(tensor);
    kept_inputs_.push_back(std::move(data));
    inputs_.push_back({ tensor, kept_inputs_.back().data() });
    return tensor;
}

// Called by ggml on every thread of the pool.
static void run_graph_op(ggml_tensor * target, int thread, int n_threads, void * data) {
    auto * op = static_cast<graph_op *>(data);
    op->run(target, n_threads, op->owner->scratch(thread));
}

ggml_tensor * graph::add_op(std::unique_ptr<graph_op> op, ggml_type type, int64_t ne0, int64_t ne1, const std::vector<ggml_tensor *> & sources) {
    auto args = sources;
    op->owner = &backend_;
    ops_.push_back(std::move(op));
    return ggml_custom_4d(context_.get(), type, ne0, ne1, 1, 1, args.data(), static_cast<int>(args.size()), run_graph_op, GGML_N_TASKS_MAX, ops_.back().get());
}

ggml_tensor * graph::add_op_inplace(std::unique_ptr<graph_op> op, ggml_tensor * target, const std::vector<ggml_tensor *> & sources) {
    auto args = sources;
    op->owner = &backend_;
    ops_.push_back(std::move(op));
    return ggml_custom_inplace(context_.get(), target, args.data(), static_cast<int>(args.size()), run_graph_op, GGML_N_TASKS_MAX, ops_.back().get());
}

void graph::keep(ggml_tensor * node) {
    ggml_set_output(node);
    add(node);
}

void graph::begin_section(const char * name) {
    const int first = ggml_graph_n_nodes(nodes_);
    if (!sections_.empty() && sections_.back().first == first && sections_.back().flop == 0) {
        sections_.back().name = name;  // nothing was added since
    } else if (sections_.empty() || std::strcmp(sections_.back().name, name) != 0) {
        sections_.push_back({ name, first, 0 });
    }
}

void graph::count_flop(const ggml_tensor * node, double flop) {
    flop_ += flop;
    if (backend_.profile_ != nullptr) {
        node_flop_.push_back({ node, flop });
    }
}

void graph::count_flop(double flop) {
    flop_ += flop;
    if (!sections_.empty()) {
        sections_.back().flop += flop;
    }
}

namespace {

double shape_flop(const ggml_tensor * node) {
    return node->op == GGML_OP_MUL_MAT ? 2.0 * static_cast<double>(ggml_nelements(node)) * static_cast<double>(node->src[0]->ne[0]) : 0;
}

}  // namespace

// Multiplications and additions of ggml's products among nodes [first, end), where nearly all of a graph's time goes.
double graph::product_flop(int first, int end) const {
    double n = 0;
    for (int i = first; i < end; i++) {
        n += shape_flop(ggml_graph_node(nodes_, i));
    }
    return n;
}

// With a profile: what count_flop registered for nodes [first, end), and the products among the others.
double graph::section_flop(int first, int end) const {
    double n = 0;
    for (int i = first; i < end; i++) {
        const ggml_tensor * node  = ggml_graph_node(nodes_, i);
        const auto          known = std::find_if(node_flop_.begin(), node_flop_.end(), [&](const counted & each) { return each.node == node; });
        n += known == node_flop_.end() ? shape_flop(node) : known->flop;
    }
    return n;
}

void graph::run() {
    if (backend_.profile_ != nullptr && (sections_.empty() || sections_.front().first > 0)) {
        sections_.insert(sections_.begin(), { "other", 0, 0 });
    }
    const auto section_of = sections_by_node();  // none without a profile
    {
        const stage_timer timer(backend_.on_device() ? backend_.profile_ : nullptr, "host.plan");
        backend_.plan_memory(nodes_);
        for (const auto & [tensor, data] : inputs_) {
            ggml_backend_tensor_set(tensor, data, 0, ggml_nbytes(tensor));
        }
    }
    const double n_operations = flop_ + product_flop(0, ggml_graph_n_nodes(nodes_));
    if (!backend_.on_device()) {
        backend_.use_pool(backend_.n_threads_ == 1 || n_operations < operations_worth_sharing);
    }
    if (backend_.profile_ == nullptr) {
        return backend_.compute(nodes_);
    }
    backend_.on_device() ? run_on_device(section_of) : run_sections();
}

void graph::run_sections() {
    for (size_t i = 0; i < sections_.size(); i++) {
        run_section(sections_[i], i + 1 < sections_.size() ? sections_[i + 1].first : ggml_graph_n_nodes(nodes_));
    }
}

void graph::run_section(const section & part, int end) {
    const int n_nodes = end - part.first;
    if (n_nodes == 0 && part.flop == 0) {
        return;
    }
    const auto           size = static_cast<size_t>(std::max(1, n_nodes));
    const tensor_context context(0, ggml_graph_overhead_custom(size, false));
    ggml_cgraph *        nodes = ggml_new_graph_custom(context.get(), size, false);
    for (int i = part.first; i < end; i++) {
        ggml_graph_add_node(nodes, ggml_graph_node(nodes_, i));
    }
    const stage_timer timer(backend_.profile_, part.name, part.flop + section_flop(part.first, end));
    backend_.compute(nodes);
}

namespace {

// Nodes in a row that are of one stage and run in one place.
struct device_run {
    std::string         stage;
    const ggml_tensor * last;
    double              flop;
};

// The device stops at each run's last node, and the clock is read.
class run_clock : public node_watch {
  public:
    run_clock(stage_profile & profile, const std::vector<device_run> & runs) : profile_(profile), runs_(runs) {}

    bool stops_at(const ggml_tensor * node) noexcept override { return at_ < runs_.size() && runs_[at_].last == node; }
    void finished() noexcept override {
        const device_run & run = runs_[at_++];
        try {
            const auto                                      now  = std::chrono::steady_clock::now();
            const std::chrono::duration<double, std::milli> took = now - last_;
            last_                                                = now;
            profile_.add(run.stage, took.count(), run.flop);
        } catch (...) {  // without memory for a new name the measurement is lost, not the call
        }
    }
    bool complete() const { return at_ == runs_.size(); }

  private:
    stage_profile &                       profile_;
    const std::vector<device_run> &       runs_;
    size_t                                at_   = 0;
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace

// The section of every node. A device may bring nodes into another order when their memory is planned.
std::unordered_map<const ggml_tensor *, size_t> graph::sections_by_node() const {
    std::unordered_map<const ggml_tensor *, size_t> found;
    for (size_t i = 0; i < sections_.size(); i++) {
        const int end = i + 1 < sections_.size() ? sections_[i + 1].first : ggml_graph_n_nodes(nodes_);
        for (int node = sections_[i].first; node < end; node++) {
            found[ggml_graph_node(nodes_, node)] = i;
        }
    }
    return found;
}

// A run ends where the next node is of another section, or where the processor takes over from the device or gives back to it; what it does
// is a stage of its own.
void graph::run_on_device(const std::unordered_map<const ggml_tensor *, size_t> & section_of) {
    std::vector<device_run> runs;
    size_t                  current = sections_.size();
    bool                    falls   = false;
    for (int i = 0; i < ggml_graph_n_nodes(nodes_); i++) {
        ggml_tensor * node    = ggml_graph_node(nodes_, i);
        const size_t  section = section_of.at(node);
        const bool    changes = !ggml_op_is_empty(node->op) && backend_.gpu().falls_back(node) != falls;
        falls                 = falls != changes;
        if (section != current || changes) {
            runs.push_back({ sections_[section].name + std::string(falls ? stage_profile::on_processor : ""), node, 0 });
            current = section;
        }
        runs.back().last = node;
        runs.back().flop += section_flop(i, i + 1);
    }
    for (const auto & part : sections_) {
        if (part.flop > 0) {
            backend_.profile_->add(part.name, 0, part.flop);
        }
    }
    run_clock clock(*backend_.profile_, runs);
    backend_.compute(nodes_, &clock);
    if (!clock.complete()) {
        throw error("GME_INTERNAL", "a device ran a graph in another order than its nodes'");
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
