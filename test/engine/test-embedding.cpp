// One item alone, in batches and with other numbers of threads; aborts; pairs that do not fit; weights that are not numbers.
#include "checks.h"
#include "engine-model.h"
#include "not-finite-model.h"

#include <cmath>
#include <cstring>

using checks::check;
using engine::text_item;

namespace {

std::vector<uint8_t> noise(int32_t width, int32_t height) {
    std::vector<uint8_t> rgb(static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
    uint32_t             state = 2463534242u;
    for (auto & byte : rgb) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        byte = static_cast<uint8_t>(state);
    }
    return rgb;
}

float largest_difference(const float * a, const float * b, int32_t n) {
    float largest = 0;
    for (int32_t i = 0; i < n; i++) {
        largest = std::max(largest, std::fabs(a[i] - b[i]));
    }
    return largest;
}

void check_batches(const std::string & folder) {
    const std::string              decoder = folder + "/gguf/tiny-a-f32.gguf", tower = folder + "/gguf/mmproj-tiny-a-f32.gguf";
    const std::vector<std::string> texts = { "a cat", "", "The quick brown fox jumps over the lazy dog.", "\n", "七つの海", "x x x x x x x x x x x x x x x x x x x x", "photo" };
    const auto                     rgb   = noise(97, 61);
    std::vector<gme_item>          items;
    for (const auto & text : texts) {
        items.push_back(text_item(text));
    }
    items[6].image = { rgb.data(), 97, 61 };
    gme_item picture = {};
    picture.image    = { rgb.data(), 97, 61 };
    items.push_back(picture);
    engine::model two(decoder, tower, 2), one(decoder, tower, 1);
    const int32_t n     = two.dimensions();
    const auto    batch = two.embed(items);
    check(batch == two.embed(items), "the same batch with the same threads is bit-equal");
    check(batch == engine::model(decoder, tower, 2).embed(items), "and in another model too");
    float alone = 0, threads = 0, passes = 0;
    const auto batch_one = one.embed(items);
    gme_embed_params small = gme_embed_params_default();
    small.n_batch_tokens   = 64;
    const auto pieces      = two.embed(items, small);
    bool       repeated    = true;
    for (size_t i = 0; i < items.size(); i++) {
        const auto single = two.embed({ items[i] });
        repeated          = repeated && single == two.embed({ items[i] });
        alone             = std::max(alone, largest_difference(single.data(), batch.data() + i * static_cast<size_t>(n), n));
        threads           = std::max(threads, largest_difference(batch_one.data() + i * static_cast<size_t>(n), batch.data() + i * static_cast<size_t>(n), n));
        passes            = std::max(passes, largest_difference(pieces.data() + i * static_cast<size_t>(n), batch.data() + i * static_cast<size_t>(n), n));
    }
    check(repeated, "an item alone is bit-equal each time");
    check(alone <= 1e-5f, "alone and in a batch of 8 differ by at most 1e-5: " + std::to_string(alone));
    check(threads <= 1e-5f, "1 and 2 threads differ by at most 1e-5: " + std::to_string(threads));
    check(passes <= 1e-5f, "one pass and several differ by at most 1e-5: " + std::to_string(passes));
}

void check_refusals(const std::string & folder) {
    const std::string decoder = folder + "/gguf/tiny-a-f32.gguf", tower = folder + "/gguf/mmproj-tiny-a-f32.gguf";
    check(engine::model(decoder, folder + "/gguf/mmproj-tiny-b-f32.gguf").failure == "GME_MMPROJ_MISMATCH kv[\"clip.vision.projection_dim\"]", "G099 a tower of another width is refused");
    check(engine::model(tower, "").failure == "GME_MODEL_UNSUPPORTED kv[\"general.architecture\"]", "G097 a tower given as the model is refused");
    check(engine::model(decoder, decoder).failure == "GME_MMPROJ_MISMATCH kv[\"clip.projector_type\"]", "G097 a decoder given as the tower is refused");
    check(engine::model(decoder, tower, 513).failure == "GME_OPTION_INVALID threads", "L20 513 threads are refused");
    engine::model model(decoder, tower);
    check(std::strstr(gme_model_info(engine::model(decoder).handle), "\"vision\":true") != nullptr, "the tower beside the decoder is found by its name");
    const std::string text = "a cat";
    const auto        good = model.embed({ text_item(text) });
    gme_embed_params  stop = gme_embed_params_default();
    stop.abort             = [](void *) { return true; };
    model.embed({ text_item(text) }, stop);
    check(model.failure.rfind("GME_ABORTED", 0) == 0, "an abort before the first node");
    int countdown   = 12;
    stop.abort      = [](void * left) { return --*static_cast<int *>(left) < 0; };
    stop.abort_data = &countdown;
    model.embed({ text_item(text) }, stop);
    check(model.failure.rfind("GME_ABORTED", 0) == 0, "an abort between the nodes of a graph");
    check(model.embed({ text_item(text) }) == good, "an aborted call leaves the model as it was");
    gme_item nothing = {};
    model.embed({ text_item(text), nothing });
    check(model.failure == "GME_INPUT_INVALID text item 1" || model.failure.rfind("GME_INPUT_INVALID", 0) == 0, "an item without text and picture is named: " + model.failure);
}

void check_not_finite(const std::string & folder) {
    const engine::not_finite_model file(folder);
    const std::string text = "a cat";
    engine::model model(file.path);
    model.embed({ text_item(text) });
    check(model.failure == "GME_NON_FINITE decoder.layer.1 item 0", "G096 weights that are not numbers name the first bad stage: " + model.failure);
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string folder = argc > 1 ? argv[1] : "test/fixtures";
    check_batches(folder);
    check_refusals(folder);
    check_not_finite(folder);
    return checks::result();
}
