// Times the attention kernel against the most this CPU's multiply-adds give, per instruction set, on 1 and 2 threads.
//
//     bench-attention-kernel [runs]        default 5
//
// Contenders take turns within a run. Peak: independent multiply-adds that stay in registers, the same number of threads, in the same run.
// On a busy machine look at `cores`: where it is below the number of threads, `wall` tells of the other processes, not of the kernel.
#include "attention-kernel.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <thread>

#if defined(__x86_64__) && defined(__GNUC__)
#if !defined(__clang__) && __GNUC__ < 13
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#endif

using namespace gme;

namespace {

#if defined(__x86_64__) && defined(__GNUC__)

constexpr int64_t peak_steps = 8 << 20;

// Sums by name and not in an array: GCC leaves an array of them in memory, and the loop then measures loads and stores.
#define GME_STEP_4(fma, c, a0, a1, a2, a3)                                  \
    a0 = fma(a0, c, c), a1 = fma(a1, c, c), a2 = fma(a2, c, c), a3 = fma(a3, c, c); \
    __asm__ volatile("" : "+v"(a0), "+v"(a1), "+v"(a2), "+v"(a3))

__attribute__((target("avx2,fma"))) double peak_avx2() {
    const __m256 c = _mm256_set1_ps(0.5f);
    __m256       a0 = c, a1 = c, a2 = c, a3 = c, a4 = c, a5 = c, a6 = c, a7 = c, a8 = c, a9 = c, a10 = c, a11 = c;
    for (int64_t i = 0; i < peak_steps; i++) {
        GME_STEP_4(_mm256_fmadd_ps, c, a0, a1, a2, a3);
        GME_STEP_4(_mm256_fmadd_ps, c, a4, a5, a6, a7);
        GME_STEP_4(_mm256_fmadd_ps, c, a8, a9, a10, a11);
    }
    return 2.0 * 8 * 12 * peak_steps;
}

__attribute__((target("avx512f"))) double peak_avx512() {
    const __m512 c = _mm512_set1_ps(0.5f);
    __m512       a0 = c, a1 = c, a2 = c, a3 = c, a4 = c, a5 = c, a6 = c, a7 = c, a8 = c, a9 = c, a10 = c, a11 = c;
    for (int64_t i = 0; i < peak_steps; i++) {
        GME_STEP_4(_mm512_fmadd_ps, c, a0, a1, a2, a3);
        GME_STEP_4(_mm512_fmadd_ps, c, a4, a5, a6, a7);
        GME_STEP_4(_mm512_fmadd_ps, c, a8, a9, a10, a11);
    }
    return 2.0 * 16 * 12 * peak_steps;
}

double run_peak(cpu_level level) {
    return level == cpu_level::avx512 ? peak_avx512() : level == cpu_level::avx2 ? peak_avx2() : 0;
}

#else

double run_peak(cpu_level) {
    return 0;
}

#endif

struct rate {
    double wall  = 0;  // GFLOP per second of wall time, all threads
    double cpu   = 0;  // GFLOP per second that a thread had a core: what other processes take does not count
    double cores = 0;  // cores that the threads had at once; fewer than threads when others compete
};

// `work` answers its operations; in all threads at once.
rate timed(int n_threads, const std::function<double()> & work) {
    std::vector<std::thread> others;
    std::vector<double>      flop(static_cast<size_t>(n_threads));
    const auto               begin     = std::chrono::steady_clock::now();
    const std::clock_t       cpu_begin = std::clock();
    for (int i = 1; i < n_threads; i++) {
        others.emplace_back([&, i] { flop[static_cast<size_t>(i)] = work(); });
    }
    flop[0] = work();
    for (auto & thread : others) {
        thread.join();
    }
    const double cpu     = static_cast<double>(std::clock() - cpu_begin) / CLOCKS_PER_SEC;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    double       sum     = 0;
    for (const double part : flop) {
        sum += part;
    }
    return { sum / seconds / 1e9, sum / cpu / 1e9, cpu / seconds };
}

struct bench_case {
    const char *                   title;
    attention_shape                shape;
    std::vector<attention_segment> segments;
    int64_t                        n_rows = 0;
};

// n_segments of n queries over their own keys, all behind one prefix of n_prefix keys.
bench_case make_case(const char * title, attention_shape shape, int64_t n_segments, int64_t n, bool causal, int64_t n_prefix = 0) {
    bench_case work = { title, shape, {}, n_prefix + n_segments * n };
    for (int64_t i = 0; i < n_segments; i++) {
        attention_segment segment;
        segment.queries = { i * n, (i + 1) * n };
        segment.keys    = { n_prefix + i * n, n_prefix + (i + 1) * n };
        segment.causal  = causal;
        if (n_prefix > 0) {
            segment.earlier.push_back({ 0, n_prefix });
        }
        work.segments.push_back(segment);
    }
    return work;
}

std::vector<float> waves(int64_t n, float step) {
    std::vector<float> numbers(static_cast<size_t>(n));
    for (size_t i = 0; i < numbers.size(); i++) {
        numbers[i] = std::sin(static_cast<float>(i % 100003) * step) * 1.5f;
    }
    return numbers;
}

struct case_data {
    explicit case_data(const bench_case & work)
        : q(waves(work.n_rows * work.shape.n_head * work.shape.n_embd_head, 0.37f)), k(waves(work.n_rows * work.shape.n_head_kv * work.shape.n_embd_head, 0.53f)),
          v(waves(work.n_rows * work.shape.n_head_kv * work.shape.n_embd_head, 0.71f)), out(q.size()) {}

    std::vector<float> q, k, v, out;
};

rate time_case(cpu_level level, const bench_case & work, case_data & data, int n_threads) {
    const int64_t           q_stride = work.shape.n_head * work.shape.n_embd_head, kv_stride = work.shape.n_head_kv * work.shape.n_embd_head;
    const attention_tensors tensors  = { data.q.data(), data.k.data(), data.v.data(), data.out.data(), q_stride, kv_stride, kv_stride, q_stride };
    const double            flop     = attention_flop(work.shape, work.segments);
    const int               n_times  = std::max(1, static_cast<int>(1e9 / flop));  // short work several times over
    std::vector<std::atomic<int64_t>> next(static_cast<size_t>(n_times));
    return timed(n_threads, [&] {
        std::vector<float> scratch(attention_scratch_floats(work.shape));
        for (auto & counter : next) {
            run_attention(level, work.shape, work.segments, tensors, n_threads, counter, scratch.data());
        }
        return flop * n_times / n_threads;
    });
}

double median_of(const std::vector<rate> & rates, double rate::* member) {
    std::vector<double> numbers;
    for (const auto & one : rates) {
        numbers.push_back(one.*member);
    }
    std::sort(numbers.begin(), numbers.end());
    return numbers[numbers.size() / 2];
}

void print_row(const char * title, const std::vector<rate> & rates, double peak) {
    const auto by_cpu  = [](const rate & a, const rate & b) { return a.cpu < b.cpu; };
    const auto extreme = std::minmax_element(rates.begin(), rates.end(), by_cpu);
    const double median = median_of(rates, &rate::cpu);
    std::printf("    %-34s %6.1f %6.1f %6.1f", title, extreme.first->cpu, median, extreme.second->cpu);
    if (peak > 0) {
        std::printf("  %4.0f %%", 100 * median / peak);
    }
    std::printf("   %7.1f %6.2f\n", median_of(rates, &rate::wall), median_of(rates, &rate::cores));
}

void bench_level(const char * name, cpu_level level, const std::vector<bench_case> & cases, int n_threads, int n_runs) {
    std::vector<std::vector<rate>> rates(cases.size() + 1);
    std::vector<case_data>           data;
    for (const auto & work : cases) {
        data.emplace_back(work);
    }
    for (int run = 0; run < n_runs; run++) {
        rates[0].push_back(timed(n_threads, [&] { return run_peak(level); }));
        for (size_t i = 0; i < cases.size(); i++) {
            rates[i + 1].push_back(time_case(level, cases[i], data[i], n_threads));
        }
    }
    std::printf("%s, %d thread%s: GFLOP per core second\n    %-34s %6s %6s %6s  %6s   %7s %6s\n", name, n_threads, n_threads == 1 ? "" : "s", "", "min", "median",
                "max", "peak", "wall", "cores");
    const double peak = median_of(rates[0], &rate::cpu);
    print_row("multiply-adds in registers", rates[0], peak);
    for (size_t i = 0; i < cases.size(); i++) {
        print_row(cases[i].title, rates[i + 1], peak);
    }
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char ** argv) {
    const int               n_runs = argc > 1 ? std::max(1, std::atoi(argv[1])) : 5;
    const bool              small  = argc > 2;  // without the longest, for a quick look
    const attention_shape   vision = { 80, 16, 16, 1.0f / std::sqrt(80.0f) }, text = { 128, 12, 2, 1.0f / std::sqrt(128.0f) };
    std::vector<bench_case> cases = { make_case("vision, 1024 patches", vision, 1, 1024, false), make_case("vision, 1564 patches", vision, 1, 1564, false),
                                      make_case("text, 411 tokens, 12/2 heads", text, 1, 411, true), make_case("text, 1271 tokens, 12/2 heads", text, 1, 1271, true),
                                      make_case("64 texts of 17 after a prefix of 14", text, 64, 17, true, 14), make_case("one text of 17 after 14", text, 1, 17, true, 14) };
    if (!small) {
        cases.insert(cases.begin() + 2, make_case("vision, 4888 patches", vision, 1, 4888, false));
    }
    const struct {
        const char * name;
        cpu_level    level;
    } levels[] = { { "avx512", cpu_level::avx512 }, { "avx2", cpu_level::avx2 } };
    for (const int n_threads : { 2, 1 }) {
        for (const auto & at : levels) {
            if (detect_cpu().level >= at.level) {
                bench_level(at.name, at.level, cases, n_threads, n_runs);
            }
        }
    }
    if (small) {
        cases.erase(cases.begin() + 1, cases.end());
        bench_level("portable", cpu_level::portable, cases, 1, 1);
    }
    return 0;
}
