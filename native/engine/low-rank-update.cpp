// low-rank-update: rows of a weight + an adapter's two factors -> rows of the merged weight, f32.
//
//   weight rows [n_rows, n_columns] -> f32 (number-conversion)
//   b [n_rows, rank] · a [rank, n_columns] -> delta, one row at a time, summed over the rank before it is scaled
//   target = weight + scale * delta
//
// Plain loops over contiguous rows, which the compiler makes into vector code; no matrix of the weight's size is made.

#include "low-rank-update.h"

#include <cmath>
#include <vector>

#include "error.h"
#include "number-conversion.h"

namespace gme {

// delta [n_columns] = b [rank] · a [rank, n_columns]; four rows of a per pass, so that delta is read and written a quarter as often.
static void multiply_row(const float * b, const float * a, int32_t rank, int64_t n_columns, float * delta) {
    for (int64_t j = 0; j < n_columns; j++) {
        delta[j] = 0.0f;
    }
    int32_t k = 0;
    for (; k + 4 <= rank; k += 4) {
        const float * a0 = a + k * n_columns;
        const float * a1 = a0 + n_columns;
        const float * a2 = a1 + n_columns;
        const float * a3 = a2 + n_columns;
        const float   b0 = b[k], b1 = b[k + 1], b2 = b[k + 2], b3 = b[k + 3];
        for (int64_t j = 0; j < n_columns; j++) {
            delta[j] += b0 * a0[j] + b1 * a1[j] + b2 * a2[j] + b3 * a3[j];
        }
    }
    for (; k < rank; k++) {
        const float * a0 = a + k * n_columns;
        const float   b0 = b[k];
        for (int64_t j = 0; j < n_columns; j++) {
            delta[j] += b0 * a0[j];
        }
    }
}

void add_low_rank(const std::string & type, const void * rows, int64_t n_rows, int64_t n_columns, const float * a, const float * b, int32_t rank,
                  float scale, float * target) {
    convert_numbers(type, rows, "f32", target, static_cast<size_t>(n_rows * n_columns));
    std::vector<float> delta(static_cast<size_t>(n_columns));
    for (int64_t i = 0; i < n_rows; i++) {
        multiply_row(b + i * rank, a, rank, n_columns, delta.data());
        float * row  = target + i * n_columns;
        float   zero = 0.0f;  // 0 times a number is 0, 0 times infinity or NaN is NaN
        for (int64_t j = 0; j < n_columns; j++) {
            row[j] += scale * delta[static_cast<size_t>(j)];
            zero += 0.0f * row[j];
        }
        if (!std::isfinite(zero)) {
            throw error("GME_NON_FINITE", "the merged weight is not finite in row " + std::to_string(i) + " of this piece");
        }
    }
}

}  // namespace gme
