// Normalised patches.
//
// in:   RGB8 [height, width, 3]
// path: [height, width, 3] -> [grid_h/2, grid_w/2, 2, 2] patches of [3, n_frames, 14, 14]
// out:  pixel_values [grid_h * grid_w, 3 * n_frames * 14 * 14]
#include "image-patches.h"

#include "error.h"

#include <algorithm>
#include <cstddef>
#include <string>

namespace gme {

namespace {

constexpr int32_t patch = 14;
constexpr int32_t merge = 2;
constexpr size_t  patch_pixels = static_cast<size_t>(patch) * patch;

struct value_table {
    float values[3][256];
};

// The reference scales in double, rounds to float, then normalises in float.
value_table make_table(const image_normalisation & normalisation) {
    value_table table;
    for (int channel = 0; channel < 3; channel++) {
        for (int byte = 0; byte < 256; byte++) {
            const float scaled = static_cast<float>(static_cast<double>(byte) * (1.0 / 255.0));
            table.values[channel][byte] = (scaled - normalisation.mean[channel]) / normalisation.std[channel];
        }
    }
    return table;
}

// One patch: [14, 14, 3] bytes, rows row_bytes apart -> [3, n_frames, 14, 14] floats
void write_patch(const uint8_t * rgb, size_t row_bytes, const value_table & table, int n_frames, float * out) {
    for (int channel = 0; channel < 3; channel++) {
        float * frame = out + channel * n_frames * patch_pixels;
        for (int32_t y = 0; y < patch; y++) {
            const uint8_t * row = rgb + row_bytes * y + channel;
            for (int32_t x = 0; x < patch; x++) {
                frame[y * patch + x] = table.values[channel][row[x * 3]];
            }
        }
        for (int t = 1; t < n_frames; t++) {
            std::copy(frame, frame + patch_pixels, frame + t * patch_pixels);
        }
    }
}

}  // namespace

void image_patches(const uint8_t * rgb, image_size size, const image_normalisation & normalisation, int n_frames, float * pixel_values) {
    if (size.width < 1 || size.height < 1 || size.width % (patch * merge) != 0 || size.height % (patch * merge) != 0) {
        throw error("GME_IMAGE_DIMENSIONS", "Patches need sides that are multiples of 28.")
            .at_field("image.size").found(std::to_string(size.width) + "x" + std::to_string(size.height)).wanted("multiples of 28");
    }
    const value_table table = make_table(normalisation);
    const size_t  row_bytes = static_cast<size_t>(size.width) * 3;
    const size_t  n_values  = 3 * patch_pixels * static_cast<size_t>(n_frames);
    const int32_t grid_h    = size.height / patch;
    const int32_t grid_w    = size.width / patch;
    float * out = pixel_values;
    for (int32_t block_y = 0; block_y < grid_h; block_y += merge) {
        for (int32_t block_x = 0; block_x < grid_w; block_x += merge) {
            for (int32_t in_block = 0; in_block < merge * merge; in_block++, out += n_values) {
                const int32_t gy = block_y + in_block / merge;
                const int32_t gx = block_x + in_block % merge;
                const uint8_t * corner = rgb + row_bytes * (static_cast<size_t>(gy) * patch) + static_cast<size_t>(gx) * patch * 3;
                write_patch(corner, row_bytes, table, n_frames, out);
            }
        }
    }
}

}  // namespace gme
