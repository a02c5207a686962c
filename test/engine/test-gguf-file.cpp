// The GGUF reader on a good file, on every prefix of the tiny pair's headers, and on headers whose numbers lie.
//
//   test-gguf-file FIXTURES | --dump FILE…   what the reader makes of files, as text
#include "checks.h"
#include "ggml-cpu.h"
#include "gguf-dump.h"
#include "gguf-file.h"
#include "tensor-types.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include <unistd.h>

using checks::check;
using checks::failure_of;

namespace {

std::string read_all(const std::string & path) {
    std::ifstream file(path, std::ios::binary);
    return { std::istreambuf_iterator<char>(file), {} };
}

struct temporary_file {
    std::string path = (std::filesystem::temp_directory_path() / ("gme-test-gguf-" + std::to_string(getpid()) + ".gguf")).string();
    void        write(const std::string & bytes) const { std::ofstream(path, std::ios::binary) << bytes; }
    ~temporary_file() { std::filesystem::remove(path); }
};

// Little-endian pieces of a GGUF header.
template <typename T> std::string raw(T value) {
    std::string bytes(sizeof(T), '\0');
    std::memcpy(bytes.data(), &value, sizeof(T));
    return bytes;
}
std::string text(const std::string & value) { return raw<uint64_t>(value.size()) + value; }
std::string header(uint64_t n_tensors, uint64_t n_keys) { return "GGUF" + raw<uint32_t>(3) + raw(n_tensors) + raw(n_keys); }
std::string key_u32(const std::string & key, uint32_t value) { return text(key) + raw<uint32_t>(4) + raw(value); }
std::string tensor(const std::string & name, const std::vector<int64_t> & ne, uint32_t type, uint64_t offset) {
    std::string bytes = text(name) + raw(static_cast<uint32_t>(ne.size()));
    for (const int64_t side : ne) {
        bytes += raw(side);
    }
    return bytes + raw(type) + raw(offset);
}
std::string with_data(std::string bytes, size_t n) {
    bytes.resize((bytes.size() + 31) / 32 * 32, '\0');
    return bytes + std::string(n, '\1');
}

void check_good(const std::string & path) {
    const gme::gguf_file file(path);
    check(file.string("general.architecture") == "qwen2vl" && file.integer("qwen2vl.block_count") == 3, "keys read as they are");
    check(file.find_strings("tokenizer.ggml.tokens")->size() == static_cast<size_t>(file.find_tensor("token_embd.weight")->ne[1]), "arrays of strings read whole");
    const auto * norm = file.find_tensor("output_norm.weight");
    check(norm != nullptr && norm->ne[0] == 64 && norm->size == 256 && norm->offset % 32 == 0 && norm->offset >= file.data_start(), "tensors have shape, size and place");
    check(failure_of([&] { file.integer("general.architecture"); }) == "GME_GGUF_WRONG_TYPE kv[\"general.architecture\"]", "another type is named");
    check(failure_of([&] { file.integer("no.such.key"); }) == "GME_GGUF_MISSING_KEY kv[\"no.such.key\"]", "a missing key is named");
    check(failure_of([] { gme::gguf_file("/nonexistent.gguf"); }) == "GME_IO_ERROR errno", "G108 a missing file is an I/O error");
    check(failure_of([] { gme::gguf_file("/dev/zero"); }) == "GME_IO_ERROR errno", "G108 a device is refused without blocking");
    check(failure_of([] { gme::gguf_file("/"); }) == "GME_IO_ERROR errno", "G108 a folder is refused");
}

// Every prefix that ends inside the header or at the data's start, then cuts of the data some way apart.
void check_prefixes(const std::string & path, const temporary_file & target) {
    const std::string name  = std::filesystem::path(path).filename().string();
    const std::string bytes = read_all(path);
    const uint64_t    start = gme::gguf_file(path).data_start();
    target.write(bytes);
    uint64_t    n_header = 0, n_data = 0;
    std::string worst;
    for (uint64_t size = bytes.size() - 1;; size -= size > start ? std::min<uint64_t>(4001, size - start) : 1) {
        std::filesystem::resize_file(target.path, size);
        const std::string failure = failure_of([&] { gme::gguf_file file(target.path); });
        const char *      code    = size >= start ? "GME_TENSOR_BOUNDS tensor[" : "GME_GGUF_TRUNCATED ";
        if (failure.rfind(code, 0) != 0 && worst.empty()) {
            worst = std::to_string(size) + " bytes: " + failure;
        }
        ++(size >= start ? n_data : n_header);
        if (size == 0) {
            break;
        }
    }
    check(worst.empty() && n_header == start, "G011 every prefix of " + name + " is a typed error " + worst);
    std::printf("# G011: %llu prefixes inside the header of %s refused, and %llu cuts of its data\n", static_cast<unsigned long long>(n_header),
                name.c_str(), static_cast<unsigned long long>(n_data));
    std::printf("# count malformed-files: %llu\n", static_cast<unsigned long long>(n_header + n_data));
}

void check_lies(const temporary_file & target) {
    const std::string one_tensor = header(1, 0);
    const struct {
        const char * title;
        std::string  bytes;
        const char * failure;
    } cases[] = {
        { "G012 a Git LFS pointer", "version https://git-lfs.github.com/spec/v1\n", "GME_GGUF_BAD_MAGIC header.magic" },
        { "G013 version 2^32-1", "GGUF" + raw<uint32_t>(0xFFFFFFFFu) + raw<uint64_t>(0) + raw<uint64_t>(0), "GME_GGUF_BAD_VERSION header.version" },
        { "G014 big-endian", "GGUF" + raw<uint32_t>(0x03000000u) + raw<uint64_t>(0) + raw<uint64_t>(0), "GME_GGUF_ENDIAN header.version" },
        { "G015 2^63 tensors", header(1ull << 63, 0), "GME_GGUF_LIMIT header.n_tensors" },
        { "G016 4,097 keys", header(0, 4097), "GME_GGUF_LIMIT header.n_kv" },
        { "G020 an empty key", header(0, 1) + text("") + raw<uint32_t>(4) + raw<uint32_t>(1), "GME_GGUF_BAD_VALUE kv[0].key" },
        { "G021 a key of 2^63 bytes", header(0, 1) + raw<uint64_t>(1ull << 63), "GME_GGUF_LIMIT kv[0].key" },
        { "G023 an overlong key", header(0, 1) + text("\xC0\x80") + raw<uint32_t>(4) + raw<uint32_t>(1), "GME_GGUF_BAD_UTF8 kv[0].key" },
        { "G024 a key twice", header(0, 2) + key_u32("a", 1) + key_u32("a", 1), "GME_GGUF_DUP_KEY kv[\"a\"]" },
        { "G027 value type 13", header(0, 1) + text("a") + raw<uint32_t>(13) + raw<uint64_t>(0), "GME_GGUF_BAD_TYPE kv[\"a\"]" },
        { "G028 a boolean of 2", header(0, 1) + text("a") + raw<uint32_t>(7) + "\2", "GME_GGUF_BAD_VALUE kv[\"a\"]" },
        { "G029 a string of 2^40 bytes", header(0, 1) + text("a") + raw<uint32_t>(8) + raw<uint64_t>(1ull << 40), "GME_GGUF_LIMIT kv[\"a\"]" },
        { "G032 an array of 2^60 numbers", header(0, 1) + text("a") + raw<uint32_t>(9) + raw<uint32_t>(5) + raw<uint64_t>(1ull << 60), "GME_GGUF_LIMIT kv[\"a\"]" },
        { "G033 an array of arrays", header(0, 1) + text("a") + raw<uint32_t>(9) + raw<uint32_t>(9) + raw<uint64_t>(1), "GME_GGUF_BAD_TYPE kv[\"a\"]" },
        { "G037 alignment 12", header(0, 1) + key_u32("general.alignment", 12), "GME_GGUF_BAD_VALUE kv[\"general.alignment\"]" },
        { "G038 alignment 2^31", header(0, 1) + key_u32("general.alignment", 1u << 31), "GME_GGUF_BAD_VALUE kv[\"general.alignment\"]" },
        { "G042 a name of 64 bytes", one_tensor + text(std::string(64, 'a')), "GME_TENSOR_BAD_NAME tensor[0].name" },
        { "G043 a name with a slash", one_tensor + tensor("../x", { 8 }, 0, 0), "GME_TENSOR_BAD_NAME tensor[0].name" },
        { "G043 a name with a character beyond the letters", one_tensor + tensor("a~b", { 8 }, 0, 0), "GME_TENSOR_BAD_NAME tensor[0].name" },
        { "G044 a tensor twice", with_data(header(2, 0) + tensor("t", { 8 }, 0, 0) + tensor("t", { 8 }, 0, 32), 64), "GME_TENSOR_DUP tensor[\"t\"]" },
        { "G046 five dimensions", one_tensor + tensor("t", { 1, 1, 1, 1, 1 }, 0, 0), "GME_TENSOR_DIMS tensor[\"t\"].n_dims" },
        { "G047 a side of 0", one_tensor + tensor("t", { 8, 0 }, 0, 0), "GME_TENSOR_DIMS tensor[\"t\"].ne[1]" },
        { "G048 a side of -1", one_tensor + tensor("t", { -1 }, 0, 0), "GME_TENSOR_DIMS tensor[\"t\"].ne[0]" },
        { "G049 a product that wraps to 0", one_tensor + tensor("t", { 1ll << 32, 1ll << 32 }, 0, 0), "GME_TENSOR_OVERFLOW tensor[\"t\"].ne" },
        { "G049 a product that wraps to 0 and stays there", one_tensor + tensor("t", { 1ll << 32, 1ll << 32, 1 }, 0, 0), "GME_TENSOR_OVERFLOW tensor[\"t\"].ne" },
        { "G050 a product that wraps to little", one_tensor + tensor("t", { (1ll << 32) + 1, 1ll << 32 }, 0, 0), "GME_TENSOR_OVERFLOW tensor[\"t\"].ne" },
        { "G051 bytes that overflow", one_tensor + tensor("t", { 1ll << 31, 1ll << 31, 1 }, 28, 0), "GME_TENSOR_OVERFLOW tensor[\"t\"].ne" },
        { "G054 half a block", with_data(one_tensor + tensor("t", { 33 }, 8, 0), 64), "GME_TENSOR_SHAPE tensor[\"t\"].ne[0]" },
        { "G055 a removed type", with_data(one_tensor + tensor("t", { 32 }, 4, 0), 64), "GME_TENSOR_TYPE tensor[\"t\"].type" },
        { "G057 a crooked offset", with_data(one_tensor + tensor("t", { 8 }, 0, 16), 64), "GME_TENSOR_OFFSET tensor[\"t\"].offset" },
        { "G058 an offset of 2^64-32", with_data(one_tensor + tensor("t", { 8 }, 0, ~0ull - 31), 32), "GME_TENSOR_BOUNDS tensor[\"t\"]" },
        { "G059 two tensors that overlap", with_data(header(2, 0) + tensor("t", { 16 }, 0, 0) + tensor("u", { 8 }, 0, 32), 64), "GME_TENSOR_OVERLAP tensor[\"u\"]" },
        { "G060 a hole between tensors", with_data(header(2, 0) + tensor("t", { 8 }, 0, 0) + tensor("u", { 8 }, 0, 96), 128), "GME_TENSOR_OFFSET tensor[\"u\"].offset" },
        { "G061 trailing data", with_data(one_tensor + tensor("t", { 8 }, 0, 0), 96), "GME_GGUF_BAD_VALUE data_end" },
    };
    for (const auto & row : cases) {
        target.write(row.bytes);
        const std::string failure = failure_of([&] { gme::gguf_file file(target.path); });
        check(failure == row.failure, std::string(row.title) + ": " + failure);
    }
    target.write(with_data(header(2, 1) + key_u32("general.alignment", 32) + tensor("u", { 8 }, 0, 32) + tensor("t", { 8 }, 0, 0), 64));
    check(gme::gguf_file(target.path).tensors().size() == 2, "G060 tensors may stand in any order");
}

std::string key_value(const std::string & key, uint32_t type, const std::string & bytes) { return text(key) + raw(type) + bytes; }
std::string array(uint32_t element, uint64_t count, const std::string & bytes) { return raw(element) + raw(count) + bytes; }

// One key of every type and one array of every kind of element.
std::string all_types() {
    std::string bytes = header(0, 27) + key_value("u8", 0, raw<uint8_t>(200)) + key_value("i8", 1, raw<int8_t>(-100)) + key_value("u16", 2, raw<uint16_t>(60000)) +
                        key_value("i16", 3, raw<int16_t>(-30000)) + key_u32("u32", 4000000000u) + key_value("i32", 5, raw<int32_t>(-2000000000)) +
                        key_value("f32", 6, raw(0.5f)) + key_value("yes", 7, raw<uint8_t>(1)) + key_value("no", 7, raw<uint8_t>(0)) +
                        key_value("text", 8, text("a\"b")) + key_value("u64", 10, raw<uint64_t>(~0ull)) + key_value("small.u64", 10, raw<uint64_t>(7)) +
                        key_value("i64", 11, raw<int64_t>(-5000000000)) + key_value("f64", 12, raw(0.25));
    bytes += key_value("numbers", 9, array(6, 2, raw(1.5f) + raw(-2.0f))) + key_value("integers", 9, array(5, 2, raw<int32_t>(3) + raw<int32_t>(-4)));
    bytes += key_value("unsigned", 9, array(4, 1, raw<uint32_t>(5))) + key_value("texts", 9, array(8, 3, text("x") + text("") + text("yz")));
    bytes += key_value("flags", 9, array(7, 2, std::string("\1\0", 2))) + key_value("wide", 9, array(10, 1, raw<uint64_t>(9)));
    bytes += key_value("no.texts", 9, array(8, 0, "")) + key_value("no.numbers", 9, array(6, 0, "")) + key_value("no.integers", 9, array(5, 0, ""));
    bytes += key_value("many", 9, array(0, 17, std::string(17, '\1'))) + key_value("long", 8, text(std::string((16 << 10) + 1, 'x')));
    return bytes + key_value("nul", 8, text(std::string("a\0b", 3))) + key_value("latin", 8, text("caf\xE9"));
}

void check_typed_access(const temporary_file & target) {
    target.write(all_types());
    const gme::gguf_file file(target.path);
    const std::pair<const char *, int64_t> integers[] = { { "u8", 200 }, { "i8", -100 }, { "u16", 60000 }, { "i16", -30000 }, { "u32", 4000000000 },
                                                          { "i32", -2000000000 }, { "u64", INT64_MAX }, { "small.u64", 7 }, { "i64", -5000000000 } };
    for (const auto & [key, expected] : integers) {
        check(file.integer(key) == expected, std::string(key) + " is read at its width");
    }
    check(file.number("f32") == 0.5 && file.number("f64") == 0.25 && file.string("text") == "a\"b", "numbers and texts are read");
    check(file.find_boolean("yes") == true && file.find_boolean("no") == false && !file.find_boolean("absent"), "booleans are read");
    check(file.find_numbers("numbers") == std::vector<float>{ 1.5f, -2.0f } && file.find_integers("integers") == std::vector<int32_t>{ 3, -4 } &&
          file.find_integers("unsigned") == std::vector<int32_t>{ 5 } && file.find_strings("texts") == std::vector<std::string>{ "x", "", "yz" }, "arrays are read");
    check(file.find_numbers("no.numbers")->empty() && file.find_integers("no.integers")->empty() && file.find_strings("no.texts")->empty(), "empty arrays are empty");
    check(!file.find_integer("absent") && !file.find_number("absent") && !file.find_string("absent") && !file.find_strings("absent") &&
          !file.find_integers("absent") && !file.find_numbers("absent") && file.find_tensor("absent") == nullptr, "what is absent is absent");
    const std::pair<const char *, std::function<void()>> wrong[] = {
        { "text", [&] { file.integer("text"); } }, { "u32", [&] { file.number("u32"); } }, { "u8", [&] { file.find_boolean("u8"); } },
        { "yes", [&] { file.string("yes"); } }, { "text", [&] { file.find_strings("text"); } }, { "numbers", [&] { file.find_strings("numbers"); } },
        { "numbers", [&] { file.find_integers("numbers"); } }, { "integers", [&] { file.find_numbers("integers"); } }, { "wide", [&] { file.find_integers("wide"); } },
        { "texts", [&] { file.string("texts"); } },
    };
    for (const auto & [key, call] : wrong) {
        check(failure_of(call) == "GME_GGUF_WRONG_TYPE kv[\"" + std::string(key) + "\"]", std::string(key) + " is not taken for another type");
    }
    check(failure_of([&] { file.number("absent"); }) == "GME_GGUF_MISSING_KEY kv[\"absent\"]", "a missing number is named");
    check(failure_of([&] { file.string("absent"); }) == "GME_GGUF_MISSING_KEY kv[\"absent\"]", "a missing text is named");
    check(failure_of([&] { file.string("nul"); }) == "GME_GGUF_BAD_VALUE kv[\"nul\"]", "G030 a used text with NUL is refused");
    check(failure_of([&] { file.string("latin"); }) == "GME_GGUF_BAD_UTF8 kv[\"latin\"]", "G030 a used text that is not UTF-8 is refused");
}

void check_json(const temporary_file & target) {
    target.write(all_types());
    const gme::gguf_file file(target.path);
    const std::pair<const char *, const char *> values[] = {
        { "u8", "200" }, { "i64", "-5000000000" }, { "u64", "18446744073709551615" }, { "yes", "true" }, { "no", "false" }, { "f32", "0.5" }, { "f64", "0.25" },
        { "text", "\"a\\\"b\"" }, { "numbers", "[1.5,-2]" }, { "flags", "[true,false]" }, { "texts", "[\"x\",\"\",\"yz\"]" }, { "no.texts", "[]" },
        { "many", "{\"type\":\"u8\",\"count\":17}" }, { "long", "{\"type\":\"string\",\"count\":16385}" }, { "latin", "\"caf\\ufffd\"" },
    };
    for (const auto & [key, expected] : values) {
        const std::string json = file.value_json(*file.find_key(key));
        check(json == expected, std::string(key) + " as JSON: " + json);
    }
}

// One MiB of strings between the alignment and the tensors: the reader comes back to the first key when it has passed the last.
void check_far_alignment(const temporary_file & target) {
    std::string strings;
    for (int i = 0; i < 1 << 16; i++) {
        strings += text("12345678");
    }
    const std::string far = key_value("strings", 9, array(8, 1 << 16, strings));
    target.write(with_data(header(1, 2) + key_u32("general.alignment", 64) + far + tensor("t", { 8 }, 0, 0), 64));
    check(gme::gguf_file(target.path).alignment() == 64, "G041 an alignment is found before a long array");
    target.write(with_data(header(1, 2) + key_u32("general.alignment", 12) + far + tensor("t", { 8 }, 0, 0), 64));
    check(failure_of([&] { gme::gguf_file file(target.path); }) == "GME_GGUF_BAD_VALUE kv[\"general.alignment\"]", "G037 … and refused there");
}

// 65 holes of 4 MiB, each the text of a key.
void check_large_metadata(const temporary_file & target) {
    target.write(header(0, 65));
    uint64_t at = 24;
    for (int i = 0; i < 65; i++) {
        const std::string head = text("k" + std::to_string(i)) + raw<uint32_t>(8) + raw<uint64_t>(4 << 20);
        std::filesystem::resize_file(target.path, at);
        std::ofstream(target.path, std::ios::binary | std::ios::app) << head;
        at += head.size() + (4 << 20);
    }
    std::filesystem::resize_file(target.path, at);
    check(failure_of([&] { gme::gguf_file file(target.path); }) == "GME_GGUF_LIMIT metadata", "G036 metadata over 256 MiB");
}

void check_split(const temporary_file & target) {
    const std::pair<std::string, const char *> cases[] = {
        { key_u32("split.count", 2), "GME_MODEL_UNSUPPORTED kv[\"split.count\"]" },
        { key_u32("split.no", 1), "GME_MODEL_UNSUPPORTED kv[\"split.no\"]" },
        { key_value("split.no", 5, raw<int32_t>(-1)), "GME_MODEL_UNSUPPORTED kv[\"split.no\"]" },
        { key_u32("split.count", 1), "" },
    };
    for (const auto & [key, expected] : cases) {
        target.write(header(0, 1) + key);
        const gme::gguf_file file(target.path);
        check(failure_of([&] { file.require_whole(); }) == expected && file.file().size() > 24, std::string("G112 a split model: ") + (*expected ? expected : "1 of 1 is whole"));
    }
}

// The table says so without asking the kernels, which a processor may not be able to run.
void check_weight_types() {
    std::string differing;
    for (int i = 0; i < GGML_TYPE_COUNT; i++) {
        const auto   type  = static_cast<ggml_type>(i);
        const auto * known = gme::find_tensor_type(static_cast<uint32_t>(i));
        if (known != nullptr && known->multiplies && ggml_get_type_traits_cpu(type)->vec_dot == nullptr) {
            differing += std::string(" ") + known->name;
        }
    }
    check(differing.empty(), "every type that is said to multiply has a product on the processor" + differing);
}

}  // namespace

int main(int argc, char ** argv) {
    if (argc > 1 && std::strcmp(argv[1], "--dump") == 0) {
        return gguf_dump::print_all(argc - 2, argv + 2);
    }
    const std::string    folder = std::string(argc > 1 ? argv[1] : "test/fixtures") + "/gguf/";
    const temporary_file target;
    check_good(folder + "tiny-a-f32.gguf");
    for (const char * name : { "tiny-a-f32.gguf", "mmproj-tiny-a-f32.gguf" }) {
        check_prefixes(folder + name, target);
    }
    check_lies(target);
    check_typed_access(target);
    check_json(target);
    check_weight_types();
    check_far_alignment(target);
    check_large_metadata(target);
    check_split(target);
    const auto * q4_k = gme::find_tensor_type("q4_k");
    check(q4_k != nullptr && q4_k->block_rows == 256, "types know their blocks");
    for (const char * name : { "i8", "i16", "i32", "i64", "f64", "q8_1", "q8_K" }) {
        const auto * type = gme::find_tensor_type(name);
        check(type != nullptr && !type->multiplies && gme::multipliable_types().find(name) == std::string::npos,
              std::string("G056 ") + name + " is no type of matrices");
    }
    return checks::result();
}
