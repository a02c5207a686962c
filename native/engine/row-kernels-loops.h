// The row kernels, written once over `lanes` and compiled once per instruction set; the including file defines GME_LANES, GME_TARGET
// and struct lanes first (lanes-*.h). Rows need not be whole registers: what is left over goes through a copy in memory.
//
//   sums in double, 16 floats at a time at most, so that a norm does not depend on the instruction set beyond the last bit

#include "row-kernels.h"

#include <cstring>

namespace gme {

namespace {

using row_vec = lanes::vec;  // not vec: attention-kernel-tiles.h has that

constexpr int64_t row_width = lanes::width;

GME_LANES row_vec load_part(const float * from, int64_t n) {
    if (n == row_width) {
        return lanes::load(from);
    }
    float copy[row_width] = {};
    for (int64_t i = 0; i < n; i++) {
        copy[i] = from[i];
    }
    return lanes::load(copy);
}

GME_LANES void store_part(float * to, int64_t n, row_vec x) {
    if (n == row_width) {
        lanes::store(to, x);
        return;
    }
    float copy[row_width];
    lanes::store(copy, x);
    for (int64_t i = 0; i < n; i++) {
        to[i] = copy[i];
    }
}

// Long rows are added up in stretches of 64 numbers per lane, each of which ends in a double.
constexpr int64_t stretch = 64;

GME_TARGET double sum_row(const float * x, int64_t n) {
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += stretch * row_width) {
        const int64_t end = begin + stretch * row_width < n ? begin + stretch * row_width : n;
        row_vec       acc = lanes::set(0.0f);
        int64_t       i   = begin;
        for (; i + row_width <= end; i += row_width) {
            acc = lanes::add(acc, lanes::load(x + i));
        }
        float parts[row_width];
        lanes::store(parts, acc);
        for (float part : parts) {
            total += static_cast<double>(part);
        }
        for (; i < end; i++) {
            total += static_cast<double>(x[i]);
        }
    }
    return total;
}

GME_TARGET double square_sum_row(const float * x, int64_t n, float around) {
    double        total = 0;
    const row_vec mean  = lanes::set(around);
    for (int64_t begin = 0; begin < n; begin += stretch * row_width) {
        const int64_t end = begin + stretch * row_width < n ? begin + stretch * row_width : n;
        row_vec       acc = lanes::set(0.0f);
        int64_t       i   = begin;
        for (; i + row_width <= end; i += row_width) {
            const row_vec d = lanes::sub(lanes::load(x + i), mean);
            acc             = lanes::fma(d, d, acc);
        }
        float parts[row_width];
        lanes::store(parts, acc);
        for (float part : parts) {
            total += static_cast<double>(part);
        }
        for (; i < end; i++) {
            const double d = static_cast<double>(x[i]) - static_cast<double>(around);
            total += d * d;
        }
    }
    return total;
}

// A number times 0 is 0 unless it is infinite or none. Four sums, so that the additions do not wait for each other.
GME_TARGET bool finite_row(const float * x, int64_t n) {
    const row_vec zero   = lanes::set(0.0f);
    row_vec       acc[4] = { zero, zero, zero, zero };
    int64_t       i      = 0;
    for (; i + 4 * row_width <= n; i += 4 * row_width) {
        for (int64_t k = 0; k < 4; k++) {
            acc[k] = lanes::fma(lanes::load(x + i + k * row_width), zero, acc[k]);
        }
    }
    for (; i < n; i += row_width) {
        acc[0] = lanes::fma(load_part(x + i, n - i < row_width ? n - i : row_width), zero, acc[0]);
    }
    float parts[row_width];
    lanes::store(parts, lanes::add(lanes::add(acc[0], acc[1]), lanes::add(acc[2], acc[3])));
    for (float part : parts) {
        if (part != 0.0f) {
            return false;
        }
    }
    return true;
}

GME_TARGET void normalise_row(const float * x, int64_t n, float factor, float shift, const float * weight, const float * bias, float * out) {
    const row_vec f = lanes::set(factor), s = lanes::set(shift);
    for (int64_t i = 0; i < n; i += row_width) {
        const int64_t part = n - i < row_width ? n - i : row_width;
        row_vec       y    = lanes::mul(lanes::fma(load_part(x + i, part), f, s), load_part(weight + i, part));
        if (bias != nullptr) {
            y = lanes::add(y, load_part(bias + i, part));
        }
        store_part(out + i, part, y);
    }
}

GME_TARGET void rotate_head(float * head, const float * cos, const float * sin, int64_t n_embd_head) {
    const int64_t half = n_embd_head / 2;
    for (int64_t i = 0; i < half; i += row_width) {
        const int64_t part = half - i < row_width ? half - i : row_width;
        const row_vec a    = load_part(head + i, part);
        const row_vec b    = load_part(head + half + i, part);
        const row_vec c    = load_part(cos + half + i, part);
        const row_vec s    = load_part(sin + half + i, part);
        store_part(head + i, part, lanes::sub(lanes::mul(a, c), lanes::mul(b, s)));
        store_part(head + half + i, part, lanes::fma(b, c, lanes::mul(a, s)));
    }
}

// 1 / (1 + exp(-x)). Below -87 the result is 0 for every purpose; the bound keeps the power a number.
GME_LANES row_vec sigmoid(row_vec x) {
    const row_vec power = lanes::exp2(lanes::max(x, lanes::set(-87.0f)), lanes::set(-1.44269504f));  // -log2(e)
    return lanes::div(lanes::set(1.0f), lanes::add(lanes::set(1.0f), power));
}

GME_TARGET void silu_gate_row(const float * gate, const float * up, int64_t n, float * out) {
    for (int64_t i = 0; i < n; i += row_width) {
        const int64_t part = n - i < row_width ? n - i : row_width;
        const row_vec g    = load_part(gate + i, part);
        store_part(out + i, part, lanes::mul(lanes::mul(g, sigmoid(g)), load_part(up + i, part)));
    }
}

GME_TARGET void quick_gelu_row(const float * x, int64_t n, float * out) {
    for (int64_t i = 0; i < n; i += row_width) {
        const int64_t part = n - i < row_width ? n - i : row_width;
        const row_vec y    = load_part(x + i, part);
        store_part(out + i, part, lanes::mul(y, sigmoid(lanes::mul(y, lanes::set(1.702f)))));
    }
}

constexpr row_kernels compiled = { sum_row, square_sum_row, finite_row, normalise_row, rotate_head, silu_gate_row, quick_gelu_row };

}  // namespace

}  // namespace gme
