// An adapter's update of rows: against a sum in double, for every rank from 1 to 9, each type, and what it refuses.
#include "checks.h"
#include "low-rank-update.h"
#include "number-conversion.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

using checks::check;

namespace {

constexpr int64_t n_rows    = 5;
constexpr int64_t n_columns = 37;

std::vector<float> numbers(int64_t n, uint32_t seed) {
    std::vector<float> values(static_cast<size_t>(n));
    for (auto & value : values) {
        seed  = seed * 1664525u + 1013904223u;
        value = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
    }
    return values;
}

double largest_error(const std::string & type, int32_t rank, float scale) {
    const auto           weight = numbers(n_rows * n_columns, 1);
    const auto           a      = numbers(rank * n_columns, 2);
    const auto           b      = numbers(n_rows * rank, 3);
    std::vector<uint8_t> rows(weight.size() * sizeof(float));
    std::vector<float>   exact(weight.size()), target(weight.size());
    gme::convert_numbers("f32", weight.data(), type, rows.data(), weight.size());
    gme::convert_numbers(type, rows.data(), "f32", exact.data(), weight.size());
    gme::add_low_rank(type, rows.data(), n_rows, n_columns, a.data(), b.data(), rank, scale, target.data());
    double largest = 0;
    for (int64_t i = 0; i < n_rows; i++) {
        for (int64_t j = 0; j < n_columns; j++) {
            double sum = 0;
            for (int32_t k = 0; k < rank; k++) {
                sum += static_cast<double>(b[static_cast<size_t>(i * rank + k)]) * static_cast<double>(a[static_cast<size_t>(k * n_columns + j)]);
            }
            const auto   at       = static_cast<size_t>(i * n_columns + j);
            const double expected = static_cast<double>(exact[at]) + static_cast<double>(scale) * sum;
            largest               = std::fmax(largest, std::fabs(static_cast<double>(target[at]) - expected));
        }
    }
    return largest;
}

}  // namespace

int main() {
    for (int32_t rank = 1; rank <= 9; rank++) {
        check(largest_error("f32", rank, 4.0f) < 1e-5, "rank " + std::to_string(rank) + " adds scale * b·a to f32 rows");
    }
    check(largest_error("f16", 8, 0.5f) < 1e-5, "f16 rows are widened before the update");
    check(largest_error("bf16", 8, 0.5f) < 1e-5, "bf16 rows are widened before the update");
    check(largest_error("f32", 8, 0.0f) == 0, "a scale of 0 leaves the rows as they are");

    std::vector<float> row(3, 1.0f), a(3, 1.0f), b(1, 1.0f), target(3);
    const auto         update = [&](const char * type) { gme::add_low_rank(type, row.data(), 1, 3, a.data(), b.data(), 1, 1.0f, target.data()); };
    check(checks::code_of([&] { update("q8_0"); }) == "GME_OPTION_INVALID", "rows of another type are refused");
    a[1] = std::numeric_limits<float>::quiet_NaN();
    check(checks::code_of([&] { update("f32"); }) == "GME_NON_FINITE", "a factor that is not a number is refused");
    a[1] = std::numeric_limits<float>::max();
    b[0] = 16.0f;
    check(checks::code_of([&] { update("f32"); }) == "GME_NON_FINITE", "an update that overflows is refused");
    return checks::result();
}
