// The vision tower and its merger: patches of one or several pictures -> image tokens of the decoder's width.
#pragma once

#include <vector>

#include "backend.h"
#include "model-weights.h"
#include "stage-taps.h"

namespace gme {

// One picture: pixel_values [grid_h*grid_w, 588] f32 (one frame per patch, 2×2-block order; image-patches.h), grid sides even.
struct vision_input {
    std::vector<float> pixel_values;
    int32_t            grid_h = 0, grid_w = 0;

    int64_t n_patches() const { return static_cast<int64_t>(grid_h) * grid_w; }
};

// Pictures side by side in one run; each sees only itself. Image tokens of each, [grid_h*grid_w/4, n_output] f32. The taps show the
// rows of all pictures. Errors: GME_ABORTED, GME_OUT_OF_MEMORY.
std::vector<std::vector<float>> run_vision_tower(backend & backend, const vision_config & config, const vision_weights & weights,
                                                 const std::vector<vision_input> & pictures, const stage_tap & tap);

}  // namespace gme
