// Times our matrix product against ggml's: every kernel set this CPU has, every way to lay tokens out, beside ggml_mul_mat as it was built.
//
//     bench-matrix-product [runs] [threads] [types] [tokens]        default 3 0 f16,q8_0,q4_0 1,8,17,…; 0 threads: 1 and then 2
//
// A line is one number of tokens; the figures are the best run's GFLOP/s, laying out of tokens included. Contenders take turns within a
// run. Weights are read from memory: each pass takes another of several copies, together larger than the caches.
// "-": this kernel set has no such product for the type. "bytes" and "words" are products of whole numbers with tokens of 8
// and 16 bits, "rows" go along the file's rows.
#include "matrix-product.h"

#include "ggml-cpu.h"
#include "ggml.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace gme;

namespace {

struct aligned_delete {
    void operator()(char * at) const { ::operator delete[](at, std::align_val_t(64)); }
};

using aligned_bytes = std::unique_ptr<char[], aligned_delete>;

aligned_bytes aligned(size_t n) {
    return aligned_bytes(new (std::align_val_t(64)) char[n]);
}

// Threads that stay awake between pieces of work, so that waking them is not measured.
class thread_team {
  public:
    explicit thread_team(int n) : n_(n) {
        for (int i = 1; i < n; i++) {
            threads_.emplace_back([this, i] { follow(i); });
        }
    }
    ~thread_team() {
        work_ = nullptr;
        round_++;
        for (auto & thread : threads_) {
            thread.join();
        }
    }
    void run(const std::function<void(int)> & work) {
        work_ = &work;
        done_ = 0;
        round_++;
        work(0);
        while (done_ < n_ - 1) {
        }
    }

  private:
    void follow(int i) {
        for (int64_t seen = 0;;) {
            while (round_ == seen) {
            }
            seen++;
            if (work_ == nullptr) {
                return;
            }
            (*work_)(i);
            done_++;
        }
    }

    int                              n_;
    const std::function<void(int)> * work_ = nullptr;
    std::atomic<int64_t>             round_{ 0 };
    std::atomic<int>                 done_{ 0 };
    std::vector<std::thread>         threads_;
};

constexpr size_t cache_bytes = 160u << 20;  // what all copies of a weight take at least

// Copies of random weights; rows repeat after a few, which no product notices.
struct weight_copies {
    ggml_type         type;
    int64_t           n_in, n_out;
    size_t            row_size, n_copies;
    std::vector<char> bytes;

    weight_copies(ggml_type of, int64_t in, int64_t out) : type(of), n_in(in), n_out(out), row_size(ggml_row_size(of, in)) {
        constexpr int64_t  n_rows = 16;
        std::vector<float> numbers(static_cast<size_t>(n_rows * in));
        for (auto & number : numbers) {
            number = static_cast<float>(std::rand()) / static_cast<float>(RAND_MAX) - 0.5f;
        }
        const size_t size = row_size * static_cast<size_t>(out);
        n_copies          = cache_bytes / size + 1;
        bytes.resize(size * n_copies);
        const size_t made = ggml_quantize_chunk(of, numbers.data(), bytes.data(), 0, n_rows, in, nullptr);
        for (size_t at = made; at < bytes.size(); at += made) {
            std::memcpy(bytes.data() + at, bytes.data(), std::min(made, bytes.size() - at));
        }
    }
    char * copy(size_t i) { return bytes.data() + i % n_copies * row_size * static_cast<size_t>(n_out); }
};

struct tokens_of_bench {
    std::vector<float> numbers, out;
    tokens_of_bench(int64_t n_in, int64_t n_out, int64_t n) : numbers(static_cast<size_t>(n_in * n), 0.25f), out(static_cast<size_t>(n_out * n)) {
        for (size_t i = 0; i < numbers.size(); i++) {
            numbers[i] = static_cast<float>(i % 61) / 30.0f - 1.0f;
        }
    }
};

using contender = std::function<void(size_t pass)>;

contender ours(const product_kernels & kernels, token_form form, weight_copies & weight, tokens_of_bench & tokens, int64_t n, thread_team & team,
               const std::vector<aligned_bytes> & scratch, char * laid) {
    return [&, kernels, form, n, laid](size_t pass) {
        token_layout layout;
        layout.form        = form;
        layout.from        = tokens.numbers.data();
        layout.from_stride = layout.n_in = weight.n_in;
        layout.n_tokens    = n;
        layout.to          = laid;
        matrix_product product;
        product.form     = form;
        product.n_tokens = n;
        product.weights  = { { weight.type, weight.copy(pass), weight.n_in, weight.n_out, weight.row_size, nullptr } };
        const bool           is_rows = form == token_form::rows;
        std::atomic<int64_t> next{ 0 }, next_product{ 0 };
        if (!is_rows) {
            team.run([&](int) { lay_out_tokens(kernels, layout, next); });
        }
        const void * from = is_rows ? static_cast<const void *>(tokens.numbers.data()) : laid;
        team.run([&](int i) {
            run_product(kernels, product, tokens.out.data(), weight.n_out, from, weight.n_in, next_product, scratch[static_cast<size_t>(i)].get());
        });
    };
}

// ggml_mul_mat in a graph, on a pool that keeps polling.
class ggml_product {
  public:
    ggml_product(weight_copies & weight, tokens_of_bench & tokens, int64_t n, int n_threads) : weight_(weight) {
        ctx_              = ggml_init({ 1 << 20, nullptr, true });
        w_                = ggml_new_tensor_2d(ctx_, weight.type, weight.n_in, weight.n_out);
        ggml_tensor * x   = ggml_new_tensor_2d(ctx_, GGML_TYPE_F32, weight.n_in, n);
        ggml_tensor * out = ggml_mul_mat(ctx_, w_, x);
        x->data           = tokens.numbers.data();
        out->data         = tokens.out.data();
        graph_            = ggml_new_graph(ctx_);
        ggml_build_forward_expand(graph_, out);
        ggml_threadpool_params params = ggml_threadpool_params_default(n_threads);
        params.poll                   = 100;
        pool_                         = ggml_threadpool_new(&params);
        plan_                         = ggml_graph_plan(graph_, n_threads, pool_);
        work_.resize(plan_.work_size);
        plan_.work_data = work_.data();
    }
    ~ggml_product() {
        ggml_threadpool_free(pool_);
        ggml_free(ctx_);
    }
    ggml_product(const ggml_product &)             = delete;
    ggml_product & operator=(const ggml_product &) = delete;

    void run(size_t pass) {
        w_->data = weight_.copy(pass);
        ggml_graph_compute(graph_, &plan_);
    }

  private:
    weight_copies &      weight_;
    ggml_context *       ctx_;
    ggml_tensor *        w_;
    ggml_cgraph *        graph_;
    ggml_threadpool *    pool_;
    ggml_cplan           plan_;
    std::vector<uint8_t> work_;
};

double seconds(const contender & work, size_t first, size_t n) {
    const auto start = std::chrono::steady_clock::now();
    for (size_t i = 0; i < n; i++) {
        work(first + i);
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / static_cast<double>(n);
}

bool has_form(const product_kernels & kernels, token_form form, ggml_type type) {
    const bool is_float = type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
    const auto in       = [&](const block_kernels * blocks) {
        return blocks != nullptr && ((type == GGML_TYPE_Q8_0 && blocks->panel_from_q8_0 != nullptr) || (type == GGML_TYPE_Q4_0 && blocks->panel_from_q4_0 != nullptr));
    };
    switch (form) {
        case token_form::rows: return is_float;
        case token_form::byte_tiles: return in(kernels.matrix->bytes);
        case token_form::word_tiles: return in(kernels.matrix->words);
        default: return true;
    }
}

struct kernel_set {
    const char *    name;
    product_kernels kernels;
};

std::vector<kernel_set> kernel_sets() {
    std::vector<kernel_set> sets;
    const cpu_features      cpu = detect_cpu();
    if (cpu.level != cpu_level::portable) {
        sets.push_back({ "avx2", find_product_kernels({ cpu_level::avx2, false }) });
    }
    if (cpu.level == cpu_level::avx512) {
        sets.push_back({ "avx512", find_product_kernels(cpu) });
    }
    return sets;
}

struct form_name {
    token_form   form;
    const char * name;
};

constexpr form_name forms[] = { { token_form::rows, "rows" }, { token_form::tiles, "f32" }, { token_form::byte_tiles, "bytes" }, { token_form::word_tiles, "words" } };

// One line of the table: GFLOP/s of ggml and of each kernel set's forms.
void measure_line(const std::vector<kernel_set> & sets, weight_copies & weight, int64_t n, int n_threads, int runs) {
    tokens_of_bench            tokens(weight.n_in, weight.n_out, n);
    thread_team                team(n_threads);
    std::vector<aligned_bytes> scratch;
    for (int i = 0; i < n_threads; i++) {
        scratch.push_back(aligned(product_scratch_bytes()));
    }
    const auto             laid = aligned(token_form_bytes(token_form::tiles, weight.n_in, n));
    ggml_product           ggml(weight, tokens, n, n_threads);
    std::vector<contender> contenders = { [&](size_t pass) { ggml.run(pass); } };
    for (const auto & set : sets) {
        for (const auto & form : forms) {
            const bool has = has_form(set.kernels, form.form, weight.type);
            contenders.push_back(has ? ours(set.kernels, form.form, weight, tokens, n, team, scratch, laid.get()) : contender());
        }
    }
    const double        flop   = 2.0 * static_cast<double>(weight.n_in * weight.n_out * n);
    const auto          passes = static_cast<size_t>(std::max(1.0, 1e9 / flop));
    std::vector<double> best(contenders.size(), 1e9);
    for (int run = 0; run < runs; run++) {
        for (size_t i = 0; i < contenders.size(); i++) {
            best[i] = contenders[i] ? std::min(best[i], seconds(contenders[i], static_cast<size_t>(run) * passes, passes)) : best[i];
        }
    }
    std::printf("%5ld", static_cast<long>(n));
    for (size_t i = 0; i < contenders.size(); i++) {
        contenders[i] ? std::printf(" | %12.1f", flop / best[i] / 1e9) : std::printf(" | %12s", "-");
    }
    std::printf("\n");
    std::fflush(stdout);
}

void measure_type(ggml_type type, const std::vector<int64_t> & counts, int n_threads, int runs) {
    const auto sets = kernel_sets();
    for (const auto & shape : { std::pair<int64_t, int64_t>{ 1536, 8960 }, { 8960, 1536 }, { 1280, 5120 } }) {
        weight_copies weight(type, shape.first, shape.second);
        std::printf("\n%s, %ldx%ld, %d thread(s)\n    n | %12s", ggml_type_name(type), static_cast<long>(shape.first), static_cast<long>(shape.second), n_threads, "ggml");
        for (const auto & set : sets) {
            for (const auto & form : forms) {
                std::printf(" | %12s", (std::string(set.name) + " " + form.name).c_str());
            }
        }
        std::printf("\n");
        for (const int64_t n : counts) {
            measure_line(sets, weight, n, n_threads, runs);
        }
    }
}

}  // namespace

int main(int argc, char ** argv) {
    const int            runs      = argc > 1 ? std::atoi(argv[1]) : 3;
    const int            n_threads = argc > 2 ? std::atoi(argv[2]) : 0;
    const std::string    wanted    = std::string(",") + (argc > 3 ? argv[3] : "f16,q8_0,q4_0") + ",";
    std::vector<int64_t> counts;
    for (const char * at = argc > 4 ? argv[4] : "1,8,17,24,32,48,64,128,256,768,1564"; at != nullptr; at = std::strchr(at, ',')) {
        at += *at == ',' ? 1 : 0;
        counts.push_back(std::max(1L, std::atol(at)));
    }
    ggml_cpu_init();
    for (int i = 0; i < GGML_TYPE_COUNT; i++) {
        const auto   type = static_cast<ggml_type>(i);
        const char * name = ggml_type_name(type);
        if (name == nullptr || wanted.find(std::string(",") + name + ",") == std::string::npos) {
            continue;
        }
        for (const int threads : { 1, 2 }) {
            if (n_threads == 0 || n_threads == threads) {
                measure_type(type, counts, threads, runs);
            }
        }
    }
    return 0;
}
