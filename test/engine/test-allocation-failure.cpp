// Every allocation of the engine fails once: the Nth alone, and the Nth with all that follow, N = 1, 2, … until the call succeeds.
//
// Each time the call must end with GME_OUT_OF_MEMORY (or do without), leave nothing behind, and leave a model whose vectors are the
// same bits as before. Every 7th N with a start that rotates; GME_TEST_LONG=1: every one.
#include "failing-allocations.h"

#include "checks.h"
#include "engine-model.h"
#include "model.h"
#include "seeded-picture.h"

#include <chrono>
#include <cstring>
#include <functional>

using checks::check;

namespace {

// Code of the last call, without an allocation.
char last_code[64];

void keep_code(gme_status status, gme_error * const & error) {
    std::snprintf(last_code, sizeof last_code, "%s", status == GME_STATUS_OK ? "" : error == nullptr ? "no error" : error->code);
    gme_error_free(error);
}

struct fixture {
    std::string           decoder, tower, text = "The quick brown fox, fünf Füchse und 七つの海, jumps \xF0\x9F\xA6\x8A.", instruction = "Find a picture that fits.";
    std::vector<uint8_t>  rgb = seeded::noise(97, 61, 2);
    std::vector<gme_item> texts, pictures;
    gme_model *           model = nullptr;
    std::vector<float>    golden, vectors;

    gme_load_params load_params(bool use_mmap) const {
        gme_load_params params  = gme_load_params_default();
        params.n_threads        = 2;
        params.use_mmap         = use_mmap;
        params.mmproj           = tower.c_str();
        params.image_tokens_min = 4;
        params.image_tokens_max = 16;  // a small picture: it is embedded some thousand times
        return params;
    }

    void load(bool use_mmap, gme_model ** to) const {
        const auto  params = load_params(use_mmap);
        gme_error * error  = nullptr;
        keep_code(gme_model_load(decoder.c_str(), &params, to, &error), error);
    }

    void embed(const std::vector<gme_item> & items, const gme_embed_params & with, float * to) const {
        gme_error * error = nullptr;
        keep_code(gme_embed(model, items.data(), static_cast<int32_t>(items.size()), &with, to, &error), error);
    }

    // As after loading: nothing kept from earlier calls.
    void refresh() const {
        model->openings = gme::opening_cache();
        model->cpu.reset();
        model->cpu = std::make_unique<gme::backend>(2, model->features);
    }
};

fixture * made;

struct scenario {
    const char *          id;
    const char *          name;
    std::function<void()> run;
};

struct tally {
    long n = 0, n_refused = 0, n_done_without = 0, n_other = 0, n_leaks = 0, n_changed = 0;
};

// One call with the Nth allocation failing; false when the call makes fewer.
bool run_once(const scenario & what, long n, bool persistent, tally & counted) {
    made->refresh();
    const long before = failing::n_alive;
    failing::arm(n, persistent);
    what.run();
    failing::disarm();
    if (failing::n_failed == 0) {
        return false;
    }
    counted.n++;
    const bool refused = std::strcmp(last_code, "GME_OUT_OF_MEMORY") == 0;
    counted.n_refused += refused;
    counted.n_done_without += last_code[0] == '\0';
    if (!refused && last_code[0] != '\0' && counted.n_other++ < 3) {
        std::printf("# %s, allocation %ld: %s\n", what.name, n, last_code);
    }
    // The model that was in the middle of it goes on as if nothing had been.
    made->embed(made->texts, gme_embed_params_default(), made->vectors.data());
    counted.n_changed += last_code[0] != '\0' || std::memcmp(made->vectors.data(), made->golden.data(), made->golden.size() * sizeof(float)) != 0;
    made->refresh();
    const long after = failing::n_alive;
    if (after != before && counted.n_leaks++ < 3) {
        std::printf("# %s, allocation %ld: %ld left behind\n", what.name, n, after - before);
    }
    return true;
}

void run_all(const scenario & what, long step_of_many, long start) {
    what.run();  // what is made once per process is there from now on
    made->refresh();
    failing::arm(0, false);
    what.run();
    failing::disarm();
    const long n_total = failing::n_seen;
    const long step    = n_total < 100 ? 1 : step_of_many;
    check(last_code[0] == '\0' && n_total > 0, std::string(what.name) + " succeeds by itself " + last_code);
    tally      counted;
    const auto began = std::chrono::steady_clock::now();
    for (const bool persistent : { false, true }) {
        for (long n = 1 + start % step; run_once(what, n, persistent, counted); n += step) {
        }
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    check(counted.n >= 2 * (n_total / step) && counted.n_other == 0,
          std::string(what.id) + " " + what.name + ": whichever allocation fails, the call ends with GME_OUT_OF_MEMORY or does without");
    check(counted.n_leaks == 0 && counted.n_changed == 0, std::string(what.id) + " " + what.name + ": nothing is left behind and the model's vectors stay the same bits");
    std::printf("# %s: %s: %ld allocations, %ld failures (each alone and with all later ones%s): %ld times GME_OUT_OF_MEMORY, %ld done without, 0 crashes, %ld leaks, %.1f s\n",
                what.id, what.name, n_total, counted.n, step == 1 ? "" : ", every 7th", counted.n_refused, counted.n_done_without, counted.n_leaks, seconds);
    std::printf("# count failed-allocations: %ld\n# count leaks: %ld\n", counted.n, counted.n_leaks);
    std::fflush(stdout);
}

void preprocess() {
    static std::vector<uint8_t> loader(4u << 20), processor(4u << 20);
    static std::vector<float>   pixels(8u << 20);
    const gme_image             image = { made->rgb.data(), 97, 61 };
    gme_image_plan              plan;
    gme_error *                 error = nullptr;
    keep_code(gme_image_plan_make(97, 61, true, 4, 64, &plan, &error), error);
    if (last_code[0] == '\0') {
        keep_code(gme_image_preprocess(&image, &plan, loader.data(), processor.data(), pixels.data(), &error), error);
    }
}

void load_and_close(bool use_mmap) {
    gme_model * other = nullptr;
    made->load(use_mmap, &other);
    if (other != nullptr && std::strcmp(gme_model_info(other), gme_model_info(made->model)) != 0 && use_mmap) {
        std::snprintf(last_code, sizeof last_code, "another model");
    }
    gme_model_free(other);
}

void tokenize() {
    int32_t *   ids   = nullptr;
    size_t      n_ids = 0;
    gme_error * error = nullptr;
    keep_code(gme_tokenize(made->model, { made->text.data(), made->text.size() }, true, &ids, &n_ids, &error), error);
    gme_ids_free(ids);
}

void inspect() {
    char *      json  = nullptr;
    gme_error * error = nullptr;
    keep_code(gme_file_inspect(made->tower.c_str(), &json, &error), error);
    gme_string_free(json);
}

void ignore_tap(const char *, const float *, int64_t, int64_t, void *) {}
void ignore_stage(const char *, double, double, int64_t, void *) {}

std::vector<scenario> scenarios() {
    static std::vector<float> to(4096);
    gme_embed_params          tapped = gme_embed_params_default(), profiled = tapped;
    tapped.tap                       = ignore_tap;
    profiled.profile                 = ignore_stage;
    const gme_embed_params plain     = gme_embed_params_default();
    return {
        { "L17", "reading a file's header", inspect },
        { "L17", "loading and closing, mapped", [] { load_and_close(true); } },
        { "L17", "loading and closing, owned", [] { load_and_close(false); } },
        { "T31", "tokenising", tokenize },
        { "I35", "a picture's plan, two resizes and patches", preprocess },
        { "L17", "embedding texts", [=] { made->embed(made->texts, plain, to.data()); } },
        { "L17", "embedding a picture with a text", [=] { made->embed(made->pictures, plain, to.data()); } },
        { "L17", "embedding with every stage tapped", [=] { made->embed(made->pictures, tapped, to.data()); } },
        { "L17", "embedding with the stages' times", [=] { made->embed(made->pictures, profiled, to.data()); } },
    };
}

void prepare(const std::string & folder) {
    made->decoder       = folder + "/gguf/tiny-a-f32.gguf";
    made->tower         = folder + "/gguf/mmproj-tiny-a-f32.gguf";
    gme_item item       = engine::text_item(made->text);
    made->texts         = { item, engine::text_item(made->instruction) };
    item.instruction    = { made->instruction.data(), made->instruction.size() };
    item.image          = { made->rgb.data(), 97, 61 };
    made->pictures      = { item };
    made->load(true, &made->model);
    made->golden.resize(2 * static_cast<size_t>(gme_model_dimensions(made->model)));
    made->vectors.resize(made->golden.size());
    made->embed(made->texts, gme_embed_params_default(), made->golden.data());
}

// Closing must work when nothing else does.
void check_close() {
    gme_model * other = nullptr;
    made->load(true, &other);
    failing::arm(1, true);
    gme_model_free(other);
    failing::disarm();
    check(failing::n_seen == 0, "L17 closing a model allocates nothing");
    std::printf("# L17: closing makes %ld allocations; other threads than the caller's made %ld in the whole run\n", failing::n_seen, failing::n_elsewhere.load());
    check(failing::n_elsewhere == 0, "L17 the threads of the pool allocate nothing");
}

}  // namespace

int main(int argc, char ** argv) {
    made = new fixture;
    prepare(argc > 1 ? argv[1] : "test/fixtures");
    const bool whole = std::getenv("GME_TEST_LONG") != nullptr;
    const long step  = whole ? 1 : 7;
    const long start = whole ? 0 : static_cast<long>(std::chrono::system_clock::now().time_since_epoch().count() / 1000 % 7);
    for (const auto & what : scenarios()) {
        run_all(what, step, start);
    }
    check_close();
    gme_model_free(made->model);
    return checks::result();
}
