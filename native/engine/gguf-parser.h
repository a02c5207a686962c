// Fills a gguf_file from the bytes of its header; used by gguf-file.cpp alone.
#pragma once

#include "error.h"
#include "gguf-file.h"

namespace gme {

bool is_utf8(std::string_view text);

// A piece of the file in memory that follows the parser: lengths, keys and names need a few bytes, long values are passed over.
class header_window {
  public:
    explicit header_window(const file_handle & file) : file_(file) {}
    // The bytes at `place`, which lie inside the file and are at most `longest`; they stay until the next call.
    const char * at(uint64_t place, uint64_t size);

    static constexpr uint64_t longest = 1ull << 16;

  private:
    const file_handle & file_;
    std::vector<char>   bytes_;
    uint64_t            start_ = 0;
};

class gguf_parser {
  public:
    explicit gguf_parser(gguf_file & target) : target_(target), window_(target.file_), file_size_(target.file_.size()) {}
    void parse();

  private:
    error fail(const char * code, const std::string & message, const std::string & field) const;
    void  need(uint64_t size, const std::string & field) const;  // the next `size` bytes are in the file, or GME_GGUF_TRUNCATED
    template <typename T> T read(const std::string & field);

    void        parse_magic();
    void        parse_version();
    uint64_t    parse_count(uint64_t limit, const char * what, const std::string & field);
    uint64_t    parse_length(uint64_t limit, const char * limit_code, const std::string & field);
    std::string parse_short_text(uint64_t limit, const char * limit_code, const std::string & field);
    void        parse_keys(uint64_t n_keys);
    void        parse_key(uint64_t index);
    void        parse_value(gguf_value & value, const std::string & field);
    void        parse_array(gguf_value & value, const std::string & field);
    void        check_booleans(const gguf_value & value, uint64_t count, const std::string & field);
    void        check_alignment();
    void        parse_tensors(uint64_t n_tensors);
    void        parse_tensor(uint64_t index);
    void        parse_tensor_shape(gguf_tensor & tensor, const std::string & field);
    void        place_tensors();
    void        check_order();
    void        keep_header();

    gguf_file &   target_;
    header_window window_;
    uint64_t      file_size_;
    uint64_t      at_ = 0;
};

}  // namespace gme
