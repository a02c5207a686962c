#include "embed-args.h"

#include <cmath>
#include <cstdio>
#include <cstring>

namespace gme_addon {

static constexpr int32_t int_max     = INT32_MAX;
static constexpr int32_t threads_max = 512;  // ggml's limit
static constexpr uint8_t no_pixels   = 0;    // counting reads the size only, but a picture is one whose rgb is not NULL

gme_item item_args::view() const {
    gme_item item{};
    if (has_text) {
        item.text = {text.data(), text.size()};
    }
    if (has_instruction) {
        item.instruction = {instruction.data(), instruction.size()};
    }
    if (has_image) {
        item.image = {image.rgb.empty() ? &no_pixels : image.rgb.data(), image.width, image.height};
    }
    return item;
}

// ---- one value ----

static const char * type_name(napi_valuetype type) {
    switch (type) {
        case napi_undefined: return "undefined";
        case napi_null:      return "null";
        case napi_boolean:   return "boolean";
        case napi_number:    return "number";
        case napi_string:    return "string";
        case napi_symbol:    return "symbol";
        case napi_function:  return "function";
        case napi_bigint:    return "bigint";
        default:             return "object";
    }
}

// Expected <what> for <name> but received <value> of type <type>.
bool ArgsReader::fail(const std::string & name, napi_value found, const char * expected) {
    napi_valuetype type = napi_undefined;
    char shown[64] = "";
    double number;
    if (found && napi_typeof(env_, found, &type) == napi_ok && type == napi_number &&
        napi_get_value_double(env_, found, &number) == napi_ok) {
        snprintf(shown, sizeof(shown), "%.17g", number);
    }
    cause.code     = code_;
    cause.field    = name;
    cause.expected = expected;
    cause.value    = shown[0] ? shown : type_name(type);
    cause.message  = std::string("Expected ") + expected + " for " + name + " but received " + (shown[0] ? shown : "a value") +
                    " of type " + type_name(type);
    return false;
}

bool ArgsReader::kind(napi_value value, napi_valuetype * type) {
    return napi_typeof(env_, value, type) == napi_ok;
}

bool ArgsReader::property(napi_value object, const char * key, napi_value * out) {
    return napi_get_named_property(env_, object, key, out) == napi_ok;
}

bool ArgsReader::object(napi_value value, const std::string & name) {
    napi_valuetype type;
    if (!kind(value, &type)) {
        return false;
    }
    return type == napi_object || fail(name, value, "an object");
}

bool ArgsReader::text(napi_value value, const std::string & name, std::string * out) {
    napi_valuetype type;
    size_t size = 0;
    if (!kind(value, &type)) {
        return false;
    }
    if (type != napi_string) {
        return fail(name, value, "a string");
    }
    if (napi_get_value_string_utf8(env_, value, nullptr, 0, &size) != napi_ok) {
        return false;
    }
    out->resize(size + 1);  // the terminator is written too
    if (napi_get_value_string_utf8(env_, value, &(*out)[0], size + 1, &size) != napi_ok) {
        return false;
    }
    out->resize(size);
    return true;
}

bool ArgsReader::path(napi_value value, const char * name, std::string * out) {
    if (!text(value, name, out)) {
        return false;
    }
    if (out->empty() || out->find('\0') != std::string::npos) {
        return fail(name, value, "a path, not empty and without NUL");
    }
    return true;
}

bool ArgsReader::integer(napi_value value, const std::string & name, int32_t low, int32_t high, const char * expected, int32_t * out) {
    napi_valuetype type;
    double number = NAN;
    if (!kind(value, &type)) {
        return false;
    }
    if (type != napi_number || napi_get_value_double(env_, value, &number) != napi_ok || !(number >= low && number <= high) ||
        number != std::floor(number)) {
        return fail(name, value, expected);
    }
    *out = int32_t(number);
    return true;
}

bool ArgsReader::size(napi_value value, const char * name, int32_t * out) {
    return integer(value, name, 1, int_max, "an integer from 1", out);
}

bool ArgsReader::flag(napi_value value, const char * name, bool * out) {
    napi_valuetype type;
    if (!kind(value, &type)) {
        return false;
    }
    if (type != napi_boolean) {
        return fail(name, value, "true or false");
    }
    return napi_get_value_bool(env_, value, out) == napi_ok;
}

bool ArgsReader::callback(napi_value value, const char * name, napi_value * out) {
    napi_valuetype type;
    if (!kind(value, &type)) {
        return false;
    }
    if (type != napi_function && type != napi_undefined) {
        return fail(name, value, "a function");
    }
    *out = type == napi_function ? value : nullptr;
    return true;
}

// *data is valid until JS runs again: copy at once. Memory shared with other threads could change under the copy, so it is refused.
bool ArgsReader::bytes(napi_value value, const std::string & name, size_t * size, const uint8_t ** data) {
    bool is_view = false;
    bool is_own = false;
    bool is_detached = false;
    napi_typedarray_type type;
    napi_value buffer;
    size_t offset;
    void * start = nullptr;
    if (napi_is_typedarray(env_, value, &is_view) != napi_ok) {
        return false;
    }
    if (!is_view || napi_get_typedarray_info(env_, value, &type, size, &start, &buffer, &offset) != napi_ok ||
        type != napi_uint8_array) {
        return fail(name, value, "a Uint8Array");
    }
    if (napi_is_arraybuffer(env_, buffer, &is_own) != napi_ok || !is_own) {
        return fail(name, value, "a Uint8Array that is not on a SharedArrayBuffer");
    }
    if (napi_is_detached_arraybuffer(env_, buffer, &is_detached) != napi_ok || is_detached) {
        return fail(name, value, "a Uint8Array whose buffer is not detached");
    }
    *data = static_cast<const uint8_t *>(start);
    return true;
}

// ---- pictures and items ----

bool ArgsReader::image_size(napi_value value, const std::string & name, image_args * out) {
    napi_value width;
    napi_value height;
    return object(value, name) && property(value, "width", &width) && property(value, "height", &height) &&
           integer(width, name + ".width", 1, int_max, "an integer from 1", &out->width) &&
           integer(height, name + ".height", 1, int_max, "an integer from 1", &out->height);
}

bool ArgsReader::image(napi_value value, const std::string & name, image_args * out) {
    napi_value pixels;
    size_t size;
    const uint8_t * data;
    if (!image_size(value, name, out) || !property(value, "data", &pixels) || !bytes(pixels, name + ".data", &size, &data)) {
        return false;
    }
    // Both sides are below 2^31, so the product fits into 64 bits: 3 * 2^62.
    const uint64_t wanted = uint64_t(out->width) * uint64_t(out->height) * 3;
    if (wanted != size) {
        fail(name + ".data", pixels, "width * height * 3 bytes");
        cause.value   = std::to_string(size);
        cause.message = "Expected width * height * 3 = " + std::to_string(wanted) + " bytes for " + name + ".data but received " +
                        cause.value;
        return false;
    }
    out->rgb.assign(data, data + size);
    return true;
}

bool ArgsReader::optional_text(napi_value object, const char * key, const std::string & name, bool * has, std::string * out) {
    napi_value value;
    napi_valuetype type;
    if (!property(object, key, &value) || !kind(value, &type)) {
        return false;
    }
    *has = type != napi_undefined;
    return !*has || text(value, name + "." + key, out);
}

bool ArgsReader::item_texts(napi_value value, const std::string & name, item_args * out, napi_value * image) {
    napi_valuetype type;
    if (!object(value, name) || !optional_text(value, "text", name, &out->has_text, &out->text) ||
        !optional_text(value, "instruction", name, &out->has_instruction, &out->instruction) || !property(value, "image", image) ||
        !kind(*image, &type)) {
        return false;
    }
    out->has_image = type != napi_undefined;
    return out->has_text || out->has_image || fail(name, value, "a text, an image or both");
}

bool ArgsReader::item(napi_value value, item_args * out) {
    napi_value picture;
    return item_texts(value, "item", out, &picture) && (!out->has_image || image(picture, "image", &out->image));
}

template <typename F> bool ArgsReader::each(napi_value value, const char * name, F read) {
    bool is_array = false;
    uint32_t length = 0;
    if (napi_is_array(env_, value, &is_array) != napi_ok) {
        return false;
    }
    if (!is_array || napi_get_array_length(env_, value, &length) != napi_ok || length > uint32_t(int_max)) {
        return fail(name, value, "an array");
    }
    for (uint32_t i = 0; i < length; i++) {
        Napi::HandleScope scope(env_);
        napi_value element;
        if (napi_get_element(env_, value, i, &element) != napi_ok) {
            return false;
        }
        if (!read(element)) {
            cause.item = int32_t(i);
            return false;
        }
    }
    return true;
}

bool ArgsReader::items(napi_value value, std::vector<item_args> * out) {
    return each(value, "items", [&](napi_value element) {
        out->emplace_back();
        return item(element, &out->back());
    });
}

bool ArgsReader::item_sizes(napi_value value, std::vector<item_args> * out) {
    return each(value, "items", [&](napi_value element) {
        out->emplace_back();
        napi_value picture;
        return item_texts(element, "item", &out->back(), &picture) &&
               (!out->back().has_image || image_size(picture, "image", &out->back().image));
    });
}

bool ArgsReader::texts(napi_value value, std::vector<std::string> * out) {
    return each(value, "texts", [&](napi_value element) {
        out->emplace_back();
        return text(element, "text", &out->back());
    });
}

// ---- options ----

bool ArgsReader::choice(napi_value object, const char * key, const char * const * names, const char * expected, int * out) {
    napi_value value;
    napi_valuetype type;
    std::string found;
    if (!property(object, key, &value) || !kind(value, &type) || (type == napi_string && !text(value, key, &found))) {
        return false;
    }
    for (int i = 0; type == napi_string && names[i]; i++) {
        if (found == names[i]) {
            *out = i;
            return true;
        }
    }
    return fail(key, value, expected);
}

bool ArgsReader::integer_option(napi_value object, const char * key, int32_t low, int32_t high, const char * expected, int32_t * out) {
    napi_value value;
    return property(object, key, &value) && integer(value, key, low, high, expected, out);
}

bool ArgsReader::flag_option(napi_value object, const char * key, bool * out) {
    napi_value value;
    return property(object, key, &value) && flag(value, key, out);
}

bool ArgsReader::load(napi_value file, napi_value params, load_args * out) {
    static constexpr const char * positions[] = {"file", "sequential", "mrope", nullptr};
    static constexpr const char * toggles[]   = {"file", "on", "off", nullptr};
    const char * const count = "an integer from 0";
    int chosen_positions = 0;
    int chosen_toggle = 0;
    napi_value mmproj;
    napi_valuetype mmproj_type;
    bool has_device = false;
    if (!path(file, "path", &out->path)) {
        return false;
    }
    code_ = "GME_OPTION_INVALID";
    if (!object(params, "params") || !property(params, "mmproj", &mmproj) || !kind(mmproj, &mmproj_type)) {
        return false;
    }
    out->has_mmproj = mmproj_type != napi_undefined;
    if ((out->has_mmproj && !path(mmproj, "mmproj", &out->mmproj)) ||
        !optional_text(params, "device", "device", &has_device, &out->device) ||
        !integer_option(params, "threads", 1, threads_max, "an integer in 1..512", &out->threads) ||
        !flag_option(params, "mmap", &out->mmap) ||
        !choice(params, "positions", positions, "\"file\", \"sequential\" or \"mrope\"", &chosen_positions) ||
        !choice(params, "loaderResize", toggles, "\"file\", \"on\" or \"off\"", &chosen_toggle) ||
        !integer_option(params, "minImageTokens", 0, int_max, count, &out->image_tokens_min) ||
        !integer_option(params, "maxImageTokens", 0, int_max, count, &out->image_tokens_max) ||
        !integer_option(params, "maxTokens", 0, int_max, count, &out->tokens_max)) {
        return false;
    }
    out->positions     = gme_positions(chosen_positions);
    out->loader_resize = gme_toggle(chosen_toggle);
    return true;
}

bool ArgsReader::embed(napi_value params, embed_args * out) {
    static constexpr const char * overflows[] = {"error", "truncate", "reference", nullptr};
    int overflow = 0;
    code_ = "GME_OPTION_INVALID";
    if (!object(params, "params") ||
        !choice(params, "overflow", overflows, "\"error\", \"truncate\" or \"reference\"", &overflow) ||
        !flag_option(params, "parseSpecial", &out->parse_special) ||
        !integer_option(params, "batchTokens", 0, int_max, "an integer from 0", &out->batch_tokens)) {
        return false;
    }
    out->overflow = gme_overflow(overflow);
    return true;
}

bool ArgsReader::plan(napi_value options, plan_args * out) {
    code_ = "GME_OPTION_INVALID";
    return object(options, "options") && flag_option(options, "loaderResize", &out->loader_resize) &&
           integer_option(options, "minImageTokens", 1, int_max, "an integer from 1", &out->image_tokens_min) &&
           integer_option(options, "maxImageTokens", 1, int_max, "an integer from 1", &out->image_tokens_max);
}

static size_t number_bytes(const std::string & type) {
    return type == "f32" ? 4 : type == "f16" || type == "bf16" ? 2 : 0;
}

bool ArgsReader::convert(napi_value from, napi_value source, napi_value to, convert_args * out) {
    const char * const types = "\"f32\", \"f16\" or \"bf16\"";
    size_t size;
    const uint8_t * data;
    if (!text(from, "from", &out->from) || !text(to, "to", &out->to)) {
        return false;
    }
    const size_t source_bytes_each = number_bytes(out->from);
    out->target_bytes_each = number_bytes(out->to);
    if (!source_bytes_each || !out->target_bytes_each) {
        return fail(source_bytes_each ? "to" : "from", source_bytes_each ? to : from, types);
    }
    if (!bytes(source, "source", &size, &data)) {
        return false;
    }
    if (size % source_bytes_each != 0) {
        return fail("source", source, "a whole number of values");
    }
    out->n_numbers = size / source_bytes_each;
    out->source.assign(data, data + size);
    return true;
}

bool ArgsReader::quantize(napi_value from, napi_value rows, napi_value to, napi_value options, quantize_args * out) {
    size_t size;
    const uint8_t * data;
    int32_t n_columns = 0;
    if (!text(from, "from", &out->from) || !text(to, "to", &out->to) || !object(options, "options") ||
        !integer_option(options, "columns", 1, int_max, "an integer from 1", &n_columns) ||
        !integer_option(options, "threads", 1, threads_max, "an integer in 1..512", &out->n_threads)) {
        return false;
    }
    const size_t source_row_bytes = number_bytes(out->from) * size_t(n_columns);
    if (source_row_bytes == 0) {
        return fail("from", from, "\"f32\", \"f16\" or \"bf16\"");
    }
    out->row_bytes = gme_row_size(out->to.c_str(), n_columns);
    if (out->row_bytes == 0) {
        return fail("to", to, "a tensor type whose blocks divide a row");
    }
    if (!bytes(rows, "rows", &size, &data)) {
        return false;
    }
    if (size == 0 || size % source_row_bytes != 0) {
        return fail("rows", rows, "one or more whole rows");
    }
    out->rows.assign(data, data + size);
    out->n_columns = n_columns;
    out->n_rows = int64_t(size / source_row_bytes);
    return true;
}

bool ArgsReader::roofline(napi_value type, napi_value options, roofline_args * out) {
    napi_value seconds;
    bool has_device;
    if (!text(type, "type", &out->type)) {
        return false;
    }
    code_ = "GME_OPTION_INVALID";
    if (!object(options, "options") || !optional_text(options, "device", "options", &has_device, &out->device) ||
        !integer_option(options, "threads", 1, threads_max, "an integer in 1..512", &out->n_threads) || !property(options, "seconds", &seconds)) {
        return false;
    }
    return napi_get_value_double(env_, seconds, &out->seconds) == napi_ok || fail("seconds", seconds, "a number");
}

// The bytes of `count` f32 numbers.
bool ArgsReader::floats(napi_value object, const char * key, size_t count, std::vector<float> * out) {
    napi_value value;
    size_t size;
    const uint8_t * data;
    if (!property(object, key, &value) || !bytes(value, key, &size, &data)) {
        return false;
    }
    if (size != count * sizeof(float)) {
        return fail(key, value, "as many f32 numbers as rank, rows and columns give");
    }
    out->resize(count);
    if (size > 0) {
        std::memcpy(out->data(), data, size);
    }
    return true;
}

bool ArgsReader::low_rank(napi_value type, napi_value rows, napi_value update, low_rank_args * out) {
    const char * const from_one = "an integer from 1";
    size_t size;
    const uint8_t * data;
    int32_t n_columns = 0;
    double scale = 0;
    napi_value number;
    if (!text(type, "type", &out->type) || !object(update, "update") ||
        !integer_option(update, "columns", 1, int_max, from_one, &n_columns) || !integer_option(update, "rank", 1, int_max, from_one, &out->rank) ||
        !property(update, "scale", &number)) {
        return false;
    }
    if (napi_get_value_double(env_, number, &scale) != napi_ok) {
        return fail("scale", number, "a number");
    }
    const size_t row_bytes = number_bytes(out->type) * size_t(n_columns);
    if (row_bytes == 0) {
        return fail("type", type, "\"f32\", \"f16\" or \"bf16\"");
    }
    if (!bytes(rows, "rows", &size, &data)) {
        return false;
    }
    if (size == 0 || size % row_bytes != 0) {
        return fail("rows", rows, "one or more whole rows");
    }
    out->rows.assign(data, data + size);
    out->n_columns = n_columns;
    out->n_rows = int64_t(size / row_bytes);
    out->scale = float(scale);
    return floats(update, "a", size_t(out->rank) * size_t(n_columns), &out->a) && floats(update, "b", size_t(out->n_rows) * size_t(out->rank), &out->b);
}

}  // namespace gme_addon
