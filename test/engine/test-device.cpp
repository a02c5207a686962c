// What runs on a device: the same vectors as on the processor, with ggml's own kernels there as the device; names and libraries.
#include "checks.h"
#include "engine-model.h"
#include "not-finite-model.h"
#include "seeded-picture.h"

#include <cmath>
#include <cstring>

using checks::check;
using engine::text_item;

namespace {

constexpr const char * stand_in = "cpu:ggml";

gme_load_params on_device(const char * name) {
    gme_load_params params = gme_load_params_default();
    params.device          = name;
    return params;
}

struct picture {
    std::vector<uint8_t> rgb;
    int32_t              width, height;

    picture(int32_t width, int32_t height, uint64_t seed) : rgb(seeded::noise(width, height, seed)), width(width), height(height) {}
    gme_image image() const { return { rgb.data(), width, height }; }
};

gme_item picture_item(const picture & from) {
    gme_item item = {};
    item.image    = from.image();
    return item;
}

double largest_difference(const std::vector<float> & a, const std::vector<float> & b) {
    double largest = a.size() == b.size() && !a.empty() ? 0 : INFINITY;
    for (size_t i = 0; i < a.size() && i < b.size(); i++) {
        largest = std::fmax(largest, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    }
    return largest;
}

struct pair_of_models {
    engine::model processor, device;

    pair_of_models(const std::string & folder, const std::string & name, gme_load_params params = gme_load_params_default())
        : processor(folder + "/gguf/" + name + "-f32.gguf", folder + "/gguf/mmproj-" + name + "-f32.gguf", 2, params), device(folder + "/gguf/" + name + "-f32.gguf", folder + "/gguf/mmproj-" + name + "-f32.gguf", 2, on(params)) {}

    static gme_load_params on(gme_load_params params) {
        params.device = stand_in;
        return params;
    }
    void compare(const std::vector<gme_item> & items, const std::string & title) {
        const double difference = largest_difference(processor.embed(items), device.embed(items));
        check(difference <= 1e-6, title + ": largest difference " + std::to_string(difference * 1e9) + "e-9" + (device.failure.empty() ? "" : ", " + device.failure));
    }
};

void check_vectors(const std::string & folder, const std::string & name) {
    pair_of_models models(folder, name);
    check(models.device.failure.empty(), name + " loads on the stand-in device: " + models.device.failure);
    const char * info = gme_model_info(models.device.handle);
    check(std::strstr(info, "\"device\":\"cpu:ggml\"") != nullptr && std::strstr(info, "\"visionDevice\":\"cpu:ggml\"") != nullptr, "info names the device of both parts");
    const std::vector<std::string> texts = { "a red car", "a red bus", "a red car by the sea", "dogs", "", "七つの海" };
    const picture                  small(97, 61, 2), large(160, 220, 4);
    const std::string              instruction = "Find an image that matches the given text.";
    std::vector<gme_item>          items;
    for (const auto & text : texts) {
        items.push_back(text_item(text));
        items.back().instruction = { instruction.data(), instruction.size() };
    }
    items[1].image = small.image();
    items.push_back(picture_item(large));
    items.push_back(picture_item(small));
    models.compare(items, name + ", texts that begin alike, pictures, both");
    models.compare(items, name + ", the same with a known opening");
    models.compare({ items[0] }, name + ", one text");
    models.compare({ items[6] }, name + ", one picture");
}

void check_sizes(const std::string & folder) {
    gme_load_params params  = gme_load_params_default();
    params.image_tokens_min = 4;
    pair_of_models       models(folder, "tiny-a", params);
    std::vector<picture> thumbnails;
    for (uint64_t i = 0; i < 12; i++) {
        thumbnails.emplace_back(56, 56 + 28 * static_cast<int32_t>(i % 3), 2 * i);
    }
    std::vector<gme_item> items;
    for (const auto & thumbnail : thumbnails) {
        items.push_back(picture_item(thumbnail));
    }
    models.compare(items, "twelve small pictures in one pass");
    const picture wide(1024, 700, 6);  // more patches than go through a layer at a time
    models.compare({ picture_item(wide) }, "a picture in several chunks");
    std::string words;
    for (int i = 0; i < 5000; i++) {
        words += (i % 7 == 0 ? "sea " : i % 3 == 0 ? "red " : "of ");
    }
    pair_of_models(folder, "tiny-a").compare({ text_item(words.substr(0, 12000)) }, "a text in several chunks");
}

int64_t count_graphs(engine::model & model, const std::vector<gme_item> & items) {
    int64_t          n_graphs = 0;
    gme_embed_params params   = gme_embed_params_default();
    params.profile_data       = &n_graphs;
    params.profile            = [](const char * stage, double, double, int64_t runs, void * to) {
        if (std::strcmp(stage, "host.plan") == 0) {
            *static_cast<int64_t *>(to) = runs;
        }
    };
    const auto profiled = model.embed(items, params);
    check(!profiled.empty() && profiled == model.embed(items), "vectors with a profile equal those without to the bit");
    return n_graphs;
}

// Graphs of a batch: as many as of one item, while its rows fit into one chunk.
void check_graphs(const std::string & folder) {
    gme_load_params params  = on_device(stand_in);
    params.image_tokens_min = 4;
    engine::model            model(folder + "/gguf/tiny-a-f32.gguf", folder + "/gguf/mmproj-tiny-a-f32.gguf", 2, params);
    std::vector<std::string> texts;
    std::vector<picture>     thumbnails;
    for (int i = 0; i < 64; i++) {
        texts.push_back("text " + std::to_string(i * 7919) + " of a batch");
    }
    for (uint64_t i = 0; i < 16; i++) {
        thumbnails.emplace_back(56, 56, i);
    }
    std::vector<gme_item> text_items, picture_items;
    for (const auto & text : texts) {
        text_items.push_back(text_item(text));
    }
    for (const auto & thumbnail : thumbnails) {
        picture_items.push_back(picture_item(thumbnail));
    }
    model.embed({ text_items[0] });  // the opening is known from here on
    const int64_t one_text = count_graphs(model, { text_items[0] }), all_texts = count_graphs(model, text_items);
    check(one_text == 4 && all_texts == one_text, "64 texts take the graphs of one: " + std::to_string(all_texts) + " and " + std::to_string(one_text));
    const int64_t one_picture = count_graphs(model, { picture_items[0] }), all_pictures = count_graphs(model, picture_items);
    check(one_picture == 9 && all_pictures == one_picture, "16 pictures take the graphs of one: " + std::to_string(all_pictures) + " and " + std::to_string(one_picture));
}

void check_stops(const std::string & folder) {
    engine::model    model(folder + "/gguf/tiny-a-f32.gguf", "", 2, on_device(stand_in));
    const auto       good = model.embed({ text_item("a cat") });
    gme_embed_params stop = gme_embed_params_default();
    int              countdown = 2;
    stop.abort      = [](void * left) { return --*static_cast<int *>(left) < 0; };
    stop.abort_data = &countdown;
    model.embed({ text_item("a cat") }, stop);
    check(model.failure.rfind("GME_ABORTED", 0) == 0, "an abort between two graphs");
    check(!good.empty() && model.embed({ text_item("a cat") }) == good, "an aborted call leaves the model as it was");
}

void check_not_finite(const std::string & folder) {
    const engine::not_finite_model file(folder);
    engine::model model(file.path, "", 2, on_device(stand_in));
    model.embed({ text_item("a cat") });
    check(model.failure == "GME_NON_FINITE decoder.layer.1 item 0", "weights that are not numbers name the first bad stage: " + model.failure);
}

std::string add_library(const std::string & path, std::string * file = nullptr) {
    gme_error * error = nullptr;
    if (gme_device_library_add(path.c_str(), &error) == GME_STATUS_OK) {
        return "";
    }
    const std::string told = std::string(error->code) + " " + error->field + ": " + error->value;
    if (file != nullptr) {
        *file = error->file;
    }
    gme_error_free(error);
    return told;
}

void check_names(const std::string & folder) {
    const std::string model = folder + "/gguf/tiny-a-f32.gguf";
    for (const char * name : { "cuda:1", "cuda", "vulkan:0", "CPU", "cpu:", "gpu", " " }) {
        check(engine::model(model, "", 2, on_device(name)).failure == "GME_DEVICE_UNAVAILABLE device", std::string("no device is called '") + name + "'");
    }
    for (const char * name : { "auto", "cpu", "" }) {
        const engine::model loaded(model, "", 2, on_device(name));
        check(loaded.failure.empty() && std::strstr(gme_model_info(loaded.handle), "\"device\":\"cpu\"") != nullptr, std::string("without devices '") + name + "' is the processor");
    }
    std::string file;
    check(add_library("/nowhere/libggml-cuda.so", &file).rfind("GME_DEVICE_UNAVAILABLE backend: ", 0) == 0 && file == "/nowhere/libggml-cuda.so", "a library that is not there is named");
    check(add_library(model).rfind("GME_DEVICE_UNAVAILABLE backend: ", 0) == 0, "a model is no library");
    const std::string other = add_library("libm.so.6");
    check(other.rfind("GME_DEVICE_UNAVAILABLE backend: ", 0) == 0, "a library of another kind is no library of devices: " + other);
    char *      json  = nullptr;
    gme_error * error = nullptr;
    check(gme_devices_list(&json, &error) == GME_STATUS_OK && std::strstr(json, "\"processor\":\"native\"") != nullptr && std::strstr(json, "\"devices\":[]") != nullptr, "nothing was added by what failed");
    gme_string_free(json);
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string folder = argc > 1 ? argv[1] : "test/fixtures";
    check_vectors(folder, "tiny-a");
    check_vectors(folder, "tiny-b");
    check_sizes(folder);
    check_graphs(folder);
    check_stops(folder);
    check_not_finite(folder);
    check_names(folder);
    return checks::result();
}
