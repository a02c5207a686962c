// The project's own GGUF reader: untrusted bytes in, checked keys and tensor ranges out. ggml's file parser is never used.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "file-handle.h"

namespace gme {

enum class gguf_type : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

const char * gguf_type_name(gguf_type type);
uint64_t     gguf_scalar_size(gguf_type type);  // bytes; 0 for strings and arrays

// One value of the metadata. Strings and arrays stay in the header's bytes; `at` is their place in the file.
struct gguf_value {
    gguf_type type      = gguf_type::u8;
    gguf_type element   = gguf_type::u8;  // of an array
    uint64_t  at        = 0;              // bytes from the start of the file: string bytes, array elements or the scalar
    uint64_t  count     = 0;              // bytes of a string, elements of an array
    uint64_t  key_at    = 0;
};

struct gguf_tensor {
    std::string name;
    uint32_t    type   = 0;   // ggml's numbering; the reader knows it through tensor-types.h
    int32_t     n_dims = 0;
    int64_t     ne[4]  = { 1, 1, 1, 1 };
    uint64_t    offset = 0;   // bytes from the start of the file
    uint64_t    size   = 0;   // bytes
    uint64_t    info_at = 0;  // where the tensor's description stands
};

class gguf_file {
  public:
    // Opens a regular file and reads its header. Errors: GME_IO_ERROR, GME_GGUF_*, GME_TENSOR_*.
    explicit gguf_file(const std::string & path);

    const std::string & path() const { return file_.path(); }
    const file_handle & file() const { return file_; }
    uint64_t            data_start() const { return data_start_; }
    uint64_t            alignment() const { return alignment_; }
    // Bytes of the header: keys and tensor descriptions.
    std::string_view    header() const { return { header_.data(), header_.size() }; }

    const std::vector<std::pair<std::string, gguf_value>> & keys() const { return keys_; }
    const std::vector<gguf_tensor> &                        tensors() const { return tensors_; }
    const gguf_tensor *                                     find_tensor(std::string_view name) const;
    const gguf_value *                                      find_key(std::string_view key) const;

    // Typed access. The optional forms are empty when the key is absent; a value of another type is GME_GGUF_WRONG_TYPE;
    // integers of another width that hold the same value are accepted. The required forms throw GME_GGUF_MISSING_KEY.
    // A string is UTF-8 without NUL, or GME_GGUF_BAD_UTF8 and GME_GGUF_BAD_VALUE; those of an array are as they stand.
    std::optional<int64_t>                  find_integer(std::string_view key) const;
    std::optional<double>                   find_number(std::string_view key) const;
    std::optional<bool>                     find_boolean(std::string_view key) const;
    std::optional<std::string>              find_string(std::string_view key) const;
    std::optional<std::vector<std::string>> find_strings(std::string_view key) const;
    std::optional<std::vector<int32_t>>     find_integers(std::string_view key) const;
    std::optional<std::vector<float>>       find_numbers(std::string_view key) const;

    int64_t     integer(std::string_view key) const;
    double      number(std::string_view key) const;
    std::string string(std::string_view key) const;

    // Part of a model that was split over several files is GME_MODEL_UNSUPPORTED; no other part is ever looked for.
    void require_whole() const;

    // The value as JSON text; arrays over 16 elements and strings over 16 KiB become {"type","count"}.
    std::string value_json(const gguf_value & value) const;

  private:
    friend class gguf_parser;

    const gguf_value * of_type(std::string_view key, gguf_type type, const char * expected) const;
    std::string_view   bytes(uint64_t at, uint64_t size) const { return { header_.data() + at, size }; }
    std::string_view   next_element(uint64_t & at) const;  // of an array of strings; moves `at` behind it
    int64_t            integer_at(gguf_type type, uint64_t at) const;
    double             number_at(gguf_type type, uint64_t at) const;
    std::string        scalar_json(gguf_type type, uint64_t at) const;

    file_handle                                              file_;
    std::vector<char>                                        header_;
    uint64_t                                                 data_start_ = 0;
    uint64_t                                                 alignment_  = 32;
    std::vector<std::pair<std::string, gguf_value>>          keys_;
    std::vector<gguf_tensor>                                 tensors_;
    // Trees and no hash tables: a file could choose thousands of names that share a bucket.
    std::map<std::string_view, size_t>                       key_index_;
    std::map<std::string_view, size_t>                       tensor_index_;
};

}  // namespace gme
