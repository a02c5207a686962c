// The model loader: small models, changed in any way that leaves a file, loaded and asked for vectors.
//
//   recipe (model-recipe.h) -> one or two files -> gme_model_load -> gme_embed of a short text and, with a tower, of a small picture
//   outcome: a typed error, never GME_INTERNAL, or finite vectors of length 1; a model without a change must give vectors
//
// The mutator works on whole changes, so that they stay meaningful; picture and context are kept small by the options, because a file
// may ask for pictures whose attention takes minutes.

#include "fuzz-checks.h"
#include "model-recipe.h"

#include "gme.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

extern "C" size_t LLVMFuzzerMutate(uint8_t * data, size_t size, size_t max_size) __attribute__((weak));

using fuzz::must;
using recipe::change_bytes;
using recipe::head_bytes;

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

// ---- mutations on whole changes; the rest is libFuzzer's own ----

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t * data, size_t size, size_t max_size, unsigned int seed) {
    std::minstd_rand random(seed);
    const auto       below = [&](size_t n) { return n == 0 ? 0 : random() % n; };
    if (size < head_bytes) {
        std::memset(data + size, 0, head_bytes - size);
        size = head_bytes;
    }
    size_t     n     = (size - head_bytes) / change_bytes;
    const auto at    = [&](size_t i) { return data + head_bytes + i * change_bytes; };
    const bool grows = n < recipe::changes_max && head_bytes + (n + 1) * change_bytes <= max_size;
    switch (below(8)) {
        case 0: data[below(head_bytes)] = static_cast<uint8_t>(random()); break;
        case 1: case 2:
            if (grows) {
                const size_t place = below(n + 1);
                std::memmove(at(place + 1), at(place), (n - place) * change_bytes);
                for (size_t i = 0; i < change_bytes; i++) {
                    at(place)[i] = static_cast<uint8_t>(random() >> 8);
                }
                at(place)[change_bytes - 1] = below(3) == 0 ? static_cast<uint8_t>(random()) : 0xA5;  // a number of the table
                n++;
            }
            break;
        case 3:
            if (n > 0) {
                const size_t place = below(n);
                std::memmove(at(place), at(place + 1), (n - place - 1) * change_bytes);
                n--;
            }
            break;
        case 4:
            if (n > 1) {
                std::swap_ranges(at(0), at(0) + change_bytes, at(below(n)));
            }
            break;
        default:
            if (n > 0) {
                LLVMFuzzerMutate(at(below(n)), change_bytes, change_bytes);
            }
            break;
    }
    return head_bytes + n * change_bytes;
}

// The head of one and changes of both.
extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t * a, size_t a_size, const uint8_t * b, size_t b_size, uint8_t * out, size_t max_size, unsigned int seed) {
    std::minstd_rand random(seed);
    if (a_size < head_bytes || b_size < head_bytes || max_size < head_bytes) {
        return 0;
    }
    size_t size = head_bytes;
    std::memcpy(out, a, head_bytes);
    const uint8_t * const sources[] = { a + head_bytes, b + head_bytes };
    const size_t          counts[]  = { (a_size - head_bytes) / change_bytes, (b_size - head_bytes) / change_bytes };
    for (size_t which = 0; which < 2; which++) {
        for (size_t i = 0; i < counts[which] && size + change_bytes <= max_size; i++) {
            if (random() % 3 != 0) {
                std::memcpy(out + size, sources[which] + i * change_bytes, change_bytes);
                size += change_bytes;
            }
        }
    }
    return size;
}
