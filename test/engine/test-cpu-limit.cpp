// Every instruction set of this processor gives the same vectors: portable, AVX2, AVX-512; texts, pictures, both, alone and together.
#include "checks.h"
#include "cpu-level.h"
#include "engine-model.h"
#include "seeded-picture.h"

#include <cmath>

using checks::check;

namespace {

gme_load_params limited(gme_cpu_limit limit) {
    gme_load_params params = gme_load_params_default();
    params.cpu_limit       = limit;
    return params;
}

struct test_model {
    std::string decoder, tower;
    float       portable_limit;
};

std::vector<float> embed(const test_model & of, gme_cpu_limit limit, const std::vector<gme_item> & items) {
    engine::model model(of.decoder, of.tower, 2, limited(limit));
    check(model.failure.empty(), "loads " + of.decoder + " " + model.failure);
    const auto vectors = model.embed(items);
    check(model.failure.empty(), "embeds " + model.failure);
    return vectors;
}

float largest_difference(const std::vector<float> & a, const std::vector<float> & b) {
    float largest = a.size() == b.size() ? 0.0f : INFINITY;
    for (size_t i = 0; i < a.size() && i < b.size(); i++) {
        largest = std::max(largest, std::fabs(a[i] - b[i]));
    }
    return largest;
}

}  // namespace

int main(int, char ** argv) {
    const std::string        folder = argv[1];
    const auto               rgb    = seeded::noise(97, 61, 2);
    std::vector<std::string> texts  = { "a cat", "a cat on a mat", "The quick brown fox jumps over the lazy dog and then it sleeps for a very long time under the old apple tree.", "" };
    std::vector<gme_item>    items;
    for (const auto & text : texts) {
        items.push_back(engine::text_item(text));
    }
    items[3].image = { rgb.data(), 97, 61 };
    const gme::cpu_features cpu = gme::detect_cpu();
    check(std::string(gme::cpu_level_name(gme::limit_cpu(cpu, gme::cpu_level::portable))) == "portable", "a limit is a limit");
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    // GCC's own library answers the same questions; not every compiler's does.
    const bool avx2   = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    check((cpu.level != gme::cpu_level::portable) == avx2, "AVX2 as GCC sees it");
    check((cpu.level == gme::cpu_level::avx512) == avx512, "AVX-512 as GCC sees it");
    check(cpu.avx512_vnni == (avx512 && __builtin_cpu_supports("avx512vnni")), "VNNI as GCC sees it");
#endif
    // Portable code multiplies f16 weights by tokens rounded to f16, as ggml does; ours keeps them.
    const test_model models[] = {
        { folder + "/gguf/tiny-a-f32.gguf", folder + "/gguf/mmproj-tiny-a-f32.gguf", 1e-5f },
        { folder + "/gguf/tiny-b-f32.gguf", folder + "/gguf/mmproj-tiny-b-f32.gguf", 1e-5f },
        { folder + "/../../models/emoji-tiny-f16.gguf", "", 2e-3f },
    };
    for (const auto & model : models) {
        const auto portable = embed(model, GME_CPU_PORTABLE, items);
        if (cpu.level >= gme::cpu_level::avx2) {
            const auto  avx2       = embed(model, GME_CPU_AVX2, items);
            const float difference = largest_difference(portable, avx2);
            check(difference <= model.portable_limit, "portable and AVX2 differ by " + std::to_string(difference * 1e6f) + "e-6");
            if (cpu.level >= gme::cpu_level::avx512) {
                const float wide = largest_difference(avx2, embed(model, GME_CPU_ANY, items));
                check(wide <= 1e-5f, "AVX2 and AVX-512 differ by " + std::to_string(wide * 1e6f) + "e-6");
            }
        }
    }
    return checks::result();
}
