// Taps: named copies of what a stage put out, for comparison with the reference.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace gme {

// name, rows [n_rows, n_columns] f32. Empty: nothing is tapped.
using stage_tap = std::function<void(const std::string & name, const float * data, int64_t n_rows, int64_t n_columns)>;

}  // namespace gme
