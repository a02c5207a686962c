// Cuts normalised text into the pieces that byte-pair encoding works on.
#pragma once

#include <cstddef>
#include <string_view>

namespace gme {

// Walks over valid UTF-8 (normalize_nfc's result); the pieces follow each other without gaps.
class pre_tokenizer {
  public:
    explicit pre_tokenizer(std::string_view normalized) : text(normalized) {}

    // The next piece, never empty; false at the end of the text.
    bool next(std::string_view & piece);

  private:
    std::string_view text;
    size_t pos = 0;

    size_t piece_end() const;
};

}  // namespace gme
