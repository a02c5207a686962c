// The profile of a call: same vectors to the bit, stages that add up, operations that equal the formula.
#include "backend.h"
#include "checks.h"
#include "engine-model.h"
#include "model.h"
#include "seeded-picture.h"
#include "stage-profile.h"

#include <algorithm>
#include <chrono>
#include <cmath>

using checks::check;
using engine::text_item;

namespace {

struct reported {
    std::string name;
    double      milliseconds, flop;
    int64_t     n_runs;
};

void collect(const char * stage, double milliseconds, double flop, int64_t runs, void * user_data) {
    static_cast<std::vector<reported> *>(user_data)->push_back({ stage, milliseconds, flop, runs });
}

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Two chained products with a norm between them, and a part that ggml does not know the operations of.
void check_graph() {
    constexpr int64_t        n_in = 64, n_mid = 96, n_out = 32, n = 5;
    const std::vector<float> a(n_in * n_mid, 0.5f), b(n_mid * n_out, 0.25f), x(n_in * n, 1.0f);
    gme::backend             cpu(2);
    gme::stage_profile       profile;
    const auto               run = [&](bool expression) {
        gme::graph    build(cpu, 16);
        ggml_tensor * rows = build.input_f32(x.data(), n_in, n);
        build.stage("test.first");
        ggml_tensor * cur = ggml_mul_mat(build.context(), build.input_f32(a.data(), n_in, n_mid), rows);  // [n_mid, n]
        if (expression) {
            cur = build.staged("test.first", cur);
            cur = build.staged("test.norm", ggml_rms_norm(build.context(), cur, 1e-6f));
        } else {
            build.add(cur);
            build.stage("test.norm");
            cur = ggml_rms_norm(build.context(), cur, 1e-6f);
            build.add(cur);
        }
        build.stage("test.second");
        cur = ggml_mul_mat(build.context(), build.input_f32(b.data(), n_mid, n_out), cur);  // [n_out, n]
        build.count_flop(7);
        build.keep(cur);
        build.run();
        return gme::read_rows(cur, 0, n);
    };
    const auto plain = run(false);
    cpu.set_profile(&profile);
    const bool same = plain == run(false) && plain == run(true);
    cpu.set_profile(nullptr);
    check(same && plain == run(true), "a graph gives the same numbers with and without a profile");
    const auto stages = profile.stages();
    check(stages.size() == 3 && stages[0].name == "test.first" && stages[1].name == "test.norm" && stages[2].name == "test.second",
          "stages come in the order of first use, and nothing is measured without a profile");
    check(stages.size() == 3 && stages[0].flop == 2 * 2.0 * n_in * n_mid * n && stages[1].flop == 0 && stages[2].flop == 2 * (2.0 * n_mid * n_out * n + 7),
          "a stage has the operations of its products, and those that were registered");
    check(stages.size() == 3 && stages[0].n_runs == 2 && stages[2].n_runs == 2, "runs are counted");
}

void check_timer() {
    gme::stage_profile profile;
    { const gme::stage_timer off(nullptr, "host.nothing"); }
    { const gme::stage_timer on(&profile, "host.something"); }
    check(profile.stages().size() == 1 && profile.stages()[0].n_runs == 1 && profile.stages()[0].milliseconds >= 0, "a timer measures its scope, or nothing");
}

// Of the decoder's layers: q, k, v, o, gate, up and down of n tokens. The last layer computes q, o and the MLP for the last token only.
double decoder_flop(const gme::decoder_config & config, double n) {
    const double n_embd = config.n_embd, n_kv = config.n_embd_head * config.n_head_kv, n_ff = config.n_ff, n_layers = config.n_layer;
    return n_layers * 2 * 2 * n_embd * n_kv * n + 2 * (2 * n_embd * n_embd + 3 * n_embd * n_ff) * ((n_layers - 1) * n + 1);
}

void check_model(const std::string & folder) {
    engine::model         model(folder + "/gguf/tiny-a-f32.gguf", folder + "/gguf/mmproj-tiny-a-f32.gguf", 2);
    const auto            rgb   = seeded::noise(112, 84, 2);
    const std::string     texts[] = { "a cat", "The quick brown fox jumps over the lazy dog." };
    std::vector<gme_item> items   = { text_item(texts[0]), text_item(texts[1]) };
    gme_item              picture = {};
    picture.image                 = { rgb.data(), 112, 84 };
    items.push_back(picture);
    model.embed(items);  // what is kept for later calls is there from now on, for all that are compared
    const auto            plain = model.embed(items);
    std::vector<reported> stages;
    gme_embed_params      params = gme_embed_params_default();
    params.profile               = collect;
    params.profile_data          = &stages;
    const auto   start           = std::chrono::steady_clock::now();
    const auto   profiled        = model.embed(items, params);
    const double seconds         = seconds_since(start);
    check(!plain.empty() && plain == profiled && plain == model.embed(items), "vectors with a profile equal those without to the bit");
    double total = 0;
    bool   sane  = true;
    for (const auto & stage : stages) {
        total += stage.milliseconds;
        sane = sane && std::isfinite(stage.milliseconds) && stage.milliseconds >= 0 && stage.flop >= 0 && stage.n_runs > 0 && !stage.name.empty();
    }
    check(!stages.empty() && sane, "every stage has a name, a time, operations and runs");
    check(total > 0 && total <= seconds * 1000, "the stages' times add up to no more than the call: " + std::to_string(total) + " of " + std::to_string(seconds * 1000) + " ms");
}

// A text long enough that neither the fixed prefix, which may be kept from an earlier call, nor attention, which may round its keys
// up, makes much of it.
void check_decoder_flop(const std::string & folder) {
    engine::model         model(folder + "/gguf/tiny-a-f32.gguf", folder + "/gguf/mmproj-tiny-a-f32.gguf", 2);
    std::string           text;
    for (int i = 0; i < 200; i++) {
        text += "seven cats ";
    }
    const gme_item        item = text_item(text);
    std::vector<reported> stages;
    gme_embed_params      params = gme_embed_params_default();
    gme_token_count       count  = {};
    params.profile               = collect;
    params.profile_data          = &stages;
    check(gme_count_tokens(model.handle, &item, false, &count, nullptr) == GME_STATUS_OK && !model.embed({ item }, params).empty(), "a long text is embedded");
    double found = 0;
    for (const auto & stage : stages) {
        found += stage.flop;
    }
    const auto & config    = model.handle->decoder_config;
    const double products  = decoder_flop(config, count.total);
    const double attention = 4.0 * config.n_layer * config.n_head * config.n_embd_head * count.total * count.total;  // without the causal mask
    check(found >= 0.9 * products && found <= 1.1 * (products + attention), "its operations are those of the decoder's products: " + std::to_string(found / 1e6) +
              " MFLOP of " + std::to_string(products / 1e6) + " and at most " + std::to_string(attention / 1e6) + " for attention");
}

std::vector<reported> profile_of(engine::model & model, const std::vector<gme_item> & items) {
    std::vector<reported> stages;
    gme_embed_params      params = gme_embed_params_default();
    params.profile               = collect;
    params.profile_data          = &stages;
    model.embed(items, params);
    return stages;
}

// The stand-in does all nodes; the operations of a stage are those that our own kernels count.
void check_device(const std::string & folder) {
    const std::string decoder = folder + "/gguf/tiny-a-f32.gguf", tower = folder + "/gguf/mmproj-tiny-a-f32.gguf";
    gme_load_params   params  = gme_load_params_default();
    params.device             = "cpu:ggml";
    engine::model         processor(decoder, tower, 2), device(decoder, tower, 2, params);
    const auto            rgb     = seeded::noise(160, 220, 2);
    const std::string     texts[] = { "a cat", "a dog that sleeps", "a cat by the sea" };
    std::vector<gme_item> items   = { text_item(texts[0]), text_item(texts[1]), text_item(texts[2]) };
    items[2].image                = { rgb.data(), 160, 220 };
    device.embed(items);  // what is kept for later calls is there from now on
    processor.embed(items);
    const auto            plain   = device.embed(items);
    const auto            start   = std::chrono::steady_clock::now();
    const auto            there   = profile_of(device, items);
    const double          call_ms = seconds_since(start) * 1000;
    const auto            here    = profile_of(processor, items);
    check(!plain.empty() && plain == device.embed(items), "a profile leaves a device's vectors as they were");
    double layers_ms = 0, all_ms = 0;
    check(std::any_of(there.begin(), there.end(), [](const reported & each) { return each.name == "host.plan"; }), "what is planned on a device is a stage");
    for (const auto & stage : there) {
        if (stage.name == "host.plan") {
            all_ms += stage.milliseconds;
            continue;
        }
        const auto same = std::find_if(here.begin(), here.end(), [&](const reported & each) { return each.name == stage.name; });
        check(same != here.end() && std::fabs(same->flop - stage.flop) <= 1e-9 * stage.flop, "on a device " + stage.name + " has the operations that it has on the processor: " + std::to_string(stage.flop));
        all_ms += stage.milliseconds;
        layers_ms += stage.name.rfind("host.", 0) == 0 ? 0 : stage.milliseconds;
    }
    check(there.size() == here.size() + 1, "a device has the processor's stages beside it");
    check(layers_ms > 0 && all_ms <= call_ms, "a device's stages take time, no more than the call: " + std::to_string(layers_ms) + " of " + std::to_string(call_ms) + " ms");
}

void check_device_graph() {
    constexpr int64_t        n_in = 64, n_out = 32, n = 5;
    const std::vector<float> a(n_in * n_out, 0.5f), x(n_in * n, 1.0f);
    gme::backend             there(2, std::make_unique<gme::device>(gme::find_device(gme::stand_in_device), 2));
    gme::stage_profile       profile;
    there.set_profile(&profile);
    gme::graph    build(there, 16);
    build.stage("test.before");
    ggml_tensor * cur = ggml_rms_norm(build.context(), build.input_f32(x.data(), n_in, n), 1e-6f);
    build.add(cur);
    build.stage("test.product");
    cur = ggml_mul_mat(build.context(), build.input_f32(a.data(), n_in, n_out), cur);
    build.keep(cur);
    build.run();
    const auto stages = profile.stages();
    check(stages.size() == 3 && stages[0].name == "host.plan" && stages[1].name == "test.before" && stages[2].name == "test.product" && stages[2].flop == 2.0 * n_in * n_out * n && stages[2].n_runs == 1,
          "a graph on a device is measured by section");
}

void check_roofline() {
    gme_roofline roofline = {};
    gme_error *  error    = nullptr;
    const gme_status measured = gme_roofline_measure("q8_0", nullptr, 2, 0, nullptr, nullptr, &roofline, &error);
    check(measured == GME_STATUS_OK && std::isfinite(roofline.gflops) && roofline.gflops > 0 && roofline.n_in > 0 && roofline.read_gigabytes_per_second > 0,
          "the roofline is measured: " + std::to_string(roofline.gflops) + " GFLOP/s, " + std::to_string(roofline.read_gigabytes_per_second) + " GB/s");
    for (const auto & [type, threads, seconds] : { std::tuple("i32", 1, 0.0), std::tuple("", 1, 0.0), std::tuple("f16", 0, 0.0), std::tuple("f16", 513, 0.0),
                                                   std::tuple("f16", 1, -1.0), std::tuple("f16", 1, std::nan("")) }) {
        error              = nullptr;
        const bool refused = gme_roofline_measure(type, "cpu", threads, seconds, nullptr, nullptr, &roofline, &error) == GME_STATUS_ERROR && error != nullptr &&
                             std::string(error->code) == "GME_OPTION_INVALID";
        check(refused, std::string("a roofline of \"") + type + "\" with " + std::to_string(threads) + " threads is refused");
        gme_error_free(error);
    }
    error               = nullptr;
    const bool no_device = gme_roofline_measure("f16", "cuda:7", 1, 0, nullptr, nullptr, &roofline, &error) == GME_STATUS_ERROR && error != nullptr &&
                           std::string(error->code) == "GME_DEVICE_UNAVAILABLE";
    check(no_device, "a roofline of a device that is not there is refused");
    gme_error_free(error);
    for (const char * type : { "f32", "f16", "q8_0" }) {
        error               = nullptr;
        gme_roofline of_device = {};
        const gme_status done  = gme_roofline_measure(type, "cpu:ggml", 2, 0, nullptr, nullptr, &of_device, &error);
        check(done == GME_STATUS_OK && std::isfinite(of_device.gflops) && of_device.gflops > 0 &&
                  of_device.n_in > 0 && of_device.read_gigabytes_per_second > 0,
              std::string("the roofline of a device is measured: ") + type + ", " + std::to_string(of_device.gflops) + " GFLOP/s, " + std::to_string(of_device.read_gigabytes_per_second) + " GB/s");
        gme_error_free(error);
    }
    error              = nullptr;
    const bool aborted = gme_roofline_measure("f16", nullptr, 1, 60, [](void *) { return true; }, nullptr, &roofline, &error) == GME_STATUS_ABORTED;
    check(aborted, "a roofline ends when it is aborted");
    gme_error_free(error);
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string folder = argc > 1 ? argv[1] : "test/fixtures";
    check_graph();
    check_timer();
    check_model(folder);
    check_decoder_flop(folder);
    check_device(folder);
    check_device_graph();
    check_roofline();
    return checks::result();
}
