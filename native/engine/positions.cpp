// positions: token indices or patch coordinates -> cosines and sines.
//
//   decoder: 0,1,2,… on all axes (the published GME path), or t, h, w of the merged grid (mrope)
//   tower:   row and column of each patch, in the patches' own 2×2-block order
//
// Angles are the reference's, in its order of roundings: the inverse frequency and the product with the position are
// single floats, so at position 30,000 they agree to the last bit. ggml's own rotary op multiplies frequencies up step by
// step and drifts away from that; at long lengths the difference would show in the vector.

#include "positions.h"

#include <algorithm>
#include <cmath>

namespace gme {

namespace {

// base^(-2k/n) for k = 0 … n/2-1, rounded to float where the reference rounds.
std::vector<float> inverse_frequencies(float base, int32_t n) {
    std::vector<float> frequencies(static_cast<size_t>(n / 2));
    for (int32_t k = 0; k < n / 2; k++) {
        const float exponent = static_cast<float>(2 * k) / static_cast<float>(n);
        const float power    = static_cast<float>(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
        frequencies[static_cast<size_t>(k)] = 1.0f / power;
    }
    return frequencies;
}

// Writes one angle to both halves of a row.
void put_angle(rotary_table & table, size_t row, int32_t k, float angle) {
    const auto   half = static_cast<size_t>(table.n_columns / 2);
    const size_t at   = row * static_cast<size_t>(table.n_columns) + static_cast<size_t>(k);
    const auto   c    = static_cast<float>(std::cos(static_cast<double>(angle)));
    const auto   s    = static_cast<float>(std::sin(static_cast<double>(angle)));
    table.cos[at] = table.cos[at + half] = c;
    table.sin[at]                        = -s;
    table.sin[at + half]                 = s;
}

struct axes {
    int32_t t, h, w;
};

// Qwen2-VL's grid positions: the picture's tokens share t and spread over h and w; text goes on after the longer side.
axes grid_position(int32_t i, const image_span & image) {
    if (image.n == 0 || i < image.begin) {
        return { i, i, i };
    }
    if (i < image.begin + image.n) {
        const int32_t at = i - image.begin;
        return { image.begin, image.begin + at / image.grid_w, image.begin + at % image.grid_w };
    }
    const int32_t next = image.begin + std::max(image.grid_h, image.grid_w) + (i - image.begin - image.n);
    return { next, next, next };
}

}  // namespace

// Makes room for n more rows; returns the first of them.
static size_t add_rows(rotary_table & table, int32_t n, int32_t n_columns) {
    const auto first = static_cast<size_t>(table.n_rows);
    table.n_columns  = n_columns;
    table.n_rows += n;
    table.cos.resize(static_cast<size_t>(table.n_rows) * static_cast<size_t>(n_columns));
    table.sin.resize(table.cos.size());
    return first;
}

void append_decoder_positions(const decoder_config & config, bool mrope, int32_t first, int32_t n, const image_span & image, rotary_table & table) {
    const auto    frequencies = inverse_frequencies(config.rope_theta, config.n_embd_head);
    const size_t  row         = add_rows(table, n, config.n_embd_head);
    const int32_t end_t       = config.rope_sections[0];
    const int32_t end_h       = end_t + config.rope_sections[1];
    for (int32_t i = 0; i < n; i++) {
        const axes position = mrope ? grid_position(first + i, image) : axes{ first + i, first + i, first + i };
        for (int32_t k = 0; k < config.n_embd_head / 2; k++) {
            const int32_t along = k < end_t ? position.t : k < end_h ? position.h : position.w;
            put_angle(table, row + static_cast<size_t>(i), k, frequencies[static_cast<size_t>(k)] * static_cast<float>(along));
        }
    }
}

void append_vision_positions(const vision_config & config, int32_t grid_h, int32_t grid_w, rotary_table & table) {
    const int32_t half        = config.n_embd_head / 2;  // angles of a patch: half of them follow the row, half the column
    const auto    frequencies = inverse_frequencies(10000.0f, half);
    size_t        row         = add_rows(table, grid_h * grid_w, config.n_embd_head);
    for (int32_t block_h = 0; block_h < grid_h; block_h += 2) {
        for (int32_t block_w = 0; block_w < grid_w; block_w += 2) {
            for (int32_t inside = 0; inside < 4; inside++, row++) {
                const auto h = static_cast<float>(block_h + inside / 2);
                const auto w = static_cast<float>(block_w + inside % 2);
                for (int32_t k = 0; k < half / 2; k++) {
                    put_angle(table, row, k, frequencies[static_cast<size_t>(k)] * h);
                    put_angle(table, row, half / 2 + k, frequencies[static_cast<size_t>(k)] * w);
                }
            }
        }
    }
}

}  // namespace gme
