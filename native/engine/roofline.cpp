// roofline: what the machine can do at most -> two numbers that a profile is compared with.
//
//   product:  random weights [n_out, n_in] of the type, as in the file and in each layout that ggml repacks them into here
//             × random rows [n_tokens, n_in] f32 -> ggml_mul_mat, f32 accumulation
//             several sizes in turns until the time is over -> GFLOP/s of the fastest run of the fastest size
//   memory:   a buffer beyond the caches, a part per thread -> read in turns -> GB/s of the fastest pass
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
    product(backend & cpu, const tensor_type & type, const std::vector<char> & source, ggml_backend_buffer_type_t layout, const product_size & size)
        : cpu_(cpu), size_(size), rows_(random_numbers(static_cast<size_t>(size.n_in * size.n_tokens))), context_(3) {
        ggml_scope scope(ggml_scope::on_failure::raise);
        weights_ = ggml_new_tensor_2d(context_.get(), static_cast<ggml_type>(type.id), size.n_in, size.n_out);
        buffer_.reset(ggml_backend_buft_alloc_buffer(layout, ggml_backend_buft_get_alloc_size(layout, weights_)));
        require_enough(scope, "for the weights of a product");
        if (!buffer_) {
            throw error("GME_OUT_OF_MEMORY", "no memory for the weights of a product");
        }
        ggml_backend_tensor_alloc(buffer_.get(), weights_, ggml_backend_buffer_get_base(buffer_.get()));
        ggml_tensor * rows = ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, size.n_in, size.n_tokens);
        // A repacking layout takes some types and shapes only.
        fits_ = ggml_backend_dev_supports_op(cpu_device(), ggml_mul_mat(context_.get(), weights_, rows));
        if (fits_) {
            ggml_backend_tensor_set(weights_, source.data(), 0, source.size());
        }
    }

    bool fits() const { return fits_; }

    double run_seconds() {
        graph         build(cpu_, 4);
        ggml_tensor * rows = build.input_f32(rows_.data(), size_.n_in, size_.n_tokens);
        ggml_tensor * cur  = ggml_mul_mat(build.context(), weights_, rows);  // [n_out, n_tokens]
        ggml_prec_set_acc(cur, GGML_PREC_F32);
        stage_profile profile;  // the product alone, without the copy of the rows
        cpu_.set_profile(&profile);
        build.add(cur);
        build.run();
        cpu_.set_profile(nullptr);
        return profile.stages().front().milliseconds / 1000;
    }

  private:
    backend &               cpu_;
    product_size            size_;
    std::vector<float>      rows_;  // [n_tokens, n_in]
    tensor_context          context_;
    ggml_backend_buffer_ptr buffer_;
    ggml_tensor *           weights_ = nullptr;
    bool                    fits_    = false;
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

// One size after the other, so that only one size's weights are in memory; each for an equal part of the time.
void measure_products(backend & cpu, const std::string & type, int32_t n_threads, double seconds, gme_roofline & best) {
    std::vector<ggml_backend_buffer_type_t> layouts = repacked_layouts();
    layouts.insert(layouts.begin(), ggml_backend_cpu_buffer_type());
    const double seconds_each = seconds / static_cast<double>(std::size(product_sizes) * layouts.size());
    for (const auto & size : product_sizes) {
        if (row_size(type, size.n_in) == 0) {
            continue;  // no whole number of blocks
        }
        if (seconds == 0 && size.n_tokens > 256) {
            break;
        }
        const auto weights = random_weights(type, n_threads, size);
        for (const auto layout : layouts) {
            product current(cpu, *find_tensor_type(type), weights, layout, size);
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

}  // namespace

gme_roofline measure_roofline(const std::string & type, int32_t n_threads, double seconds, gme_abort_callback abort, void * abort_data) {
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
    gme_roofline roofline = {};
    backend      cpu(n_threads);
    cpu.set_abort(abort, abort_data);
    measure_products(cpu, type, n_threads, 0.85 * seconds, roofline);
    roofline.read_gigabytes_per_second = measure_reading(cpu, n_threads, 0.15 * seconds);
    return roofline;
}

}  // namespace gme
