// The published prompt, as ids.
#pragma once

#include "tokenizer.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace gme {

inline constexpr std::string_view default_instruction = "You are a helpful assistant.";

enum class overflow {
    error,      // GME_TEXT_TOO_LONG
    truncate,   // the user's text is cut from its end, token by token; the closing tokens stay
    reference,  // the whole sequence is cut on the right, as the published class does: the closing tokens are lost
};

struct prompt_options {
    enum overflow overflow;
    bool          parse_special;  // special strings in instruction and text become control tokens, as in the reference
    int32_t       tokens_max;     // INT32_MAX: no limit
};

struct prompt {
    std::vector<int32_t> ids;
    int32_t image_begin = -1;  // index of the first id whose embedding an image token replaces, -1: none
    int32_t n_image = 0;       // image tokens inside ids: rows image_begin … image_begin + n_image
    int32_t n_text = 0;        // ids that the user's text adds to the template
    int32_t n_opening = 0;     // leading ids that every prompt of this instruction begins with, 0: this one does not
};

// Text and image may both be there; has_text false and n_image_tokens 0 is GME_INPUT_INVALID. "" is a text.
// Too many tokens: GME_TEXT_TOO_LONG with the number found and the limit. An image without vision tokens in the vocabulary:
// GME_TOKENIZER_BAD.
prompt make_prompt(const tokenizer & tok, std::string_view instruction, bool has_text, std::string_view text,
                   int32_t n_image_tokens, const prompt_options & options);

}  // namespace gme
