// bench: `gme-tool MODEL --bench [--works texts,pictures-256] [--batches 1,16,64] [--seconds S]`.
//
//   work × batch -> a batch of new items per call, until the seconds are over -> median of the calls -> one call with a profile
//
// One line of JSON per work and batch: items per second, operations of the call's products, and where the time goes. Texts are of about 20
// words; pictures are noise that comes to the number of image tokens asked for. Every call has items of its own: no opening but the
// instruction's, and no twin, is known before.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <vector>

#include "tool.h"

namespace tool {

namespace {

struct random_numbers {
    uint64_t state = 1;
    uint32_t next() {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<uint32_t>(state >> 33);
    }
};

std::vector<std::string> split(const std::string & text) {
    std::vector<std::string> parts;
    std::istringstream       stream(text);
    for (std::string part; std::getline(stream, part, ',');) {
        parts.push_back(part);
    }
    return parts;
}

std::string make_text(random_numbers & random) {
    static const char * const words[] = { "red", "car", "sea", "the", "of", "a", "house", "near", "two", "dogs", "street", "at", "night", "photo", "old", "green" };
    std::string text = std::to_string(random.next() % 100000);
    for (int i = 0; i < 20; i++) {
        text += std::string(" ") + words[random.next() % 16];
    }
    return text;
}

// A size of n image tokens: sides are multiples of 28, and none is more than 100 times the other.
void choose_size(int32_t n_tokens, int32_t & width, int32_t & height) {
    int32_t rows = 1;
    for (int32_t i = 1; i * i <= n_tokens; i++) {
        rows = n_tokens % i == 0 ? i : rows;
    }
    width  = n_tokens / rows * 28;
    height = rows * 28;
}

struct work {
    std::string              name;
    std::vector<std::string> texts;
    std::vector<std::vector<uint8_t>> pixels;
    std::vector<gme_item>    items;

    void fill(size_t n, random_numbers & random);
};

void work::fill(size_t n, random_numbers & random) {
    items.assign(n, {});
    if (name == "texts") {
        texts.resize(n);
        for (size_t i = 0; i < n; i++) {
            texts[i]      = make_text(random);
            items[i].text = { texts[i].data(), texts[i].size() };
        }
        return;
    }
    if (name.rfind("pictures-", 0) != 0) {
        fail("a work is texts or pictures-<image tokens>: " + name);
    }
    gme_image image = {};
    choose_size(std::atoi(name.c_str() + 9), image.width, image.height);
    const bool is_new = pixels.size() != n;
    pixels.resize(n);
    for (size_t i = 0; i < n; i++) {
        if (is_new) {
            pixels[i].resize(static_cast<size_t>(image.width) * static_cast<size_t>(image.height) * 3);
            std::generate(pixels[i].begin(), pixels[i].end(), [&] { return static_cast<uint8_t>(random.next()); });
        }
        pixels[i][random.next() % pixels[i].size()] ^= 1;  // no twin of another
        items[i].image     = image;
        items[i].image.rgb = pixels[i].data();
    }
}

struct stage {
    std::string name;
    double      milliseconds, flop;
    int64_t     runs;
};

void collect(const char * name, double milliseconds, double flop, int64_t runs, void * to) {
    static_cast<std::vector<stage> *>(to)->push_back({ name, milliseconds, flop, runs });
}

double embed(gme_model * model, const std::vector<gme_item> & items, std::vector<stage> * stages) {
    gme_embed_params params = gme_embed_params_default();
    if (stages != nullptr) {
        params.profile      = collect;
        params.profile_data = stages;
    }
    std::vector<float> vectors(items.size() * static_cast<size_t>(gme_model_dimensions(model)));
    gme_error *        error = nullptr;
    const auto         start = std::chrono::steady_clock::now();
    if (gme_embed(model, items.data(), static_cast<int32_t>(items.size()), &params, vectors.data(), &error) != GME_STATUS_OK) {
        fail(error);
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int64_t count_tokens(gme_model * model, const std::vector<gme_item> & items) {
    int64_t n = 0;
    for (const auto & item : items) {
        gme_token_count count;
        gme_error *     error = nullptr;
        if (gme_count_tokens(model, &item, false, &count, &error) != GME_STATUS_OK) {
            fail(error);
        }
        n += count.total;
    }
    return n;
}

void measure(gme_model * model, work & of, size_t batch, double seconds) {
    random_numbers      random;
    std::vector<double> times;
    of.fill(batch, random);
    embed(model, of.items, nullptr);  // kernels are loaded, memory is taken
    for (double left = seconds; times.size() < 2 || (left > 0 && times.size() < 200); left -= times.back()) {
        of.fill(batch, random);
        times.push_back(embed(model, of.items, nullptr));
        if (times.back() > 4 * seconds) {
            break;
        }
    }
    std::sort(times.begin(), times.end());
    const double       median = times[times.size() / 2];
    std::vector<stage> stages;
    of.fill(batch, random);
    const double profiled = embed(model, of.items, &stages);
    double       flop     = 0;
    std::string  list;
    for (const auto & each : stages) {
        char text[200];
        std::snprintf(text, sizeof(text), "%s{\"stage\":\"%s\",\"ms\":%.3f,\"flop\":%.6g,\"runs\":%lld}", list.empty() ? "" : ",", each.name.c_str(), each.milliseconds, each.flop,
                      static_cast<long long>(each.runs));
        list += text;
        flop += each.flop;
    }
    std::printf("{\"work\":\"%s\",\"batch\":%zu,\"calls\":%zu,\"ms\":%.3f,\"bestMs\":%.3f,\"itemsPerSecond\":%.3f,\"tokens\":%lld,\"flop\":%.6g,\"profiledMs\":%.3f,\"stages\":[%s]}\n",
                of.name.c_str(), batch, times.size(), median * 1e3, times[0] * 1e3, static_cast<double>(batch) / median, static_cast<long long>(count_tokens(model, of.items)), flop, profiled * 1e3,
                list.c_str());
    std::fflush(stdout);
}

}  // namespace

void run_bench(gme_model * model, const bench_options & options) {
    for (const auto & name : split(options.works)) {
        work of;
        of.name = name;
        for (const auto & batch : split(options.batches)) {
            const int n = std::atoi(batch.c_str());
            if (n < 1 || n > 4096) {
                fail("a batch is a whole number from 1 to 4096: " + batch);
            }
            of.pixels.clear();
            measure(model, of, static_cast<size_t>(n), options.seconds);
        }
    }
}

}  // namespace tool
