// Models in several threads at once: loaded, used, aborted from other threads, profiled, closed, at random moments; a roofline beside them.
//
//   test-stress FIXTURES [SECONDS]   3 seconds; SECONDS or GME_STRESS_SECONDS for the long form, meant for a ThreadSanitizer build
//
// Every vector must be the same bits as when nothing else ran.
#include "checks.h"
#include "engine-model.h"
#include "seeded-picture.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

using checks::check;
using engine::text_item;
using steady = std::chrono::steady_clock;

namespace {

struct counters {
    std::atomic<long> n_loaded{ 0 }, n_embedded{ 0 }, n_aborted{ 0 }, n_profiled{ 0 }, n_rooflines{ 0 }, n_wrong{ 0 }, n_errors{ 0 }, n_closed{ 0 };
};

class random_numbers {
  public:
    explicit random_numbers(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 1) {}
    uint32_t below(uint32_t n) {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return static_cast<uint32_t>(state_ >> 33) % n;
    }

  private:
    uint64_t state_;
};

constexpr int32_t n_threads_max = 3;

struct inputs {
    std::string                                                decoder, tower;
    std::vector<std::string>                                   texts = { "a cat", "a cat on a mat", "", "七つの海", "The quick brown fox jumps over the lazy dog." };
    std::vector<uint8_t>                                       rgb   = seeded::noise(61, 47, 2);
    std::vector<gme_item>                                      items;
    std::array<std::vector<std::vector<float>>, n_threads_max> golden;  // [threads][item]

    gme_load_params params(int32_t n_threads, bool use_mmap) const {
        gme_load_params params  = gme_load_params_default();
        params.n_threads        = n_threads;
        params.use_mmap         = use_mmap;
        params.mmproj           = tower.c_str();
        params.image_tokens_min = 4;
        params.image_tokens_max = 16;
        return params;
    }
};

bool is_set(void * flag) {
    return static_cast<std::atomic<bool> *>(flag)->load();
}

// One model of its own: some calls, then closed. Each call's abort flag may be set by `interrupter` at any moment.
void use_model(const inputs & in, random_numbers & random, std::atomic<bool> & interrupt, counters & counted) {
    const auto   n_threads = static_cast<int32_t>(1 + random.below(n_threads_max));
    gme_model *  model     = nullptr;
    gme_error *  error     = nullptr;
    auto         params    = in.params(n_threads, random.below(2) == 0);
    params.abort           = is_set;
    params.abort_data      = &interrupt;
    const auto   loaded    = gme_model_load(in.decoder.c_str(), &params, &model, &error);
    counted.n_errors += loaded == GME_STATUS_ERROR;
    gme_error_free(error);
    if (loaded != GME_STATUS_OK) {
        counted.n_aborted += loaded == GME_STATUS_ABORTED;
        return;
    }
    counted.n_loaded++;
    std::vector<float> vector(static_cast<size_t>(gme_model_dimensions(model)));
    for (uint32_t left = 1 + random.below(12); left > 0; left--) {
        const size_t     which = random.below(static_cast<uint32_t>(in.items.size()));
        gme_embed_params with  = gme_embed_params_default();
        long             n     = 0;
        with.abort             = is_set;
        with.abort_data        = &interrupt;
        if (random.below(4) == 0) {
            with.profile_data = &n;
            with.profile      = [](const char *, double, double, int64_t, void * count) { ++*static_cast<long *>(count); };
        }
        const auto status = gme_embed(model, &in.items[which], 1, &with, vector.data(), &error);
        counted.n_embedded += status == GME_STATUS_OK;
        counted.n_aborted += status == GME_STATUS_ABORTED;
        counted.n_errors += status == GME_STATUS_ERROR;
        counted.n_profiled += n > 0;
        counted.n_wrong += status == GME_STATUS_OK && vector != in.golden[static_cast<size_t>(n_threads - 1)][which];
        gme_error_free(error);
    }
    counted.n_closed++;
    gme_model_free(model);
}

void run_roofline(std::atomic<bool> & interrupt, counters & counted) {
    gme_roofline measured = {};
    gme_error *  error    = nullptr;
    counted.n_errors += gme_roofline_measure("q8_0", nullptr, 2, 0, is_set, &interrupt, &measured, &error) == GME_STATUS_ERROR;
    counted.n_rooflines++;
    gme_error_free(error);
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string folder  = argc > 1 ? argv[1] : "test/fixtures";
    const char *      asked   = argc > 2 ? argv[2] : std::getenv("GME_STRESS_SECONDS");
    const double      seconds = asked == nullptr ? 3 : std::atof(asked);
    inputs            in;
    in.decoder = folder + "/gguf/tiny-a-f32.gguf";
    in.tower   = folder + "/gguf/mmproj-tiny-a-f32.gguf";
    for (const auto & text : in.texts) {
        in.items.push_back(text_item(text));
    }
    in.items[2].image = { in.rgb.data(), 61, 47 };
    for (int32_t n_threads = 1; n_threads <= n_threads_max; n_threads++) {
        engine::model model(in.decoder, in.tower, n_threads, in.params(n_threads, true));
        for (const auto & item : in.items) {
            in.golden[static_cast<size_t>(n_threads - 1)].push_back(model.embed({ item }));
        }
    }
    constexpr size_t                          n_users = 4;
    std::array<std::atomic<bool>, n_users + 1> interrupts{};
    std::atomic<bool>                          stop{ false };
    counters                                   counted;
    std::vector<std::thread>                   threads;
    for (size_t i = 0; i < n_users; i++) {
        threads.emplace_back([&, i] {
            random_numbers random(i + 1);
            while (!stop) {
                use_model(in, random, interrupts[i], counted);
            }
        });
    }
    threads.emplace_back([&] {
        while (!stop) {
            run_roofline(interrupts[n_users], counted);
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
        }
    });
    random_numbers random(99);
    const auto     end = steady::now() + std::chrono::duration<double>(seconds);
    while (steady::now() < end) {
        auto & interrupt = interrupts[random.below(n_users + 1)];
        interrupt        = true;
        std::this_thread::sleep_for(std::chrono::microseconds(random.below(3000)));
        interrupt = false;
        std::this_thread::sleep_for(std::chrono::microseconds(random.below(30000)));
    }
    stop                = true;
    interrupts[n_users] = true;
    for (auto & thread : threads) {
        thread.join();
    }
    check(counted.n_errors == 0 && counted.n_wrong == 0, "L30 models used, aborted and closed by several threads at once give the same bits and no error");
    check(counted.n_loaded == counted.n_closed && counted.n_embedded > 0 && counted.n_aborted > 0, "L30 every model that was loaded was closed, and some calls were aborted");
    std::printf("# L30: %.0f s, %zu threads: %ld models loaded and closed, %ld vectors, %ld with a profile, %ld calls aborted, %ld rooflines: %ld errors, %ld wrong vectors\n", seconds,
                n_users, counted.n_loaded.load(), counted.n_embedded.load(), counted.n_profiled.load(), counted.n_aborted.load(), counted.n_rooflines.load(),
                counted.n_errors.load(), counted.n_wrong.load());
    return checks::result();
}
