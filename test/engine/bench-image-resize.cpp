// Times the way of a photo from RGB8 to patches on one thread.
//
//     c++ -std=c++17 -O3 -ffp-contract=off -o bench-image-resize test/engine/bench-image-resize.cpp native/engine/{image-*,error}.cpp
//     ./bench-image-resize [width height [runs]]        default 4000 3000 9: noise, a table per instruction set
//     ./bench-image-resize --rounds FILE width height   RGB8 from a file; per line of stdin one round, one line of JSON: what
//                                                       scripts/bench-image.ts asks for between the rounds of its other contenders
//
// copy: the bytes into memory of the engine, as the addon does. loader, processor: the two resizes apart. streamed: both without the
// picture between them, what embed uses. direct: one resize from the source to the final size. patches: of the final picture.
#include "../../native/engine/image-patches.h"
#include "../../native/engine/image-resize.h"
#include "seeded-picture.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <iterator>

using namespace gme;

namespace {

enum step_name { step_copy, step_loader, step_processor, step_streamed, step_direct, step_patches, n_steps };
const char * const step_names[n_steps] = { "copy", "loader", "processor", "streamed", "direct", "patches" };

struct step_time {
    double wall = 0;  // milliseconds
    double cpu  = 0;  // milliseconds of this process
};

struct round_times {
    step_time steps[n_steps];
};

template <typename F> step_time timed(F work) {
    const auto         begin     = std::chrono::steady_clock::now();
    const std::clock_t cpu_begin = std::clock();
    work();
    const double cpu  = static_cast<double>(std::clock() - cpu_begin) * 1000.0 / CLOCKS_PER_SEC;
    const double wall = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    return { wall, cpu };
}

round_times time_round(resize_path path, const std::vector<uint8_t> & rgb, const image_plan & plan) {
    round_times times;
    std::vector<uint8_t> copied, loaded, processed, streamed, direct;
    times.steps[step_copy]      = timed([&] { copied.assign(rgb.begin(), rgb.end()); });
    times.steps[step_loader]    = timed([&] { loaded = resize_bicubic(rgb.data(), plan.source, plan.loader, path); });
    times.steps[step_processor] = timed([&] { processed = resize_bicubic(loaded.data(), plan.loader, plan.processor, path); });
    times.steps[step_streamed]  = timed([&] { streamed = resize_image(copied.data(), plan, path); });
    times.steps[step_direct]    = timed([&] { direct = resize_bicubic(rgb.data(), plan.source, plan.processor, path); });
    times.steps[step_patches]   = timed([&] {
        std::vector<float> values(static_cast<size_t>(plan.grid_h) * plan.grid_w * 588);
        image_patches(streamed.data(), plan.processor, image_normalisation(), 1, values.data());
    });
    if (streamed != processed) {
        std::fprintf(stderr, "streamed and stepwise resize differ\n");
        std::exit(1);
    }
    return times;
}

void print_table(const char * name, const std::vector<round_times> & rounds) {
    std::printf("%s\n", name);
    for (int step = 0; step < n_steps; step++) {
        std::vector<double> wall;
        for (const round_times & round : rounds) {
            wall.push_back(round.steps[step].wall);
        }
        std::sort(wall.begin(), wall.end());
        std::printf("  %-10s min %6.1f  median %6.1f  max %6.1f ms\n", step_names[step], wall.front(), wall[wall.size() / 2], wall.back());
    }
}

void print_json(const round_times & round) {
    for (int step = 0; step < n_steps; step++) {
        const step_time & time = round.steps[step];
        std::printf("%s\"%s\":{\"wall\":%.3f,\"cpu\":%.3f}", step == 0 ? "{" : ",", step_names[step], time.wall, time.cpu);
    }
    std::printf("}\n");
    std::fflush(stdout);
}

int answer_rounds(const char * file, image_size source) {
    const image_plan plan = plan_image(source, image_limits());
    std::ifstream    stream(file, std::ios::binary);
    const std::vector<uint8_t> rgb { std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>() };
    if (rgb.size() != static_cast<size_t>(source.width) * source.height * 3) {
        std::fprintf(stderr, "%s holds no RGB8 picture of %dx%d\n", file, source.width, source.height);
        return 1;
    }
    std::printf("{\"loader\":[%d,%d],\"processor\":[%d,%d]}\n", plan.loader.width, plan.loader.height, plan.processor.width,
                plan.processor.height);
    std::fflush(stdout);
    for (std::string line; std::getline(std::cin, line);) {
        print_json(time_round(resize_path_best(), rgb, plan));
    }
    return 0;
}

void print_all_paths(image_size source, int n_runs) {
    const image_plan plan = plan_image(source, image_limits());
    std::printf("%dx%d -> %dx%d -> %dx%d, %d runs\n", source.width, source.height, plan.loader.width, plan.loader.height,
                plan.processor.width, plan.processor.height, n_runs);
    const std::vector<uint8_t> rgb = seeded::noise(source.width, source.height, 2);
    const struct { const char * name; resize_path path; } paths[] = {
        { "avx512", resize_path::avx512 }, { "avx2", resize_path::avx2 }, { "portable", resize_path::portable } };
    for (const auto & entry : paths) {
        if (!resize_path_available(entry.path)) {
            continue;
        }
        std::vector<round_times> rounds;
        for (int i = 0; i < n_runs; i++) {
            rounds.push_back(time_round(entry.path, rgb, plan));
        }
        print_table(entry.name, rounds);
    }
}

}  // namespace

int main(int argc, char ** argv) {
    if (argc == 5 && std::strcmp(argv[1], "--rounds") == 0) {
        return answer_rounds(argv[2], { std::atoi(argv[3]), std::atoi(argv[4]) });
    }
    const image_size source { argc > 2 ? std::atoi(argv[1]) : 4000, argc > 2 ? std::atoi(argv[2]) : 3000 };
    print_all_paths(source, std::max(1, argc > 3 ? std::atoi(argv[3]) : 9));
}
