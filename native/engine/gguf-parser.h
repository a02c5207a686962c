// Fills a gguf_file from the bytes of its header; used by gguf-file.cpp alone.
#pragma once

#include "error.h"
#include "gguf-file.h"

namespace gme {

class gguf_parser {
  public:
    explicit gguf_parser(gguf_file & target) : target_(target), file_size_(target.file_.size()) {}
    void parse();

  private:
    error fail(const char * code, const std::string & message, const std::string & field) const;
    void  need(uint64_t size, const std::string & field);  // the next `size` bytes are in memory, or GME_GGUF_TRUNCATED
    template <typename T> T read(const std::string & field);

    void             parse_magic();
    void             parse_version();
    std::string_view parse_text(uint64_t limit, const char * limit_code, const std::string & field, uint64_t & at);
    void             parse_key(uint64_t index);
    void             parse_value(gguf_value & value, const std::string & field);
    void             parse_array(gguf_value & value, const std::string & field);
    void             check_alignment();
    void             parse_tensor(uint64_t index);
    void             parse_tensor_shape(gguf_tensor & tensor, const std::string & field);
    void             check_ranges();

    gguf_file & target_;
    uint64_t    file_size_;
    uint64_t    at_        = 0;
    uint64_t    n_tensors_ = 0;
    uint64_t    n_keys_    = 0;
};

}  // namespace gme
