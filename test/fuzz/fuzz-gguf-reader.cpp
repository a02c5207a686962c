// The project's GGUF reader: any bytes as a file.
//
//   bytes -> file -> gguf_file: refused with a typed error, or accepted; then every promise of gguf-file.h is looked at:
//   ranges inside the file, aligned, disjoint; every key readable by exactly the accessors of its type; value_json is JSON;
//   gme_file_inspect agrees.

#include "fuzz-checks.h"

#include "error.h"
#include "gguf-file.h"
#include "gme.h"
#include "json-reader.h"
#include "utf8.h"

#include <algorithm>
#include <optional>
#include <vector>

using fuzz::must;

namespace {

struct room {
    fuzz::scratch_folder folder;
    fuzz::scratch_file   file{ folder, "input.gguf" };
};

void check_refusal(const gme::error & bad, const std::string & path, size_t size) {
    const bool known = fuzz::starts_with(bad.code, "GME_GGUF_") || fuzz::starts_with(bad.code, "GME_TENSOR_");
    must(known, "a refusal of the reader has a GGUF or tensor code, not " + bad.code);
    must(!bad.field.empty(), "a refusal names its field");
    must(bad.file == path, "a refusal names its file");
    must(bad.offset >= 0 && bad.offset <= static_cast<int64_t>(size), "a refusal's offset lies in the file");
    must(bad.value.size() <= 120 * 6, "a refusal's value is short");
    fuzz::must_be_printable(bad.what(), "a refusal's message");
    fuzz::must_be_printable(bad.value, "a refusal's value");
    fuzz::must_be_printable(bad.field, "a refusal's field");
}

void check_tensors(const gme::gguf_file & file, size_t size) {
    const uint64_t align = file.alignment();
    must(align >= 8 && align <= 65536 && (align & (align - 1)) == 0, "the alignment is a power of two in 8..65536");
    must(file.data_start() % align == 0, "the data start is aligned");
    must(file.header().size() <= size, "the header lies in the file");
    std::vector<const gme::gguf_tensor *> order;
    for (const auto & tensor : file.tensors()) {
        must(tensor.n_dims >= 1 && tensor.n_dims <= 4, "1 to 4 dimensions");
        for (int i = 0; i < 4; i++) {
            must(tensor.ne[i] >= 1 && tensor.ne[i] <= INT32_MAX && (i < tensor.n_dims || tensor.ne[i] == 1), "sides are 1..2^31-1");
        }
        must(tensor.size > 0 && tensor.offset >= file.data_start() && tensor.offset % align == 0, "a tensor begins aligned in the data");
        must(tensor.offset <= size && tensor.size <= size - tensor.offset, "a tensor ends in the file");
        must(!tensor.name.empty() && tensor.name.size() <= 63, "a tensor's name has 1..63 bytes");
        must(file.find_tensor(tensor.name) == &tensor, "a tensor is found by its name");
        must(tensor.info_at < file.header().size(), "a tensor's description stands in the header");
        order.push_back(&tensor);
    }
    std::sort(order.begin(), order.end(), [](auto a, auto b) { return a->offset < b->offset; });
    for (size_t i = 1; i < order.size(); i++) {
        must(order[i]->offset - order[i - 1]->offset >= order[i - 1]->size, "tensors are disjoint");
    }
}

// Whether the accessor gave a value; it may refuse by GME_GGUF_WRONG_TYPE only.
template <typename F> bool gives(const F & accessor) {
    try {
        return accessor().has_value();
    } catch (const gme::error & bad) {
        must(bad.code == "GME_GGUF_WRONG_TYPE", "an accessor refuses by GME_GGUF_WRONG_TYPE, not " + bad.code);
        must(!bad.expected.empty() && !bad.value.empty(), "a wrong type says what was found and wanted");
        return false;
    }
}

// A text as it stands in the header, given where it is UTF-8 without NUL and refused by its own code otherwise.
void check_text(const gme::gguf_file & file, const std::string & key, const gme::gguf_value & value) {
    const std::string_view text = file.header().substr(value.at, value.count);
    bool                   good = true;
    for (size_t pos = 0; pos < text.size(); pos += gme::utf8_decode(text, pos).size) {
        good = good && gme::utf8_decode(text, pos).valid;
    }
    const char * const wanted = !good ? "GME_GGUF_BAD_UTF8" : text.find('\0') != std::string_view::npos ? "GME_GGUF_BAD_VALUE" : "";
    std::string        found;
    try {
        must(*file.find_string(key) == text, "a text is given as it stands");
    } catch (const gme::error & bad) {
        found = bad.code;
        fuzz::must_be_printable(bad.what(), "a refused text's message");
    }
    must(found == wanted, "a text is UTF-8 without NUL: " + found + " where " + wanted + " is right");
}

bool is_integer(gme::gguf_type type) {
    using t = gme::gguf_type;
    return type == t::u8 || type == t::i8 || type == t::u16 || type == t::i16 || type == t::u32 || type == t::i32 || type == t::u64 || type == t::i64;
}

void check_key(const gme::gguf_file & file, const std::string & key, const gme::gguf_value & value) {
    using t           = gme::gguf_type;
    const bool list   = value.type == t::array;
    const auto header = file.header().size();
    must(!key.empty() && key.size() <= 256, "a key has 1..256 bytes");
    must(value.key_at < header && value.at <= header, "a value stands in the header");
    must(gives([&] { return file.find_integer(key); }) == is_integer(value.type), "integers are read as integers");
    must(gives([&] { return file.find_number(key); }) == (value.type == t::f32 || value.type == t::f64), "numbers are read as numbers");
    must(gives([&] { return file.find_boolean(key); }) == (value.type == t::boolean), "booleans are read as booleans");
    must(value.type == t::string || !gives([&] { return file.find_string(key); }), "strings are read as strings");
    must(gives([&] { return file.find_strings(key); }) == (list && value.element == t::string), "lists of strings are read as such");
    must(gives([&] { return file.find_integers(key); }) == (list && (value.element == t::i32 || value.element == t::u32)),
         "lists of integers are read as such");
    must(gives([&] { return file.find_numbers(key); }) == (list && value.element == t::f32), "lists of numbers are read as such");
    if (value.type == t::string) {
        must(value.at + value.count <= header, "a string lies in the header");
        check_text(file, key, value);
    }
    if (list && value.element == t::string) {
        must(file.find_strings(key)->size() == value.count, "a list has its length");
    }
    const std::string json = file.value_json(value);
    json::reader(json).document();
    for (size_t pos = 0; pos < json.size(); pos += gme::utf8_decode(json, pos).size) {
        must(gme::utf8_decode(json, pos).valid, "JSON text is UTF-8");
    }
}

void check_inspection(const std::string & path, bool accepted) {
    char *      json  = nullptr;
    gme_error * error = nullptr;
    const bool  good  = gme_file_inspect(path.c_str(), &json, &error) == GME_STATUS_OK;
    must(good == (json != nullptr) && good == (error == nullptr), "inspect gives a listing or an error");
    if (good) {
        const std::string text = json;
        gme_string_free(json);
        json::reader(text).document();
    } else {
        const std::string code = error->code;
        gme_error_free(error);
        must(code != "GME_INTERNAL", "inspect's error has a code of its own");
    }
    must(good == accepted, "inspect agrees with the reader");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    static room where;
    where.file.write(data, size);
    std::optional<gme::gguf_file> file;
    try {
        file.emplace(where.file.path());
    } catch (const gme::error & bad) {
        check_refusal(bad, where.file.path(), size);
    }
    if (file) {
        check_tensors(*file, size);
        for (const auto & [key, value] : file->keys()) {
            must(file->find_key(key) != nullptr && file->find_key(key)->at == value.at, "a key is found by its name");
            check_key(*file, key, value);
        }
        must(!gives([&] { return file->find_integer("no.such.key"); }), "a missing key gives nothing");
        try {
            file->require_whole();
        } catch (const gme::error & bad) {
            must(bad.code == "GME_MODEL_UNSUPPORTED" || bad.code == "GME_GGUF_WRONG_TYPE", "part of a split model is refused by GME_MODEL_UNSUPPORTED, not " + bad.code);
        }
    }
    check_inspection(where.file.path(), file.has_value());
    return 0;
}
