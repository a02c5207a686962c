// roofline: what the machine can do at most -> two numbers that a profile is compared with.
//
//   product:  random weights [n_out, n_in] of the type, as in the file and in each layout that ggml repacks them into here
//             × random rows [n_tokens, n_in] f32 -> ggml_mul_mat, f32 accumulation
//             several sizes in turns until the time is over -> GFLOP/s of the fastest run of the fastest size
//   memory:   a buffer beyond the caches, a part per thread -> read in turns -> GB/s of the fastest pass
//
// On a device the same with weights and rows in its memory, as many products in a graph as it takes to hide the start of one; its memory is
// read by a product with one row.
//
// The product is ggml's and not ours on purpose: a yardstick that does not move when our kernels do. Short texts are bound by reading
// the weights, long ones and pictures by the product.

#include "roofline.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <thread>
#include <vector>

#include "backend.h"
#include "error.h"
#include "ggml-backend.h"
#include "number-quantisation.h"
#include "tensor-types.h"

namespace gme {

namespace {

using steady = std::chrono::steady_clock;

double seconds_since(steady::time_point start) {
    return std::chrono::duration<double>(steady::now() - start).count();
}

struct product_size {
    int64_t n_in, n_out, n_tokens;
    double  flop() const { return 2.0 * static_cast<double>(n_in) * static_cast<double>(n_out) * static_cast<double>(n_tokens); }
};

// Widths of the two models' layers, and a square between them; few rows first, which alone are tried when there is no time.
constexpr product_size product_sizes[] = {
    { 1536, 1536, 256 }, { 1536, 8960, 256 }, { 4096, 4096, 256 }, { 1536, 1536, 512 }, { 1536, 8960, 512 },
    { 4096, 4096, 512 }, { 1536, 1536, 1024 }, { 8960, 1536, 512 }, { 1536, 8960, 1024 },
};

// What keeps all of a large graphics card at work.
constexpr product_size device_sizes[] = { { 4096, 4096, 4096 }, { 8192, 8192, 4096 } };

// Uniform in ±1, the same numbers every time.
std::vector<float> random_numbers(size_t n) {
    std::vector<float> numbers(n);
    uint64_t           state = 0x9e3779b97f4a7c15;
    for (auto & number : numbers) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        number = static_cast<float>(static_cast<int64_t>(state) >> 40) / 8388608.0f;
    }
    return numbers;
}

ggml_backend_dev_t cpu_device() {
    return ggml_backend_reg_dev_get(find_cpu_library().registry(), 0);
}

// Buffer types whose weights ggml keeps in another layout on this machine, for faster products.
std::vector<ggml_backend_buffer_type_t> repacked_layouts() {
    std::vector<ggml_backend_buffer_type_t> found;
    const auto list = ggml_backend_reg_get_proc_address(find_cpu_library().registry(), "ggml_backend_dev_get_extra_bufts");
    if (list != nullptr) {
        auto * layouts = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(list)(cpu_device());
        for (; layouts != nullptr && *layouts != nullptr; layouts++) {
            found.push_back(*layouts);
        }
    }
    return found;
}

// The weights of one product, and the graph that multiplies by them.
class product {
  public:
    // `source` [n_out, n_in] of `type`, as a file holds it.
    product(backend & where, const tensor_type & type, const std::vector<char> & source, ggml_backend_buffer_type_t layout, const product_size & size)
        : where_(where), size_(size), numbers_(random_numbers(static_cast<size_t>(size.n_in * size.n_tokens))), context_(4) {
        weights_ = ggml_new_tensor_2d(context_.get(), static_cast<ggml_type>(type.id), size.n_in, size.n_out);
        rows_    = ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, size.n_in, size.n_tokens);
        // A repacking layout takes some types and shapes only, and a device not all types.
        ggml_tensor * result = ggml_mul_mat(context_.get(), weights_, rows_);
        weights_buffer_      = allocate(layout, weights_);
        fits_                = where.on_device() ? where.gpu().supports(result) : ggml_backend_dev_supports_op(cpu_device(), result);
        if (fits_) {
            ggml_backend_tensor_set(weights_, source.data(), 0, source.size());
        }
        if (fits_ && where.on_device()) {
            constexpr int64_t results_max = 256 << 20;  // bytes
            n_products_  = where.gpu().entry().software ? 1 : std::clamp<int64_t>(results_max / static_cast<int64_t>(ggml_nbytes(result)), 1, 32);
            rows_buffer_ = allocate(layout, rows_);
            ggml_backend_tensor_set(rows_, numbers_.data(), 0, ggml_nbytes(rows_));
        }
    }

    bool fits() const { return fits_; }

    // Of one product.
    double run_seconds() {
        graph         build(where_, static_cast<size_t>(4 * n_products_));
        ggml_tensor * rows = where_.on_device() ? rows_ : build.input_f32(numbers_.data(), size_.n_in, size_.n_tokens);
        stage_profile profile;  // the products alone, behind host.plan, which copies the rows
        where_.set_profile(&profile);
        for (int64_t i = 0; i < n_products_; i++) {
            ggml_tensor * cur = ggml_mul_mat(build.context(), weights_, rows);  // [n_out, n_tokens]
            ggml_prec_set_acc(cur, GGML_PREC_F32);
            build.add(cur);
        }
        build.run();
        where_.set_profile(nullptr);
        return profile.stages().back().milliseconds / 1000 / static_cast<double>(n_products_);
    }

  private:
    static ggml_backend_buffer_ptr allocate(ggml_backend_buffer_type_t layout, ggml_tensor * tensor) {
        ggml_scope              scope(ggml_scope::on_failure::raise);
        ggml_backend_buffer_ptr buffer(ggml_backend_buft_alloc_buffer(layout, ggml_backend_buft_get_alloc_size(layout, tensor)));
        require_enough(scope, "for a product");
        if (!buffer) {
            throw error("GME_OUT_OF_MEMORY", "no memory for a product");
        }
        ggml_backend_tensor_alloc(buffer.get(), tensor, ggml_backend_buffer_get_base(buffer.get()));
        return buffer;
    }

    backend &               where_;
    product_size            size_;
    std::vector<float>      numbers_;  // [n_tokens, n_in]
    tensor_context          context_;
    ggml_backend_buffer_ptr weights_buffer_, rows_buffer_;
    ggml_tensor *           weights_    = nullptr;
    ggml_tensor *           rows_       = nullptr;  // on a device
    int64_t                 n_products_ = 1;        // in a graph
    bool                    fits_       = false;
};

std::vector<char> random_weights(const std::string & type, int32_t n_threads, const product_size & size) {
    const auto        numbers = random_numbers(static_cast<size_t>(size.n_in * size.n_out));
    std::vector<char> weights(row_size(type, size.n_in) * static_cast<size_t>(size.n_out));
    quantize_rows("f32", numbers.data(), size.n_out, size.n_in, type, n_threads, weights.data());
    return weights;
}

// Runs the product for so long, once at least, and keeps what beats the best.
void measure_product(product & current, const product_size & size, bool repacked, double seconds, gme_roofline & best) {
    const auto start = steady::now();
    current.run_seconds();  // faults pages in, wakes the threads
    do {
        const double gflops = size.flop() / current.run_seconds() / 1e9;
        if (gflops > best.gflops) {
            best.gflops   = gflops;
            best.n_in     = size.n_in;
            best.n_out    = size.n_out;
            best.n_tokens = size.n_tokens;
            best.repacked = repacked;
        }
    } while (seconds_since(start) < seconds);
}

std::vector<ggml_backend_buffer_type_t> layouts_of(const backend & where) {
    if (where.on_device()) {
        return { where.gpu().memory_type() };
    }
    std::vector<ggml_backend_buffer_type_t> layouts = repacked_layouts();
    layouts.insert(layouts.begin(), ggml_backend_cpu_buffer_type());
    return layouts;
}

// One size after the other, so that only one size's weights are in memory; each for an equal part of the time. A device may be a
// thousand times faster than another: sizes that would take it too long are left out.
void measure_products(backend & where, const std::string & type, int32_t n_threads, double seconds, gme_roofline & best) {
    const auto                layouts = layouts_of(where);
    std::vector<product_size> sizes(std::begin(product_sizes), std::end(product_sizes));
    if (where.on_device()) {
        sizes.insert(sizes.end(), std::begin(device_sizes), std::end(device_sizes));
    }
    const double seconds_each = seconds / static_cast<double>(sizes.size() * layouts.size());
    for (const auto & size : sizes) {
        if (row_size(type, size.n_in) == 0) {
            continue;  // no whole number of blocks
        }
        if (seconds == 0 && size.n_tokens > 256) {
            break;
        }
        if (where.on_device() && best.gflops > 0 && size.flop() / 1e9 / best.gflops > 0.1 + seconds_each) {
            continue;
        }
        const auto weights = random_weights(type, n_threads, size);
        for (const auto layout : layouts) {
            product current(where, *find_tensor_type(type), weights, layout, size);
            if (current.fits()) {
                measure_product(current, size, layout != layouts.front(), seconds_each, best);
            }
        }
    }
}

// Reads [begin, end) and answers something that depends on every word, so that no read is left out.
uint64_t fold_words(const uint64_t * begin, const uint64_t * end) {
    constexpr size_t width = 16;  // independent chains, as many as fill the SIMD registers
    uint64_t         folded[width] = {};
    for (; begin + width <= end; begin += width) {
        for (size_t i = 0; i < width; i++) {
            folded[i] ^= begin[i];
        }
    }
    uint64_t all = 0;
    for (const uint64_t word : folded) {
        all ^= word;
    }
    return all;
}

double read_pass(const std::vector<uint64_t> & words, int32_t n_threads, std::vector<uint64_t> & folded) {
    const auto               start = steady::now();
    const size_t             part  = words.size() / static_cast<size_t>(n_threads);
    std::vector<std::thread> others;
    const auto               read_part = [&](size_t i) { folded[i] ^= fold_words(words.data() + i * part, words.data() + (i + 1) * part); };
    size_t                   n_started = 1;  // the first part is the caller's own
    try {
        for (; n_started < static_cast<size_t>(n_threads); n_started++) {
            others.emplace_back(read_part, n_started);
        }
    } catch (const std::exception &) {
        // No more threads are to be had: the caller reads what is left.
    }
    read_part(0);
    for (; n_started < static_cast<size_t>(n_threads); n_started++) {
        read_part(n_started);
    }
    for (auto & other : others) {
        other.join();
    }
    return static_cast<double>(part * static_cast<size_t>(n_threads) * sizeof(uint64_t)) / seconds_since(start) / 1e9;
}

double measure_reading(backend & cpu, int32_t n_threads, double seconds) {
    constexpr size_t      n_bytes = 384u << 20;  // caches of a server's chip share reach hundreds of MiB, a core's part does not
    std::vector<uint64_t> words(n_bytes / sizeof(uint64_t), 0x0123456789abcdef);
    std::vector<uint64_t> folded(static_cast<size_t>(n_threads));
    const auto            start = steady::now();
    double                best  = 0;
    do {
        cpu.check_abort();
        best = std::max(best, read_pass(words, n_threads, folded));
    } while (seconds_since(start) < seconds);
    return best;
}

// A product by one row reads all weights once.
double measure_device_reading(backend & where, const std::string & type, int32_t n_threads, double seconds) {
    constexpr int64_t  n_in = 4096, rows_at_once = 1024;
    const size_t       n_bytes = (where.gpu().entry().software ? 8u : 256u) << 20;
    const auto         some    = random_weights(type, n_threads, { n_in, rows_at_once, 1 });
    const auto         times   = std::max<size_t>(1, n_bytes / some.size());
    std::vector<char>  weights;
    weights.reserve(times * some.size());
    for (size_t i = 0; i < times; i++) {
        weights.insert(weights.end(), some.begin(), some.end());
    }
    product    reading(where, *find_tensor_type(type), weights, where.gpu().memory_type(), { n_in, static_cast<int64_t>(times) * rows_at_once, 1 });
    const auto start = steady::now();
    double     best  = 0;
    if (!reading.fits()) {
        return 0;
    }
    reading.run_seconds();
    do {
        best = std::max(best, static_cast<double>(weights.size()) / reading.run_seconds() / 1e9);
    } while (seconds_since(start) < seconds);
    return best;
}

gme_roofline measure_device(const std::string & type, const std::string & name, int32_t n_threads, double seconds, gme_abort_callback abort, void * abort_data) {
    gme_roofline roofline = {};
    backend      there(n_threads, std::make_unique<device>(find_device(name), n_threads));
    there.set_abort(abort, abort_data);
    measure_products(there, type, n_threads, 0.85 * seconds, roofline);
    if (roofline.gflops == 0) {
        throw error("GME_OPTION_INVALID", name + " cannot multiply by weights of type " + type).at_field("type").found(type).wanted("a type that the device knows");
    }
    roofline.read_gigabytes_per_second = measure_device_reading(there, type, n_threads, 0.15 * seconds);
    return roofline;
}

}  // namespace

gme_roofline measure_roofline(const std::string & type, const std::string & device, int32_t n_threads, double seconds, gme_abort_callback abort, void * abort_data) {
    const auto * found = find_tensor_type(type);
    if (found == nullptr || !found->multiplies) {
        throw error("GME_OPTION_INVALID", printable(type) + " is no type of weights").at_field("type").found(printable(type)).wanted(multipliable_types());
    }
    if (n_threads < 1 || n_threads > 512) {
        throw error("GME_OPTION_INVALID", "threads out of range").at_field("threads").found(n_threads).wanted("1…512");
    }
    if (!(seconds >= 0 && seconds <= 600)) {
        throw error("GME_OPTION_INVALID", "seconds out of range").at_field("seconds").found(std::to_string(seconds)).wanted("0…600");
    }
    if (!device.empty() && device != "cpu") {
        return measure_device(type, device, n_threads, seconds, abort, abort_data);
    }
    gme_roofline roofline = {};
    backend      cpu(n_threads);
    cpu.set_abort(abort, abort_data);
    measure_products(cpu, type, n_threads, 0.85 * seconds, roofline);
    roofline.read_gigabytes_per_second = measure_reading(cpu, n_threads, 0.15 * seconds);
    return roofline;
}

}  // namespace gme
