// Pixels, second stage: normalised patches for the vision tower.
//
// in:   RGB8 [height, width, 3], both sides multiples of 28
// path: byte -> (byte / 255 - mean) / std by table -> 14x14 patches, 2x2 merge block after block
// out:  pixel_values [grid_h * grid_w, n_frames * 588] in float32, equal bit for bit to the reference's image processor
#pragma once

#include "image-resize.h"

#include <cstdint>

namespace gme {

// Per channel R, G, B, of values in 0..1.
struct image_normalisation {
    float mean[3] = { 0.48145466f, 0.4578275f, 0.40821073f };
    float std[3]  = { 0.26862954f, 0.26130258f, 0.27577711f };
};

// n_frames 2: the reference's 1176 = (channel 3, time 2, 14, 14), both frames equal. n_frames 1: 588 = (channel 3, 14, 14).
// pixel_values is the caller's, (height / 14) * (width / 14) * n_frames * 588 floats.
// Throws GME_IMAGE_DIMENSIONS when a side is no multiple of 28.
void image_patches(const uint8_t * rgb, image_size size, const image_normalisation & normalisation, int n_frames, float * pixel_values);

}  // namespace gme
