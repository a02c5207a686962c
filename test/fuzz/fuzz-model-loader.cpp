// The model loader: small models, changed in any way that leaves a file, loaded and asked for vectors.
//
//   recipe (model-recipe.h) -> one or two files -> gme_model_load -> gme_embed of a short text and, with a tower, of a small picture
//   outcome: a typed error, never GME_INTERNAL, or finite vectors of length 1; a model without a change must give vectors
//
// Picture and context are kept small by the options, because a file may ask for pictures whose attention takes minutes.

#include "fuzz-checks.h"
#include "model-recipe.h"

#include "gme.h"

#include <algorithm>
#include <cmath>
#include <vector>

using fuzz::must;

namespace {

struct room {
    fuzz::scratch_folder folder;
    fuzz::scratch_file   decoder{ folder, "smallest.gguf" };
    fuzz::scratch_file   tower{ folder, "mmproj-smallest.gguf" };
};

// The codes a file can cause; GME_OPTION_INVALID because limits in the file meet the options given here.
void check_refusal(gme_error * error, bool changed) {
    must(error != nullptr, "a failure has an error");
    const std::string code = error->code, message = error->message, field = error->field, value = error->value;
    gme_error_free(error);
    must(changed, "a good model loads and embeds, but: " + code + " " + field + ": " + message);
    static const char * const known[] = { "GME_GGUF_", "GME_TENSOR_", "GME_MODEL_UNSUPPORTED", "GME_HPARAM_RANGE", "GME_TOKENIZER_BAD", "GME_MMPROJ_MISMATCH", "GME_NON_FINITE",
                                          "GME_OPTION_INVALID", "GME_TEXT_TOO_LONG", "GME_INPUT_INVALID" };
    must(std::any_of(std::begin(known), std::end(known), [&](const char * start) { return fuzz::starts_with(code, start); }), "a file is refused by a code of its own, not " + code + ": " + message);
    must(!field.empty(), code + " names its field");
    fuzz::must_be_printable(message, "a refusal's message");
    fuzz::must_be_printable(value, "a refusal's value");
}

void check_vector(const std::vector<float> & vector) {
    double length = 0;
    for (const float x : vector) {
        must(std::isfinite(x), "a vector is finite");
        length += static_cast<double>(x) * static_cast<double>(x);
    }
    must(std::fabs(length - 1.0) < 1e-3, "a vector has length 1");
}

gme_load_params load_params(const recipe::head & head, const char * mmproj) {
    gme_load_params params  = gme_load_params_default();
    params.mmproj           = mmproj;
    params.use_mmap         = (head.load_flags & 1) == 0;
    params.positions        = static_cast<gme_positions>((head.load_flags >> 1 & 3) % 3);
    params.loader_resize    = static_cast<gme_toggle>((head.load_flags >> 3 & 3) % 3);
    params.image_tokens_min = 1;
    params.image_tokens_max = 8;
    params.cpu_limit        = static_cast<gme_cpu_limit>(head.load_flags >> 5 & 3);
    return params;
}

void embed(gme_model * model, const recipe::head & head, bool has_tower, bool changed) {
    static const std::string text = "hello <|im_start|> abcd \xc3\xa9\n", instruction = "abc";
    const int32_t            width = 1 + head.picture_width % 64, height = 1 + head.picture_height % 64;
    std::vector<uint8_t>     rgb(static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
    for (size_t i = 0; i < rgb.size(); i++) {
        rgb[i] = static_cast<uint8_t>(i * 37 + head.embed_flags);
    }
    std::vector<gme_item> items(2);
    items[0].text = { text.data(), text.size() };
    if ((head.embed_flags & 1) != 0) {
        items[0].instruction = { instruction.data(), instruction.size() };
    }
    items[1].image = { rgb.data(), width, height };
    if ((head.embed_flags & 2) != 0) {
        items[1].text = { text.data(), 5 };
    }
    items.resize(has_tower ? 2 : 1);
    gme_embed_params params = gme_embed_params_default();
    params.parse_special    = (head.embed_flags & 4) != 0;
    params.n_batch_tokens   = head.embed_flags & 8 ? 16 : 0;
    const auto         n    = static_cast<size_t>(gme_model_dimensions(model));
    std::vector<float> vectors(n * items.size(), NAN);
    gme_error *        error = nullptr;
    if (gme_embed(model, items.data(), static_cast<int32_t>(items.size()), &params, vectors.data(), &error) != GME_STATUS_OK) {
        check_refusal(error, changed);
        return;
    }
    for (size_t i = 0; i < items.size(); i++) {
        check_vector({ vectors.begin() + static_cast<std::ptrdiff_t>(i * n), vectors.begin() + static_cast<std::ptrdiff_t>((i + 1) * n) });
    }
}

bool tells_of_tower(const gme_model * model) { return std::string(gme_model_info(model)).find("\"vision\":true") != std::string::npos; }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    static room       where;
    fuzz::byte_source source(data, size);
    const auto        head  = source.take<recipe::head>();
    const auto        made  = recipe::make_model(head, source);
    const auto        bytes = made.decoder.bytes();
    where.decoder.write(bytes.data(), bytes.size());
    const bool two_files = made.place == recipe::tower::given || made.place == recipe::tower::beside;
    if (two_files) {
        const auto more = made.mmproj.bytes();
        where.tower.write(more.data(), more.size());
    } else {
        where.tower.remove();
    }
    const auto  params = load_params(head, made.place == recipe::tower::given ? where.tower.path().c_str() : nullptr);
    gme_model * model  = nullptr;
    gme_error * error  = nullptr;
    if (gme_model_load(where.decoder.path().c_str(), &params, &model, &error) != GME_STATUS_OK) {
        check_refusal(error, made.changed);
        return 0;
    }
    const bool has_tower = tells_of_tower(model);
    must(made.changed || has_tower == (made.place != recipe::tower::none), "a good model's tower is found");
    struct freed {
        gme_model * model;
        ~freed() { gme_model_free(model); }
    } const keeper{ model };
    embed(model, head, has_tower, made.changed);
    return 0;
}
