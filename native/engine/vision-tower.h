// The vision tower and its merger: patches of one picture -> image tokens of the decoder's width.
#pragma once

#include <vector>

#include "backend.h"
#include "model-weights.h"
#include "stage-taps.h"

namespace gme {

// pixel_values [grid_h*grid_w, 588] f32 (one frame per patch, 2×2-block order; image-patches.h) -> image tokens
// [grid_h*grid_w/4, n_output] f32. grid_h and grid_w are even. Errors: GME_ABORTED, GME_OUT_OF_MEMORY.
std::vector<float> run_vision_tower(backend & backend, const vision_config & config, const vision_weights & weights,
                                    const std::vector<float> & pixel_values, int32_t grid_h, int32_t grid_w, const stage_tap & tap);

}  // namespace gme
