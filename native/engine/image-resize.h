// Pixels, first stage: which sizes a picture passes through, and the bicubic resize between them.
//
// in:   RGB8 [height, width, 3] and the limits of the model (image tokens, loader step on or off)
// path: source size -> loader size (multiples of 28) -> processor size (multiples of 28, token limits) -> grid of 14x14 patches
// out:  image_plan, and RGB8 [to.height, to.width, 3] per step, equal byte for byte to Pillow 13's `Image.resize`
#pragma once

#include <cstdint>
#include <vector>

namespace gme {

struct image_size {
    int32_t width  = 0;  // pixels
    int32_t height = 0;  // pixels
};

inline bool operator==(image_size a, image_size b) { return a.width == b.width && a.height == b.height; }
inline bool operator!=(image_size a, image_size b) { return !(a == b); }

struct image_limits {
    int32_t tokens_min    = 256;   // image tokens, 1 .. tokens_max
    int32_t tokens_max    = 1280;  // image tokens, .. 16384
    bool    loader_resize = true;  // false: the single resize that SWIFT-tuned models saw
};

struct image_plan {
    image_size source;
    image_size loader;     // equals source without the loader's resize
    image_size processor;  // multiples of 28
    int32_t    grid_h = 0;  // processor height in patches of 14
    int32_t    grid_w = 0;  // processor width in patches of 14
    int32_t    n_image_tokens = 0;  // grid_h * grid_w / 4
};

// Step 1, the size the reference's image loader resizes to. Throws GME_IMAGE_DIMENSIONS.
image_size loader_size(image_size source);

// Step 2, the size the image processor resizes to. Throws GME_IMAGE_DIMENSIONS when one side is over 200 times the other.
image_size processor_size(image_size loader, const image_limits & limits);

// Both steps. Throws GME_IMAGE_DIMENSIONS for sides below 1 and GME_OPTION_INVALID for limits outside their range.
image_plan plan_image(image_size source, const image_limits & limits);

// The instruction sets the resize has code for. All give the same bytes.
enum class resize_path { portable, avx2, avx512 };

bool        resize_path_available(resize_path path);
resize_path resize_path_best();

// rgb: [from.height, from.width, 3], borrowed for the call. Result: [to.height, to.width, 3]. Equal sizes make a copy.
std::vector<uint8_t> resize_bicubic(const uint8_t * rgb, image_size from, image_size to);
std::vector<uint8_t> resize_bicubic(const uint8_t * rgb, image_size from, image_size to, resize_path path);

// Both steps of a plan, from the source to the processor's picture [plan.processor.height, plan.processor.width, 3], without holding the
// loader's picture. The same bytes as two calls of resize_bicubic.
std::vector<uint8_t> resize_image(const uint8_t * rgb, const image_plan & plan);
std::vector<uint8_t> resize_image(const uint8_t * rgb, const image_plan & plan, resize_path path);

}  // namespace gme
