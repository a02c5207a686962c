// Conversion between the float types of checkpoints and GGUF files.
#pragma once

#include <cstddef>
#include <string>

namespace gme {

// n numbers of type "f32", "f16" or "bf16" to another of them, rounded to the nearest, ties to even. GME_OPTION_INVALID.
void convert_numbers(const std::string & from, const void * source, const std::string & to, void * target, size_t n);

}  // namespace gme
