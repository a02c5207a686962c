// gme-tool: the engine without Node. Embeds one input and prints the vector, or the taps of every stage.
//
//   gme-tool MODEL [--mmproj F] [--text T] [--ppm F] [--instruction T] [--threads N] [--mrope] [--single-resize] [--cpu portable|avx2|avx512] [--device NAME] [--library F] [--devices] [--info] [--repeat N] [--taps]
//   gme-tool MODEL … --cases LIST --vectors F                                                many items in one call (cases.cpp)
//   gme-tool MODEL … --bench [--works W,…] [--batches N,…] [--seconds S]                     speed (bench.cpp)
//
// Pictures come as binary PPM (P6, 8 bit), because decoding belongs to JavaScript. With --taps one line per stage: name,
// shape, and the L2 norm of its numbers.

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "picture-file.h"
#include "tool.h"

namespace tool {

std::vector<uint8_t> read_ppm(const std::string & path, gme_image & image) {
    std::ifstream file(path, std::ios::binary);
    std::string   magic;
    int           largest = 0;
    file >> magic >> image.width >> image.height >> largest;
    file.get();
    if (magic != "P6" || largest != 255 || image.width < 1 || image.height < 1) {
        std::fprintf(stderr, "%s: not a binary 8-bit PPM\n", path.c_str());
        std::exit(1);
    }
    std::vector<uint8_t> rgb(static_cast<size_t>(image.width) * static_cast<size_t>(image.height) * 3);
    file.read(reinterpret_cast<char *>(rgb.data()), static_cast<std::streamsize>(rgb.size()));
    return rgb;
}

void fail(gme_error * error) {
    std::fprintf(stderr, "%s: %s (field %s, found %s, expected %s)\n", error->code, error->message, error->field, error->value, error->expected);
    gme_error_free(error);
    std::exit(1);
}

void fail(const std::string & message) {
    std::fprintf(stderr, "%s\n", message.c_str());
    std::exit(1);
}

}  // namespace tool

using tool::fail;
using tool::read_ppm;

namespace {

struct arguments {
    std::string       model, mmproj, text, ppm, instruction, device;
    std::vector<std::string> libraries;  // of devices, to be loaded first
    bool              has_text = false, taps = false, devices = false;
    gme_load_params   load     = gme_load_params_default();
    int               repeat   = 1;
    bool              info = false, bench = false;
    std::string       cases, vectors;
    tool::bench_options bench_with;
};

[[noreturn]] void usage() {
    std::fprintf(stderr, "usage: gme-tool MODEL [--mmproj F] [--text T] [--ppm F] [--instruction T] [--threads N] [--mrope] [--single-resize] [--cpu portable|avx2|avx512] [--device NAME] [--library F] [--devices] [--info] [--repeat N] [--taps]\n"
                         "       gme-tool MODEL ... --cases LIST --vectors F\n"
                         "       gme-tool MODEL ... --bench [--works texts,pictures-256,...] [--batches 1,16,...] [--seconds S]\n");
    std::exit(2);
}

gme_cpu_limit cpu_limit(const std::string & name) {
    if (name != "portable" && name != "avx2" && name != "avx512") {
        usage();
    }
    return name == "portable" ? GME_CPU_PORTABLE : name == "avx2" ? GME_CPU_AVX2 : GME_CPU_AVX512;
}

arguments read_arguments(int argc, char ** argv) {
    arguments args;
    for (int i = 1; i < argc; i++) {
        const std::string name  = argv[i];
        const auto        value = [&]() -> std::string { return i + 1 < argc ? argv[++i] : (usage(), ""); };
        if (name == "--mmproj") args.mmproj = value();
        else if (name == "--text") { args.text = value(); args.has_text = true; }
        else if (name == "--ppm") args.ppm = value();
        else if (name == "--instruction") args.instruction = value();
        else if (name == "--threads") args.load.n_threads = std::atoi(value().c_str());
        else if (name == "--repeat") args.repeat = std::atoi(value().c_str());
        else if (name == "--cpu") args.load.cpu_limit = cpu_limit(value());
        else if (name == "--device") args.device = value();
        else if (name == "--library") args.libraries.push_back(value());
        else if (name == "--devices") args.devices = true;
        else if (name == "--info") args.info = true;
        else if (name == "--cases") args.cases = value();
        else if (name == "--vectors") args.vectors = value();
        else if (name == "--bench") args.bench = true;
        else if (name == "--works") args.bench_with.works = value();
        else if (name == "--batches") args.bench_with.batches = value();
        else if (name == "--seconds") args.bench_with.seconds = std::atof(value().c_str());
        else if (name == "--mrope") args.load.positions = GME_POSITIONS_MROPE;
        else if (name == "--single-resize") args.load.loader_resize = GME_TOGGLE_OFF;
        else if (name == "--taps") args.taps = true;
        else if (name[0] == '-' || !args.model.empty()) usage();
        else args.model = name;
    }
    if ((args.model.empty() && !args.devices) || args.cases.empty() != args.vectors.empty()) {
        usage();
    }
    return args;
}

void print_tap(const char * name, const float * data, int64_t n_rows, int64_t n_columns, void *) {
    double        sum = 0;
    const int64_t n   = (n_rows == 0 ? 1 : n_rows) * n_columns;
    for (int64_t i = 0; i < n; i++) {
        sum += static_cast<double>(data[i]) * static_cast<double>(data[i]);
    }
    std::printf("%-24s [%lld, %lld]  %.9g\n", name, static_cast<long long>(n_rows), static_cast<long long>(n_columns), std::sqrt(sum));
}

void print_devices() {
    char *      json  = nullptr;
    gme_error * error = nullptr;
    if (gme_devices_list(&json, &error) != GME_STATUS_OK) {
        fail(error);
    }
    std::printf("%s\n", json);
    gme_string_free(json);
}

void embed_one(gme_model * model, const arguments & args) {
    gme_error *          error = nullptr;
    gme_item             item = {};
    std::vector<uint8_t> rgb;
    if (args.has_text) item.text = { args.text.data(), args.text.size() };
    if (!args.instruction.empty()) item.instruction = { args.instruction.data(), args.instruction.size() };
    if (!args.ppm.empty()) {
        rgb            = read_ppm(args.ppm, item.image);
        item.image.rgb = rgb.data();
    }
    gme_embed_params params = gme_embed_params_default();
    params.tap              = args.taps ? print_tap : nullptr;
    std::vector<float> embedding(static_cast<size_t>(gme_model_dimensions(model)));
    for (int i = 0; i < args.repeat; i++) {
        const auto start = std::chrono::steady_clock::now();
        if (gme_embed(model, &item, 1, &params, embedding.data(), &error) != GME_STATUS_OK) {
            fail(error);
        }
        const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
        std::fprintf(stderr, "%.1f ms\n", took.count());
    }
    if (!args.taps) {
        for (const float value : embedding) {
            std::printf("%.9g\n", static_cast<double>(value));
        }
    }
}

}  // namespace

int main(int argc, char ** argv) {
    arguments args   = read_arguments(argc, argv);
    args.load.mmproj = args.mmproj.empty() ? nullptr : args.mmproj.c_str();
    args.load.device = args.device.empty() ? nullptr : args.device.c_str();
    gme_model * model = nullptr;
    gme_error * error = nullptr;
    for (const auto & library : args.libraries) {
        if (gme_device_library_add(library.c_str(), &error) != GME_STATUS_OK) {
            fail(error);
        }
    }
    if (args.devices) {
        print_devices();
        return 0;
    }
    if (gme_model_load(args.model.c_str(), &args.load, &model, &error) != GME_STATUS_OK) {
        fail(error);
    }
    if (args.info) {
        std::printf("%s\n", gme_model_info(model));
    } else if (!args.cases.empty()) {
        tool::run_cases(model, args.cases, args.vectors);
    } else if (args.bench) {
        tool::run_bench(model, args.bench_with);
    } else {
        embed_one(model, args);
    }
    gme_model_free(model);
    return 0;
}
