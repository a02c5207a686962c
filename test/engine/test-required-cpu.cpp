// This build on this processor: loads, or says what the processor lacks. test/faults/old-processor.test.ts runs it under emulated ones.
#include "checks.h"
#include "engine-model.h"
#include "ggml-guard.h"

int main(int argc, char ** argv) {
    const std::string folder  = argc > 1 ? argv[1] : "test/fixtures";
    const char *      missing = gme::missing_instructions();
    engine::model     model(folder + "/gguf/tiny-a-f32.gguf", "", 1);
    const std::string text    = "a cat";
    if (missing == nullptr) {
        checks::check(model.failure.empty() && !model.embed({ engine::text_item(text) }).empty(), "L27 a processor with all that the build needs embeds");
    } else {
        checks::check(model.failure == "GME_DEVICE_UNAVAILABLE cpu", "L27 a processor without " + std::string(missing) + " is refused: " + model.failure);
    }
    std::printf("# L27: %s\n", missing == nullptr ? "this processor has all that the build needs" : (std::string("refused, no ") + missing).c_str());
    return checks::result();
}
