// The GGUF reader on a good file, on every kind of cut, and on headers whose numbers lie.
#include "checks.h"
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

void check_prefixes(const std::string & path, const temporary_file & target) {
    const std::string bytes = read_all(path);
    const uint64_t    start = gme::gguf_file(path).data_start();
    target.write(bytes);
    int n_cuts = 0, n_typed = 0;
    for (uint64_t size = bytes.size() - 1; size > 0; size -= std::min<uint64_t>(size, size > start ? 40009 : 31)) {
        std::filesystem::resize_file(target.path, size);
        const std::string failure = failure_of([&] { gme::gguf_file file(target.path); });
        const bool        data    = size >= start && failure.rfind("GME_TENSOR_BOUNDS", 0) == 0;
        n_typed += data || failure.rfind("GME_GGUF_TRUNCATED", 0) == 0;
        n_cuts++;
    }
    check(n_cuts > 1000 && n_typed == n_cuts, "G011 each of " + std::to_string(n_cuts) + " cuts is a typed error");
    std::filesystem::resize_file(target.path, 0);
    check(failure_of([&] { gme::gguf_file file(target.path); }) == "GME_GGUF_TRUNCATED header.magic", "G001 an empty file");
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
        { "G044 a tensor twice", with_data(header(2, 0) + tensor("t", { 8 }, 0, 0) + tensor("t", { 8 }, 0, 32), 64), "GME_TENSOR_DUP tensor[\"t\"]" },
        { "G046 five dimensions", one_tensor + tensor("t", { 1, 1, 1, 1, 1 }, 0, 0), "GME_TENSOR_DIMS tensor[\"t\"].n_dims" },
        { "G047 a side of 0", one_tensor + tensor("t", { 8, 0 }, 0, 0), "GME_TENSOR_DIMS tensor[\"t\"].ne[1]" },
        { "G048 a side of -1", one_tensor + tensor("t", { -1 }, 0, 0), "GME_TENSOR_DIMS tensor[\"t\"].ne[0]" },
        { "G049 a product that wraps to 0", one_tensor + tensor("t", { 1ll << 32, 1ll << 32 }, 0, 0), "GME_TENSOR_OVERFLOW tensor[\"t\"].ne" },
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

}  // namespace

int main(int argc, char ** argv) {
    const std::string    model = std::string(argc > 1 ? argv[1] : "test/fixtures") + "/gguf/tiny-a-f32.gguf";
    const temporary_file target;
    check_good(model);
    check_prefixes(model, target);
    check_lies(target);
    check(gme::find_tensor_type("q4_k") != nullptr && gme::find_tensor_type("q4_k")->block_rows == 256 && gme::find_tensor_type("f64")->multiplies == false,
          "G056 types know their blocks and whether the CPU multiplies by them");
    return checks::result();
}
