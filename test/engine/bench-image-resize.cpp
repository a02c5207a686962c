// Times both resizes of a photo on one thread: min, median and max in milliseconds per step and instruction set. "streamed" is what
// embed uses: both steps without the picture between them.
//
//     c++ -std=c++17 -O3 -ffp-contract=off -o bench-image-resize test/engine/bench-image-resize.cpp native/engine/image-*.cpp
//     ./bench-image-resize [width height [runs]]        default 4000 3000 9
#include "../../native/engine/image-patches.h"
#include "../../native/engine/image-resize.h"
#include "seeded-picture.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

using namespace gme;

namespace {

double milliseconds(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

void print_times(const char * name, std::vector<double> times) {
    std::sort(times.begin(), times.end());
    std::printf("  %-10s min %6.1f  median %6.1f  max %6.1f ms\n", name, times.front(), times[times.size() / 2], times.back());
}

void time_path(const char * name, resize_path path, const std::vector<uint8_t> & rgb, const image_plan & plan, int n_runs) {
    std::vector<double> loader, processor, both, streamed, patches;
    for (int i = 0; i < n_runs; i++) {
        const auto begin = std::chrono::steady_clock::now();
        const std::vector<uint8_t> loaded = resize_bicubic(rgb.data(), plan.source, plan.loader, path);
        loader.push_back(milliseconds(begin));
        const auto between = std::chrono::steady_clock::now();
        const std::vector<uint8_t> processed = resize_bicubic(loaded.data(), plan.loader, plan.processor, path);
        processor.push_back(milliseconds(between));
        both.push_back(milliseconds(begin));
        const auto again = std::chrono::steady_clock::now();
        resize_image(rgb.data(), plan, path);
        streamed.push_back(milliseconds(again));
        std::vector<float> values(static_cast<size_t>(plan.grid_h) * plan.grid_w * 588);
        const auto last = std::chrono::steady_clock::now();
        image_patches(processed.data(), plan.processor, image_normalisation(), 1, values.data());
        patches.push_back(milliseconds(last));
    }
    std::printf("%s\n", name);
    print_times("loader", loader);
    print_times("processor", processor);
    print_times("both", both);
    print_times("streamed", streamed);
    print_times("patches", patches);
}

}  // namespace

int main(int argc, char ** argv) {
    const image_size source { argc > 2 ? std::atoi(argv[1]) : 4000, argc > 2 ? std::atoi(argv[2]) : 3000 };
    const int n_runs = std::max(1, argc > 3 ? std::atoi(argv[3]) : 9);
    const image_plan plan = plan_image(source, image_limits());
    std::printf("%dx%d -> %dx%d -> %dx%d, %d runs\n", source.width, source.height, plan.loader.width, plan.loader.height,
                plan.processor.width, plan.processor.height, n_runs);
    const std::vector<uint8_t> rgb = seeded::noise(source.width, source.height, 2);
    const struct { const char * name; resize_path path; } paths[] = {
        { "avx512", resize_path::avx512 }, { "avx2", resize_path::avx2 }, { "portable", resize_path::portable } };
    for (const auto & entry : paths) {
        if (resize_path_available(entry.path)) {
            time_path(entry.name, entry.path, rgb, plan, n_runs);
        }
    }
}
