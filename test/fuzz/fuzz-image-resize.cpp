// The resizer: any sizes, limits and pixels.
//
//   numbers -> plan of any picture (no pixels): sizes that fit each other and the limits
//           -> pixels of a small picture -> both resizes on every instruction set, one and two steps -> patches, in buffers of exactly
//              their size; looked at: same bytes everywhere, patches hold the pixels they name

#include "fuzz-checks.h"

#include "error.h"
#include "gme.h"
#include "image-patches.h"
#include "image-resize.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

using fuzz::must;

namespace {

constexpr int64_t pixels_max = 1 << 15;  // of a picture that is really resized; larger ones only cost time

// Nothing but a typed refusal may come out of a plan.
std::optional<gme::image_plan> plan_of(gme::image_size source, const gme::image_limits & limits) {
    try {
        return gme::plan_image(source, limits);
    } catch (const gme::error & bad) {
        const bool option = bad.code == "GME_OPTION_INVALID";
        must(option || bad.code == "GME_IMAGE_DIMENSIONS", "a plan is refused by GME_IMAGE_DIMENSIONS or GME_OPTION_INVALID, not " + bad.code);
        must(!bad.field.empty() && !bad.expected.empty(), "a refused plan says what was wrong");
        const bool limits_good = limits.tokens_min >= 1 && limits.tokens_min <= limits.tokens_max && limits.tokens_max <= 16384;
        must(option != limits_good || source.width < 1 || source.height < 1, "limits inside their range are taken, others refused");
        return {};
    }
}

bool in_units(gme::image_size size) { return size.width >= 28 && size.height >= 28 && size.width % 28 == 0 && size.height % 28 == 0; }

// Where the reference rounds up, a picture has more tokens than the limit says: a strip's short side is at least one unit, and a picture
// that grows to the least number grows to whole units.
void check_tokens(const gme::image_plan & plan, const gme::image_limits & limits) {
    const int64_t n     = plan.n_image_tokens;
    const bool    strip = plan.grid_w == 2 || plan.grid_h == 2;
    const bool    grown = n <= int64_t(limits.tokens_min) + plan.grid_w / 2 + plan.grid_h / 2;
    must(n <= limits.tokens_max || grown || (strip && n * n <= 202 * int64_t(limits.tokens_max)), "a picture keeps to its most tokens");
}

void check_plan(const gme::image_plan & plan, gme::image_size source, const gme::image_limits & limits) {
    must(plan.source == source, "a plan keeps its source");
    must(limits.loader_resize ? in_units(plan.loader) : plan.loader == source, "the loader's size is in units of 28");
    must(in_units(plan.processor), "the processor's size is in units of 28");
    must(plan.grid_h * 14 == plan.processor.height && plan.grid_w * 14 == plan.processor.width, "the grid counts patches of 14");
    must(plan.n_image_tokens == plan.grid_h / 2 * (plan.grid_w / 2), "a token is 2 x 2 patches");
    check_tokens(plan, limits);
    must(plan.n_image_tokens >= 1, "a picture has a token");
    gme_image_plan made = {};
    must(gme_image_plan_make(source.width, source.height, limits.loader_resize, limits.tokens_min, limits.tokens_max, &made, nullptr) == GME_STATUS_OK &&
             made.processor_width == plan.processor.width && made.image_tokens == plan.n_image_tokens,
         "the C interface makes the same plan");
}

// [height, width, 3] in an allocation of exactly that size, so that a byte read past it is seen.
std::vector<uint8_t> pixels_of(gme::image_size size, uint8_t pattern, uint32_t seed) {
    std::vector<uint8_t> rgb(static_cast<size_t>(size.width) * static_cast<size_t>(size.height) * 3);
    for (auto & byte : rgb) {
        seed  = seed * 1664525u + 1013904223u;
        byte = pattern < 64 ? static_cast<uint8_t>(pattern * 4) : pattern < 128 ? ((seed >> 24) & 1 ? 255 : 0) : static_cast<uint8_t>(seed >> 24);
    }
    return rgb;
}

constexpr gme::resize_path paths[] = { gme::resize_path::portable, gme::resize_path::avx2, gme::resize_path::avx512 };

void check_resize(const std::vector<uint8_t> & rgb, gme::image_size from, gme::image_size to) {
    const auto first = gme::resize_bicubic(rgb.data(), from, to, gme::resize_path::portable);
    must(first.size() == static_cast<size_t>(to.width) * static_cast<size_t>(to.height) * 3, "a resized picture has its size");
    for (const auto path : paths) {
        must(!gme::resize_path_available(path) || gme::resize_bicubic(rgb.data(), from, to, path) == first, "every instruction set gives the same bytes");
    }
    must(from != to || first == rgb, "equal sizes make a copy");
    const bool flat = std::all_of(rgb.begin(), rgb.end(), [&](uint8_t byte) { return byte == rgb[0]; });
    must(!flat || std::all_of(first.begin(), first.end(), [&](uint8_t byte) { return byte == rgb[0]; }), "one colour stays one colour");
}

// Patch p in merge order: 2 x 2 blocks of patches, row after row; the value of (channel, y, x) of its first frame.
void check_patches(const std::vector<uint8_t> & rgb, const gme::image_plan & plan, uint32_t seed) {
    const gme::image_normalisation normalisation;
    const size_t                   n = static_cast<size_t>(plan.grid_h) * static_cast<size_t>(plan.grid_w);
    std::vector<float>             one(n * 588), two(n * 1176);
    gme::image_patches(rgb.data(), plan.processor, normalisation, 1, one.data());
    gme::image_patches(rgb.data(), plan.processor, normalisation, 2, two.data());
    for (int i = 0; i < 64; i++) {
        seed                 = seed * 1664525u + 1013904223u;
        const size_t   p     = seed % n;
        const uint32_t place = seed / 7 % 588;
        const size_t   block = p / 4, blocks = static_cast<size_t>(plan.grid_w) / 2;
        const size_t   row = block / blocks * 2 + p % 4 / 2, column = block % blocks * 2 + p % 2;
        const size_t   channel = place / 196, y = row * 14 + place % 196 / 14, x = column * 14 + place % 14;
        const uint8_t  byte    = rgb[(y * static_cast<size_t>(plan.processor.width) + x) * 3 + channel];
        const double   wanted  = (byte / 255.0 - normalisation.mean[channel]) / normalisation.std[channel];
        must(std::fabs(one[p * 588 + place] - wanted) < 1e-5, "a patch holds the pixels it names");
        const size_t frame = channel * 392 + place % 196;
        must(two[p * 1176 + frame] == one[p * 588 + place] && two[p * 1176 + frame + 196] == one[p * 588 + place], "both frames are equal");
    }
}

void check_picture(const gme::image_plan & plan, uint8_t pattern, uint32_t seed) {
    const auto rgb  = pixels_of(plan.source, pattern, seed);
    const auto both = gme::resize_image(rgb.data(), plan, gme::resize_path::portable);
    const auto step = gme::resize_bicubic(rgb.data(), plan.source, plan.loader);
    must(gme::resize_bicubic(step.data(), plan.loader, plan.processor) == both, "one call gives what two give");
    for (const auto path : paths) {
        must(!gme::resize_path_available(path) || gme::resize_image(rgb.data(), plan, path) == both, "every instruction set gives the same picture");
    }
    check_patches(both, plan, seed);
}

bool is_small(gme::image_size size) { return int64_t(size.width) * size.height <= pixels_max; }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    fuzz::byte_source source(data, size);
    const uint8_t     mode = source.byte(), pattern = source.byte();
    const auto        seed = source.take<uint32_t>();
    // Any size; by the mode's bits cut to what is really resized.
    const auto side = [&](int32_t cut) {
        const auto any = source.take<int32_t>();
        return mode & 1 ? any : static_cast<int32_t>(1 + static_cast<uint32_t>(any) % static_cast<uint32_t>(cut));
    };
    const gme::image_size from{ side(300), side(300) };
    gme::image_limits     limits;
    limits.loader_resize = (mode & 2) == 0;
    limits.tokens_min    = mode & 4 ? source.take<int32_t>() : 1 + source.byte() % 24;
    constexpr int64_t most = std::numeric_limits<int32_t>::max();
    limits.tokens_max      = mode & 8 ? source.take<int32_t>() : static_cast<int32_t>(std::min(most, int64_t(limits.tokens_min) + source.byte()));
    if (const auto plan = plan_of(from, limits)) {
        check_plan(*plan, from, limits);
        if (is_small(plan->source) && is_small(plan->loader) && is_small(plan->processor)) {
            check_picture(*plan, pattern, seed);
        }
    }
    const gme::image_size small_from{ 1 + source.take<uint16_t>() % 600, 1 + source.take<uint16_t>() % 600 };
    const gme::image_size small_to{ 1 + source.take<uint16_t>() % 600, 1 + source.take<uint16_t>() % 600 };
    if ((mode & 16) != 0 && is_small(small_from) && is_small(small_to)) {
        check_resize(pixels_of(small_from, pattern, seed), small_from, small_to);
    }
    return 0;
}
