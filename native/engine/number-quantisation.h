// Conversion of a weight's rows to any type of a GGUF file, ggml's block types among them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace gme {

// Bytes of a row of n_columns numbers of that type; 0 for an unknown type, or where the row is no whole number of blocks.
size_t row_size(const std::string & type, int64_t n_columns);

// rows [n_rows, n_columns] of "f32", "f16" or "bf16" to `to`, n_rows * row_size(to) bytes, on n_threads threads.
// The bytes do not depend on n_threads. GME_OPTION_INVALID, GME_NON_FINITE.
void quantize_rows(const std::string & from, const void * rows, int64_t n_rows, int64_t n_columns, const std::string & to, int32_t n_threads,
                   void * target);

}  // namespace gme
