// Normalisation form C, and the place where malformed UTF-8 ends.
#pragma once

#include <string>
#include <string_view>

namespace gme {

// `text` in NFC as valid UTF-8: `text` itself when it already is, else a view of `buffer`. Malformed sequences become U+FFFD.
std::string_view normalize_nfc(std::string_view text, std::string & buffer);

}  // namespace gme
