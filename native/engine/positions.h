// Rotary positions of decoder and vision tower as tables of cosines and signed sines.
#pragma once

#include <cstdint>
#include <vector>

#include "model-config.h"

namespace gme {

// cos and sin, each [n_rows, n_columns] f32, n_columns = a head's width. Both halves of a row carry the same angles; the
// first half of `sin` is negated, so that rotating halves is x·cos + roll(x, half)·sin.
struct rotary_table {
    int32_t            n_rows    = 0;
    int32_t            n_columns = 0;
    std::vector<float> cos, sin;
};

// Where an item's picture stands in its sequence: n tokens from `begin`, on a grid of merged patches, row-major.
struct image_span {
    int32_t begin  = 0;
    int32_t n      = 0;   // 0: no picture
    int32_t grid_h = 0;   // merged rows
    int32_t grid_w = 0;   // merged columns
};

// Positions of tokens [first, first+n) of one sequence of the decoder: plain 0,1,2,… or, with `mrope`, Qwen2-VL's (t, h, w).
// Appends n rows.
void append_decoder_positions(const decoder_config & config, bool mrope, int32_t first, int32_t n, const image_span & image, rotary_table & table);

// Positions of all patches of one picture, grid_h × grid_w patches in 2×2-block order. Appends grid_h*grid_w rows.
void append_vision_positions(const vision_config & config, int32_t grid_h, int32_t grid_w, rotary_table & table);

}  // namespace gme
