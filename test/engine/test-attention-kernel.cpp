// The attention kernel on every instruction set of this CPU against a plain one in double precision, and against itself: other
// numbers of threads, other company, keys as a prefix or as own ones. Large scores, and numbers that are none.
#include "attention-kernel.h"
#include "checks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <thread>

using checks::check;
using namespace gme;

namespace {

struct attention_case {
    attention_shape                shape;
    std::vector<attention_segment> segments;
    std::vector<float>             q, k, v;
    int64_t                        n_queries = 0, q_stride = 0, kv_stride = 0;
    std::string                    title;
};

using random_source = std::mt19937;

int64_t between(random_source & random, int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
}

// A range of n rows somewhere among n_rows.
row_range some_rows(random_source & random, int64_t n, int64_t n_rows) {
    const int64_t begin = between(random, 0, n_rows - n);
    return { begin, begin + n };
}

void fill(random_source & random, std::vector<float> & numbers, int64_t n, float deviation) {
    std::normal_distribution<float> normal(0.0f, deviation);
    numbers.resize(static_cast<size_t>(n));
    for (auto & number : numbers) {
        number = normal(random);
    }
}

void fill_tensors(random_source & random, attention_case & work, int64_t n_rows, float deviation) {
    work.q_stride  = work.shape.n_head * work.shape.n_embd_head + between(random, 0, 2) * 4;
    work.kv_stride = work.shape.n_head_kv * work.shape.n_embd_head + between(random, 0, 2) * 4;
    fill(random, work.q, work.n_queries * work.q_stride, deviation);
    fill(random, work.k, n_rows * work.kv_stride, deviation);
    fill(random, work.v, n_rows * work.kv_stride, 1.0f);
}

attention_case make_case(random_source & random, float deviation) {
    static const int64_t heads[][2] = { { 1, 1 }, { 4, 2 }, { 12, 2 }, { 16, 16 }, { 7, 1 } };
    static const int64_t widths[]   = { 16, 20, 32, 40, 64, 80, 128 };
    attention_case       work;
    const auto &         head  = heads[between(random, 0, 4)];
    const int64_t        width = widths[between(random, 0, 6)];
    work.shape                 = { width, head[0], head[1], 1.0f / std::sqrt(static_cast<float>(width)) };
    const int64_t n_rows       = 700;
    const int64_t longest      = between(random, 0, 3) == 0 ? 300 : 40;
    const int64_t n_segments   = between(random, 1, 5);
    for (int64_t i = 0; i < n_segments; i++) {
        attention_segment segment;
        const int64_t     n = between(random, 1, longest);
        segment.queries     = { work.n_queries, work.n_queries + n };
        work.n_queries += n;
        segment.causal       = between(random, 0, 2) > 0;
        segment.query_offset = segment.causal ? between(random, 0, 1) * between(random, 0, 100) : 0;
        segment.keys         = some_rows(random, segment.causal ? n + segment.query_offset : between(random, 1, longest), n_rows);
        for (int64_t e = between(random, -1, 3); e > 0; e--) {
            segment.earlier.push_back(some_rows(random, between(random, 0, 60), n_rows));
        }
        work.segments.push_back(segment);
    }
    fill_tensors(random, work, n_rows, deviation);
    work.title = std::to_string(head[0]) + "/" + std::to_string(head[1]) + " heads of " + std::to_string(width);
    return work;
}

std::vector<float> run(cpu_level level, const attention_case & work, const std::vector<attention_segment> & segments, int n_threads) {
    std::vector<float> out(work.q.size(), -7.0f);
    attention_tensors  tensors = { work.q.data(), work.k.data(), work.v.data(), out.data(), work.q_stride, work.kv_stride, work.kv_stride, work.q_stride };
    std::atomic<int64_t> next{ 0 };
    const auto           call = [&] {
        // NaN everywhere: nothing may be read that was not written
        std::vector<float> scratch(attention_scratch_floats(work.shape), std::numeric_limits<float>::quiet_NaN());
        run_attention(level, work.shape, segments, tensors, n_threads, next, scratch.data());
    };
    std::vector<std::thread> others;
    for (int i = 1; i < n_threads; i++) {
        others.emplace_back(call);
    }
    call();
    for (auto & thread : others) {
        thread.join();
    }
    return out;
}

std::vector<float> run(cpu_level level, const attention_case & work, int n_threads = 1) {
    return run(level, work, work.segments, n_threads);
}

std::vector<int64_t> seen_rows(const attention_segment & segment, int64_t query) {
    std::vector<int64_t> rows;
    for (const auto & range : segment.earlier) {
        for (int64_t row = range.begin; row < range.end; row++) {
            rows.push_back(row);
        }
    }
    const int64_t end = segment.causal ? std::min(segment.keys.end, segment.keys.begin + segment.query_offset + query + 1) : segment.keys.end;
    for (int64_t row = segment.keys.begin; row < end; row++) {
        rows.push_back(row);
    }
    return rows;
}

// In the arithmetic of `number`, one sum after the other.
template <typename number>
void reference_query(const attention_case & work, const std::vector<int64_t> & rows, int64_t query, int64_t head, number * out) {
    const int64_t       width  = work.shape.n_embd_head;
    const int64_t       offset = head / (work.shape.n_head / work.shape.n_head_kv) * width;
    const float *       q      = work.q.data() + query * work.q_stride + head * width;
    std::vector<number> scores;
    for (const int64_t row : rows) {
        number score = 0;
        for (int64_t i = 0; i < width; i++) {
            score += static_cast<number>(q[i]) * work.k[static_cast<size_t>(row * work.kv_stride + offset + i)];
        }
        scores.push_back(score * work.shape.scale);
    }
    const number top = *std::max_element(scores.begin(), scores.end());
    number       sum = 0;
    std::fill(out, out + width, number(0));
    for (size_t j = 0; j < rows.size(); j++) {
        const number weight = std::exp(scores[j] - top);
        sum += weight;
        for (int64_t i = 0; i < width; i++) {
            out[i] += weight * work.v[static_cast<size_t>(rows[j] * work.kv_stride + offset + i)];
        }
    }
    for (int64_t i = 0; i < width; i++) {
        out[i] /= sum;
    }
}

template <typename number> std::vector<number> reference(const attention_case & work) {
    std::vector<number> out(work.q.size(), number(-7));
    for (const auto & segment : work.segments) {
        for (int64_t i = 0; i < segment.queries.end - segment.queries.begin; i++) {
            const auto    rows  = seen_rows(segment, i);
            const int64_t query = segment.queries.begin + i;
            for (int64_t head = 0; head < work.shape.n_head; head++) {
                reference_query<number>(work, rows, query, head, out.data() + query * work.q_stride + head * work.shape.n_embd_head);
            }
        }
    }
    return out;
}

// Largest difference, relative to the largest value; NaN when there is one.
double distance(const attention_case & work, const std::vector<float> & out, const std::vector<double> & expected) {
    double largest = 0, top = 0;
    for (const float value : work.v) {
        top = std::max(top, std::fabs(static_cast<double>(value)));
    }
    for (size_t i = 0; i < out.size(); i++) {
        const double difference = std::fabs(out[i] - expected[i]);
        largest = difference <= largest ? largest : difference;
    }
    return largest / top;
}

bool same_bits(const std::vector<float> & a, const std::vector<float> & b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

struct level_name {
    cpu_level    level;
    const char * name;
};

std::vector<level_name> levels_here() {
    std::vector<level_name> levels = { { cpu_level::portable, "portable" } };
    if (detect_cpu().level >= cpu_level::avx2) {
        levels.push_back({ cpu_level::avx2, "avx2" });
    }
    if (detect_cpu().level >= cpu_level::avx512) {
        levels.push_back({ cpu_level::avx512, "avx512" });
    }
    return levels;
}

// Every query as a segment of its own, in reverse order.
std::vector<attention_segment> one_by_one(const std::vector<attention_segment> & segments) {
    std::vector<attention_segment> single;
    for (const auto & segment : segments) {
        for (int64_t i = 0; i < segment.queries.end - segment.queries.begin; i++) {
            attention_segment part = segment;
            part.queries           = { segment.queries.begin + i, segment.queries.begin + i + 1 };
            part.query_offset      = segment.query_offset + i;
            single.insert(single.begin(), part);
        }
    }
    return single;
}

// Causal segments without earlier keys: the first keys as earlier ones, the queries behind them as a later chunk.
std::vector<attention_segment> with_prefix(const std::vector<attention_segment> & segments, int64_t n_prefix) {
    std::vector<attention_segment> split;
    for (const auto & segment : segments) {
        attention_segment head = segment, rest = segment;
        head.queries.end = std::min(segment.queries.end, segment.queries.begin + n_prefix);
        head.keys.end    = segment.keys.begin + n_prefix;
        split.push_back(head);
        rest.queries.begin = head.queries.end;
        rest.keys.begin    = head.keys.end;
        rest.earlier       = { head.keys };
        if (rest.queries.begin < rest.queries.end) {
            split.push_back(rest);
        }
    }
    return split;
}

// deviation: of the numbers of q and k. Scores grow with its square, and so does what f32 must lose of them: beyond 1 the yardstick is
// the plain reference in f32, not the bound.
void check_random_cases(const level_name & at, int n_cases, float deviation) {
    random_source random(20240607);
    double        largest = 0, plain = 0;
    bool          threads = true, company = true;
    std::string   worst;
    for (int i = 0; i < n_cases; i++) {
        const attention_case work     = make_case(random, deviation);
        const auto           out      = run(at.level, work);
        const auto           expected = reference<double>(work);
        const double         differ   = distance(work, out, expected);
        plain                         = std::max(plain, distance(work, reference<float>(work), expected));
        if (!(differ <= largest)) {
            largest = differ;
            worst   = work.title;
        }
        threads = threads && same_bits(out, run(at.level, work, 2)) && same_bits(out, run(at.level, work, 3));
        company = company && same_bits(out, run(at.level, work, one_by_one(work.segments), 1));
    }
    char text[200];
    std::snprintf(text, sizeof(text), "%s: %d random shapes, deviation %.1f, against double precision: %.2e (%s), plain f32 %.2e", at.name, n_cases,
                  static_cast<double>(deviation), largest, worst.c_str(), plain);
    check(deviation <= 1.0f ? largest <= 2e-6 : largest <= plain, text);
    check(threads, std::string(at.name) + ": 1, 2 and 3 threads give the same bits");
    check(company, std::string(at.name) + ": every query alone gives the same bits");
}

attention_case causal_case(random_source & random, int64_t n, float deviation) {
    attention_case work;
    work.shape     = { 128, 12, 2, 1.0f / std::sqrt(128.0f) };
    work.n_queries = 2 * n;
    for (int64_t i = 0; i < 2; i++) {
        attention_segment segment;
        segment.queries = segment.keys = { i * n, (i + 1) * n };
        work.segments.push_back(segment);
    }
    fill_tensors(random, work, 2 * n, deviation);
    return work;
}

void check_prefix(const level_name & at) {
    random_source        random(7);
    const attention_case work = causal_case(random, 150, 1.0f);
    bool                 same = true;
    for (const int64_t n_prefix : { 1, 14, 96, 149 }) {
        same = same && same_bits(run(at.level, work), run(at.level, work, with_prefix(work.segments, n_prefix), 1));
    }
    check(same, std::string(at.name) + ": keys of a prefix or own keys, the same bits");
    attention_case none = work;
    none.segments.clear();
    check(run(at.level, none) == std::vector<float>(none.q.size(), -7.0f), std::string(at.name) + ": no segment, nothing written");
}

bool all_finite(const std::vector<float> & out) {
    return std::all_of(out.begin(), out.end(), [](float value) { return std::isfinite(value); });
}

void check_large_scores(const level_name & at) {
    random_source  random(11);
    bool           finite = true, bounded = true;
    for (const float deviation : { 30.0f, 300.0f, 1e4f }) {
        const attention_case work = causal_case(random, 130, deviation);
        const auto           out  = run(at.level, work);
        finite                    = finite && all_finite(out);
        bounded                   = bounded && std::all_of(out.begin(), out.end(), [](float value) { return std::fabs(value) <= 7.5f; });
    }
    attention_case same = causal_case(random, 130, 1.0f);
    std::fill(same.q.begin(), same.q.end(), -100.0f);  // all scores -1.1e5: weights alike
    std::fill(same.k.begin(), same.k.end(), 100.0f);
    const double differ = distance(same, run(at.level, same), reference<double>(same));
    check(finite && bounded, std::string(at.name) + ": large scores stay finite and inside the values");
    check(differ <= 2e-6, std::string(at.name) + ": equal large scores give the mean: " + std::to_string(differ));
}

void check_not_finite(const level_name & at) {
    random_source        random(13);
    const attention_case good = causal_case(random, 130, 1.0f);
    const auto           out  = run(at.level, good);
    bool                 reaches = true, stays = true;
    for (const float bad : { std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity() }) {
        for (int tensor = 0; tensor < 3; tensor++) {
            for (const int64_t row : { 0, 77, 129 }) {
                attention_case work    = good;
                auto &         numbers = tensor == 0 ? work.q : tensor == 1 ? work.k : work.v;
                const int64_t  stride  = tensor == 0 ? work.q_stride : work.kv_stride;
                numbers[static_cast<size_t>(row * stride + 5)] = bad;
                const auto broken = run(at.level, work);
                // head 0 sees head 0 of the keys: its query `row` is not finite, for keys and values the last one as well
                for (const int64_t query : { row, tensor == 0 ? row : int64_t(129) }) {
                    reaches = reaches && !std::isfinite(broken[static_cast<size_t>(query * good.q_stride + 5)]);
                }
                const size_t second = static_cast<size_t>(130 * good.q_stride);
                stays = stays && std::memcmp(broken.data() + second, out.data() + second, (out.size() - second) * sizeof(float)) == 0;
            }
        }
    }
    check(reaches, std::string(at.name) + ": NaN and infinities of q, k and v reach the queries that see them");
    check(stays, std::string(at.name) + ": and no other segment");
}

}  // namespace

int main() {
    for (const auto & at : levels_here()) {
        check_random_cases(at, 60, 1.0f);
        check_random_cases(at, 20, 2.5f);
        check_prefix(at);
        check_large_scores(at);
        check_not_finite(at);
    }
    const attention_shape shape = { 128, 12, 2, 1.0f };
    attention_segment     chunk;
    chunk.queries      = { 0, 2 };
    chunk.keys         = { 0, 5 };
    chunk.query_offset = 3;
    chunk.earlier      = { { 0, 10 } };
    check(attention_flop(shape, { chunk }) == 4.0 * 128 * 12 * (14 + 15), "operations are counted per key that is seen");
    check(attention_supports(shape) && !attention_supports({ 42, 1, 1, 1.0f }) && !attention_supports({ 64, 3, 2, 1.0f }), "shapes it does not take are named");
    return checks::result();
}
