#include "fuzz-checks.h"

#include "utf8.h"

namespace fuzz {

void must_be_printable(std::string_view text, const char * what) {
    for (size_t pos = 0; pos < text.size();) {
        const gme::utf8_code_point point = gme::utf8_decode(text, pos);
        must(point.valid, std::string(what) + " is valid UTF-8");
        must(point.value >= 0x20 && point.value != 0x7F, std::string(what) + " has no control character");
        pos += point.size;
    }
}

}  // namespace fuzz
