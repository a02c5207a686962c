// Merging a LoRA adapter into rows of a weight.
#pragma once

#include <cstdint>
#include <string>

namespace gme {

// weight + scale * b·a in f32: `rows` are n_rows rows of n_columns numbers of `type` ("f32", "f16" or "bf16"), a [rank, n_columns],
// b [n_rows, rank], target [n_rows, n_columns] f32. GME_OPTION_INVALID for another type, GME_NON_FINITE when a sum is not a number.
void add_low_rank(const std::string & type, const void * rows, int64_t n_rows, int64_t n_columns, const float * a, const float * b, int32_t rank,
                  float scale, float * target);

}  // namespace gme
