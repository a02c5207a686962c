// Too little address space while a picture and a long text are embedded: an error of the call at whatever point it runs out.
#include "checks.h"
#include "engine-model.h"
#include "seeded-picture.h"

#include <cstring>
#include <fstream>

#include <sys/resource.h>

using checks::check;
using engine::text_item;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__linux__)
constexpr bool applies = false;  // sanitizers map address space of their own and end the process without it
#else
constexpr bool applies = true;
#endif

rlim_t address_space() {
    std::ifstream statm("/proc/self/statm");
    rlim_t        pages = 0;
    statm >> pages;
    return pages * 4096;
}

struct limited {
    explicit limited(rlim_t more) {
        getrlimit(RLIMIT_AS, &before);
        rlimit now = before;
        now.rlim_cur = address_space() + more;
        setrlimit(RLIMIT_AS, &now);
    }
    ~limited() { setrlimit(RLIMIT_AS, &before); }
    rlimit before;
};

}  // namespace

int main(int argc, char ** argv) {
    const std::string folder = argc > 1 ? argv[1] : "test/fixtures";
    if (!applies) {
        std::printf("# L16: limits of address space are not tried under sanitizers and outside Linux\n");
        return 0;
    }
    gme_load_params params  = gme_load_params_default();
    params.image_tokens_min = 256;
    params.image_tokens_max = 256;
    const std::string     decoder = folder + "/gguf/tiny-a-f32.gguf", tower = folder + "/gguf/mmproj-tiny-a-f32.gguf";
    const auto            rgb  = seeded::noise(64, 64, 2);
    std::string           text;
    for (int i = 0; i < 300; i++) {
        text += "seven cats and a dog ";
    }
    gme_item picture = {};
    picture.image    = { rgb.data(), 64, 64 };
    for (const auto & [item, name] : { std::pair(picture, "a picture of 256 tokens"), std::pair(text_item(text), "a text of some hundred words") }) {
        const auto golden = engine::model(decoder, tower, 2, params).embed({ text_item(decoder) });
        long       n_refused = 0, n_done = 0, n_other = 0, n_changed = 0;
        for (const rlim_t megabytes : { 0, 1, 2, 4, 64 }) {
            engine::model model(decoder, tower, 2, params);
            {
                const limited limit(megabytes << 20);
                model.embed({ item });
            }
            n_done += model.failure.empty();
            n_refused += model.failure.rfind("GME_OUT_OF_MEMORY", 0) == 0;
            n_other += !model.failure.empty() && model.failure.rfind("GME_OUT_OF_MEMORY", 0) != 0;
            n_changed += model.embed({ text_item(decoder) }) != golden;
        }
        check(n_refused > 0 && n_done > 0 && n_other == 0, std::string("L16 ") + name + ": with too little address space the call ends with GME_OUT_OF_MEMORY, with more it is done");
        check(n_changed == 0, std::string("L16 ") + name + ": the model goes on with the same bits");
        std::printf("# L16: %s with 0, 1, 2, 4 and 64 MB left: %ld times GME_OUT_OF_MEMORY, %ld done, %ld other errors; the model went on each time\n", name, n_refused, n_done, n_other);
    }
    return checks::result();
}
