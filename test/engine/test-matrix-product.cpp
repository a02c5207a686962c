// Our matrix product against sums in double: every weight type it takes, every instruction set this processor has, ends, odd sizes.
#include "checks.h"
#include "matrix-product.h"

#include "ggml-cpu.h"
#include "ggml.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>

using checks::check;

namespace {

struct generator {
    uint32_t state = 2463534242u;
    float    next() {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        return static_cast<float>(state) / 2147483648.0f - 1.0f;
    }
};

// Weights of a type and the numbers they stand for.
struct test_weight {
    std::vector<float>   numbers;
    std::vector<char>    bytes;
    std::vector<float>   bias;
    gme::product_weight  view;

    test_weight(generator & random, ggml_type type, int64_t n_in, int64_t n_out) : numbers(static_cast<size_t>(n_in * n_out)), bias(static_cast<size_t>(n_out)) {
        for (auto & number : numbers) {
            number = random.next();
        }
        for (auto & number : bias) {
            number = random.next();
        }
        const size_t row = ggml_row_size(type, n_in);
        bytes.resize(row * static_cast<size_t>(n_out));
        ggml_quantize_init(type);
        ggml_quantize_chunk(type, numbers.data(), bytes.data(), 0, n_out, n_in, nullptr);
        if (type == GGML_TYPE_F32) {
            std::memcpy(bytes.data(), numbers.data(), bytes.size());
        } else {
            ggml_get_type_traits(type)->to_float(bytes.data(), numbers.data(), n_in * n_out);
        }
        view.type     = type;
        view.data     = bytes.data();
        view.n_in     = n_in;
        view.n_out    = n_out;
        view.row_size = row;
        view.bias     = bias.data();
    }
};

void on_threads(int n_threads, const std::function<void(int)> & work) {
    std::vector<std::thread> threads;
    for (int i = 0; i < n_threads; i++) {
        threads.emplace_back(work, i);
    }
    for (auto & thread : threads) {
        thread.join();
    }
}

struct aligned_delete {
    void operator()(char * at) const { ::operator delete[](at, std::align_val_t(64)); }
};

using aligned_bytes = std::unique_ptr<char[], aligned_delete>;

aligned_bytes aligned(size_t n) {
    return aligned_bytes(new (std::align_val_t(64)) char[n]);
}

struct test_case {
    gme::token_form      form;
    gme::row_norm        norm;
    gme::product_end     end;
    int64_t              n_tokens;
    int                  n_threads;
};

// out [n_tokens, n_columns]
std::vector<float> run_ours(const gme::product_kernels & kernels, const std::vector<test_weight> & weights, const std::vector<float> & tokens,
                            const std::vector<float> & norm_weight, const std::vector<float> & norm_bias, const test_case & what, int64_t n_columns) {
    gme::matrix_product product;
    for (const auto & weight : weights) {
        product.weights.push_back(weight.view);
    }
    const int64_t n_in = weights[0].view.n_in;
    product.form       = what.form;
    product.n_tokens   = what.n_tokens;
    product.end        = what.end;
    gme::token_layout layout;
    layout.form        = what.form;
    layout.norm        = what.norm;
    layout.weight      = norm_weight.data();
    layout.bias        = what.norm == gme::row_norm::layer ? norm_bias.data() : nullptr;
    layout.eps         = 1e-6f;
    layout.from        = tokens.data();
    layout.from_stride = n_in + 3;
    layout.n_in        = n_in;
    layout.n_tokens    = what.n_tokens;
    const auto laid    = aligned(gme::token_form_bytes(what.form, n_in, what.n_tokens));
    layout.to          = laid.get();
    std::vector<float>   out(static_cast<size_t>(what.n_tokens * n_columns), 0.25f);
    std::atomic<int64_t> next{ 0 }, next_product{ 0 };
    const bool           as_it_is = what.form == gme::token_form::rows && what.norm == gme::row_norm::none;
    if (!as_it_is) {
        on_threads(what.n_threads, [&](int) { gme::lay_out_tokens(kernels, layout, next); });
    }
    on_threads(what.n_threads, [&](int) {
        const auto scratch = aligned(gme::product_scratch_bytes());
        gme::run_product(kernels, product, out.data(), n_columns, as_it_is ? static_cast<const void *>(tokens.data()) : laid.get(), as_it_is ? n_in + 3 : n_in, next_product, scratch.get());
    });
    return out;
}

double end_of(gme::product_end end, double first, double second) {
    switch (end) {
        case gme::product_end::add: return first + 0.25;
        case gme::product_end::quick_gelu: return first / (1 + std::exp(-1.702 * first));
        case gme::product_end::erf_gelu: return 0.5 * first * (1 + std::erf(first / std::sqrt(2.0)));
        case gme::product_end::silu_gate: return first / (1 + std::exp(-first)) * second;
        default: return first;
    }
}

// The normed tokens in double, [n_tokens, n_in].
std::vector<double> normed(const std::vector<float> & tokens, const std::vector<float> & weight, const std::vector<float> & bias, gme::row_norm norm, int64_t n_in, int64_t n_tokens) {
    std::vector<double> rows(static_cast<size_t>(n_in * n_tokens));
    for (int64_t t = 0; t < n_tokens; t++) {
        const float * from = tokens.data() + t * (n_in + 3);
        double        mean = 0, square = 0;
        for (int64_t k = 0; k < n_in; k++) {
            mean += norm == gme::row_norm::layer ? static_cast<double>(from[k]) / static_cast<double>(n_in) : 0;
        }
        for (int64_t k = 0; k < n_in; k++) {
            square += (from[k] - mean) * (from[k] - mean) / static_cast<double>(n_in);
        }
        const double factor = norm == gme::row_norm::none ? 1 : 1 / std::sqrt(square + 1e-6);
        for (int64_t k = 0; k < n_in; k++) {
            const auto i = static_cast<size_t>(k);
            double     x = (from[k] - mean) * factor;
            if (norm != gme::row_norm::none) {
                x = x * static_cast<double>(weight[i]) + (norm == gme::row_norm::layer ? static_cast<double>(bias[i]) : 0);
            }
            rows[static_cast<size_t>(t * n_in + k)] = x;
        }
    }
    return rows;
}

// Largest difference to sums in double, in units of the outputs' root mean square.
double largest_error(const gme::product_kernels & kernels, ggml_type type, int64_t n_in, const std::vector<int64_t> & n_outs, const test_case & what) {
    generator                random;
    std::vector<test_weight> weights;
    for (const int64_t n_out : n_outs) {
        weights.emplace_back(random, type, n_in, n_out);
    }
    std::vector<float> tokens(static_cast<size_t>((n_in + 3) * what.n_tokens)), norm_weight(static_cast<size_t>(n_in)), norm_bias(static_cast<size_t>(n_in));
    for (auto * list : { &tokens, &norm_weight, &norm_bias }) {
        for (auto & number : *list) {
            number = random.next();
        }
    }
    const bool is_gate   = what.end == gme::product_end::silu_gate;
    int64_t    n_columns = 0;
    for (const int64_t n_out : n_outs) {
        n_columns = is_gate ? n_out : n_columns + n_out;
    }
    const auto out  = run_ours(kernels, weights, tokens, norm_weight, norm_bias, what, n_columns);
    const auto rows = normed(tokens, norm_weight, norm_bias, what.norm, n_in, what.n_tokens);
    const auto sum  = [&](const test_weight & weight, int64_t t, int64_t row) {
        double total = static_cast<double>(weight.bias[static_cast<size_t>(row)]);
        for (int64_t k = 0; k < n_in; k++) {
            total += rows[static_cast<size_t>(t * n_in + k)] * static_cast<double>(weight.numbers[static_cast<size_t>(row * n_in + k)]);
        }
        return total;
    };
    double largest = 0, square = 0;
    for (int64_t t = 0; t < what.n_tokens; t++) {
        for (int64_t column = 0; column < n_columns; column++) {
            int64_t row = column;
            size_t  i   = 0;
            while (!is_gate && row >= n_outs[i]) {
                row -= n_outs[i++];
            }
            const double expected = end_of(what.end, sum(weights[i], t, row), is_gate ? sum(weights[1], t, row) : 0);
            const double found    = static_cast<double>(out[static_cast<size_t>(t * n_columns + column)]);
            largest               = std::isfinite(found) ? std::max(largest, std::fabs(found - expected)) : INFINITY;
            square += expected * expected / static_cast<double>(what.n_tokens * n_columns);
        }
    }
    return largest / std::sqrt(square);
}

// The largest weights times the largest tokens of either sign, which sums of few bits would not hold; and tokens that are not finite.
void check_extremes(const std::string & name, const gme::product_kernels & kernels, ggml_type type, gme::token_form form) {
    constexpr int64_t  n_in = 64, n_tokens = 5, n_out = 33;
    generator          random;
    std::vector<test_weight> weights;
    weights.emplace_back(random, type, n_in, n_out);
    std::fill(weights[0].bias.begin(), weights[0].bias.end(), 0.0f);
    const size_t block_bytes = ggml_type_size(type);
    for (size_t at = 0; at < weights[0].bytes.size(); at += block_bytes) {
        const uint16_t one = 0x3c00;
        std::memcpy(weights[0].bytes.data() + at, &one, 2);
        const bool is_odd = at / block_bytes / (n_in / 32) % 2 == 1;  // rows of -128 or 127, of -8 or 7
        std::memset(weights[0].bytes.data() + at + 2, type == GGML_TYPE_Q8_0 ? (is_odd ? 0x7f : 0x80) : (is_odd ? 0xff : 0x00), block_bytes - 2);
    }
    std::vector<float> tokens(static_cast<size_t>((n_in + 3) * n_tokens), 1.0f);
    const auto         token = [&](int64_t t) { return tokens.data() + t * (n_in + 3); };
    std::fill(token(1), token(2), -1.0f);
    std::fill(token(2), token(3), 1e-38f);
    token(3)[40] = NAN;
    token(4)[1]  = -INFINITY;
    const std::vector<float> norm(static_cast<size_t>(n_in), 1.0f);
    const auto               out = run_ours(kernels, weights, tokens, norm, norm, { form, gme::row_norm::none, gme::product_end::store, n_tokens, 1 }, n_out);
    bool                     is_exact = true, is_seen = true;
    for (int64_t row = 0; row < n_out; row++) {
        const float weight = static_cast<float>(type == GGML_TYPE_Q8_0 ? (row % 2 ? 127 : -128) : (row % 2 ? 7 : -8));
        const auto  found  = [&](int64_t t) { return out[static_cast<size_t>(t * n_out + row)]; };
        is_exact           = is_exact && std::fabs(found(0) - weight * n_in) < 1e-2f && std::fabs(found(1) + weight * n_in) < 1e-2f && std::fabs(found(2)) < 1e-30f;
        is_seen            = is_seen && !std::isfinite(found(3)) && !std::isfinite(found(4));
    }
    check(is_exact, name + ": the largest numbers of either sign");
    check(is_seen, name + ": tokens that are not finite");
}

// Products of whole numbers: within what rounding the tokens may cost, and a token that is not finite is seen in its own sums only.
void check_blocks(const std::string & name, const gme::product_kernels & kernels, const gme::block_kernels * blocks, gme::token_form form, double limit) {
    for (const ggml_type type : { GGML_TYPE_Q8_0, GGML_TYPE_Q4_0 }) {
        if (blocks == nullptr || (type == GGML_TYPE_Q8_0 ? blocks->panel_from_q8_0 : blocks->panel_from_q4_0) == nullptr) {
            continue;
        }
        const std::string what = name + (form == gme::token_form::byte_tiles ? ": tiles of bytes, " : ": tiles of words, ") + ggml_type_name(type);
        double            worst = 0;
        for (const int64_t n_tokens : { 1, 5, 6, 7, 12, 31, 781 }) {
            worst = std::max(worst, largest_error(kernels, type, 864, { 70 }, { form, gme::row_norm::rms, gme::product_end::store, n_tokens, 2 }));
        }
        check(worst < limit, what + ", within the tokens' bits: " + std::to_string(worst));
        check_extremes(what, kernels, type, form);
    }
}

void check_level(const std::string & name, const gme::cpu_features & cpu) {
    using gme::product_end;
    using gme::row_norm;
    using gme::token_form;
    const auto kernels = gme::find_product_kernels(cpu);
    const ggml_type types[] = { GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q6_K, GGML_TYPE_Q4_K };
    for (const ggml_type type : types) {
        const int64_t n_in = ggml_blck_size(type) == 256 ? 1280 : 864;  // more than one stretch of columns, the last one short
        double        worst = 0;
        for (const int64_t n_tokens : { 1, 5, 12, 31, 781 }) {
            const std::vector<int64_t> n_outs = n_tokens > 100 ? std::vector<int64_t>{ 40 } : std::vector<int64_t>{ 70, 32, 9 };
            worst = std::max(worst, largest_error(kernels, type, n_in, n_outs, { token_form::tiles, n_tokens % 2 ? row_norm::rms : row_norm::none, product_end::store, n_tokens, 2 }));
        }
        check(worst < 3e-6, name + ": tiles of f32, " + ggml_type_name(type) + ", " + std::to_string(worst * 1e6) + "e-6");
    }
    for (const ggml_type type : { GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16 }) {
        double worst = 0;
        for (const int64_t n_tokens : { 1, 2, 6, 7, 17, 24 }) {
            worst = std::max(worst, largest_error(kernels, type, 80, { 70, 3 }, { token_form::rows, n_tokens % 2 ? row_norm::layer : row_norm::none, product_end::store, n_tokens, 3 }));
        }
        check(worst < 3e-6, name + ": along the rows, " + ggml_type_name(type) + ", " + std::to_string(worst * 1e6) + "e-6");
    }
    for (const auto end : { product_end::add, product_end::quick_gelu, product_end::erf_gelu, product_end::silu_gate }) {
        const std::vector<int64_t> n_outs = end == product_end::silu_gate ? std::vector<int64_t>{ 45, 45 } : std::vector<int64_t>{ 45 };
        const double tiles = largest_error(kernels, GGML_TYPE_F16, 160, n_outs, { token_form::tiles, row_norm::layer, end, 29, 2 });
        const double rows  = largest_error(kernels, GGML_TYPE_F16, 160, n_outs, { token_form::rows, row_norm::rms, end, 9, 1 });
        check(tiles < 5e-6 && rows < 5e-6, name + ": end " + std::to_string(static_cast<int>(end)) + ", " + std::to_string(std::max(tiles, rows) * 1e6) + "e-6");
    }
    check_blocks(name, kernels, kernels.matrix->bytes, token_form::byte_tiles, 3e-2);
    check_blocks(name, kernels, kernels.matrix->words, token_form::word_tiles, 2e-4);
}

}  // namespace

int main() {
    const gme::cpu_features cpu = gme::detect_cpu();
    if (cpu.level == gme::cpu_level::portable) {
        check(gme::find_product_kernels(cpu).matrix == nullptr, "this processor has ggml's product only");
        return checks::result();
    }
    check_level("avx2", { gme::cpu_level::avx2, false });
    if (cpu.level == gme::cpu_level::avx512) {
        check_level("avx512", { gme::cpu_level::avx512, false });
    }
    if (cpu.avx512_vnni) {
        check_level("avx512 with vnni", cpu);
    }
    return checks::result();
}
