// The engine's one error type. Every stage throws `gme::error`; gme.cpp turns it into a `gme_error` at the C boundary.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace gme {

// `code` is API (docs/errors.md); the message is not. Fields that do not apply stay empty, `offset` stays -1.
struct error : std::runtime_error {
    std::string code;
    std::string file;
    std::string field;
    std::string value;
    std::string expected;
    int64_t     offset = -1;
    int32_t     item   = -1;  // index of the item of a batch

    error(std::string code, const std::string & message) : std::runtime_error(message), code(std::move(code)) {}

    error & in_file(std::string_view text) { file = text; return *this; }
    error & at_field(std::string_view text) { field = text; return *this; }
    error & at_offset(int64_t bytes) { offset = bytes; return *this; }
    error & found(std::string_view text) { value = text; return *this; }
    error & found(int64_t number) { value = std::to_string(number); return *this; }
    error & wanted(std::string_view text) { expected = text; return *this; }
};

// Text from outside, cut at 120 characters, with control characters, bidirectional controls and invalid UTF-8 escaped.
std::string printable(std::string_view bytes);

}  // namespace gme
