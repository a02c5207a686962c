// From instruction, text and number of image tokens to the ids of one prompt.
//
//   <|im_start|>system\n{instruction}<|im_end|>\n<|im_start|>user\n{image}{text}<|im_end|>\n<|im_start|>assistant\n<|endoftext|>
//   {image}: <|vision_start|>, n times <|image_pad|>, <|vision_end|>
//
// Plain mode: the template's special tokens are put in as ids, what lies between two of them is one run for the tokenizer.
// Parse mode: the whole prompt is one string for the tokenizer, as in the reference, so that special strings in texts count.
// Either way: head (ids) + run (opens with "user\n" unless an image stands before the text) + closing ids, cut to the limit.
#include "prompt.h"

#include "error.h"

#include <algorithm>
#include <string>

namespace gme {

namespace {

constexpr std::string_view im_start = "<|im_start|>", im_end = "<|im_end|>", end_of_text = "<|endoftext|>";
constexpr std::string_view vision_start = "<|vision_start|>", image_pad = "<|image_pad|>", vision_end = "<|vision_end|>";

// A prompt in the making: ids whose value is settled, then a run of text that the user's text continues.
struct opening {
    std::vector<int32_t> head;
    std::string          run;
};

int32_t required_special(const tokenizer & tok, std::string_view text) {
    const int32_t id = tok.special_id(text);
    if (id < 0) {
        throw error("GME_TOKENIZER_BAD", "the vocabulary lacks a special token of the prompt")
            .at_field("tokenizer.ggml.tokens").found("absent").wanted(text);
    }
    return id;
}

[[noreturn]] void fail_too_long(size_t n_tokens, int32_t tokens_max) {
    throw error("GME_TEXT_TOO_LONG", "the prompt takes more tokens than the limit")
        .at_field("text").found(static_cast<int64_t>(n_tokens)).wanted("at most " + std::to_string(tokens_max) + " tokens");
}

opening plain_opening(const tokenizer & tok, std::string_view instruction, int32_t n_image_tokens) {
    opening result;
    std::vector<int32_t> & ids = result.head;
    ids.push_back(required_special(tok, im_start));
    tok.tokenize(std::string("system\n").append(instruction), ids);
    ids.push_back(required_special(tok, im_end));
    tok.tokenize("\n", ids);
    ids.push_back(required_special(tok, im_start));
    if (n_image_tokens == 0) {
        result.run = "user\n";
        return result;
    }
    tok.tokenize("user\n", ids);
    ids.push_back(required_special(tok, vision_start));
    ids.insert(ids.end(), static_cast<size_t>(n_image_tokens), required_special(tok, image_pad));
    ids.push_back(required_special(tok, vision_end));
    return result;
}

opening parsed_opening(const tokenizer & tok, std::string_view instruction, int32_t n_image_tokens) {
    opening result;
    std::string & run = result.run;
    run.append(im_start).append("system\n").append(instruction).append(im_end).append("\n").append(im_start).append("user\n");
    if (n_image_tokens > 0) {
        for (const std::string_view text : {vision_start, image_pad, vision_end}) {
            required_special(tok, text);
        }
        run.append(vision_start);
        for (int32_t i = 0; i < n_image_tokens; ++i) {
            run.append(image_pad);
        }
        run.append(vision_end);
    }
    return result;
}

std::string closing_text() {
    return std::string(im_end).append("\n").append(im_start).append("assistant\n").append(end_of_text);
}

// The ids of head + run + text + closing; stops early once more than ids_max are there.
std::vector<int32_t> whole_prompt(const tokenizer & tok, const opening & start, std::string_view text, bool parse_special,
                                  const std::vector<int32_t> & closing, size_t ids_max) {
    std::vector<int32_t> ids = start.head;
    const size_t limit = ids_max == tokenizer::no_limit ? ids_max : ids_max + 1 - std::min(ids_max, ids.size());
    if (parse_special) {
        tok.tokenize_parsed(std::string(start.run).append(text).append(closing_text()), ids, limit);
    } else {
        tok.tokenize(std::string(start.run).append(text), ids, limit);
        ids.insert(ids.end(), closing.begin(), closing.end());
    }
    return ids;
}

// The longest prompt of at most tokens_max ids: head, run and as much of the text as fits, closing.
std::vector<int32_t> truncated_prompt(const tokenizer & tok, const opening & start, std::string_view text, bool parse_special,
                                      const std::vector<int32_t> & closing, size_t tokens_max) {
    const size_t n_kept = tokens_max - std::min(tokens_max, closing.size());  // head and run fit: the caller has checked
    std::vector<int32_t> ids = start.head;
    const std::string run = std::string(start.run).append(text);
    if (parse_special) {
        tok.tokenize_parsed(run, ids, n_kept - std::min(n_kept, ids.size()));
    } else {
        tok.tokenize(run, ids, n_kept - std::min(n_kept, ids.size()));
    }
    ids.resize(std::min(ids.size(), n_kept));
    ids.insert(ids.end(), closing.begin(), closing.end());
    return ids;
}

// Where the image's rows go: from the first <|image_pad|> on, which in parse mode may be one of the caller's.
void place_image(const tokenizer & tok, int32_t n_image_tokens, prompt & result) {
    if (n_image_tokens == 0) {
        return;
    }
    const auto first = std::find(result.ids.begin(), result.ids.end(), required_special(tok, image_pad));
    if (first == result.ids.end()) {
        return;
    }
    result.image_begin = static_cast<int32_t>(first - result.ids.begin());
    result.n_image = static_cast<int32_t>(std::min<int64_t>(n_image_tokens, result.ids.end() - first));
}

// What stands before picture and text: the same for every input with this instruction, unless the text merges with the line's end.
void measure_opening(const tokenizer & tok, std::string_view instruction, prompt & result) {
    opening start = plain_opening(tok, instruction, 0);
    tok.tokenize(start.run, start.head);
    if (result.ids.size() > start.head.size() && std::equal(start.head.begin(), start.head.end(), result.ids.begin())) {
        result.n_opening = static_cast<int32_t>(start.head.size());
    }
}

void check_input(bool has_text, int32_t n_image_tokens) {
    if (n_image_tokens < 0) {
        throw error("GME_INPUT_INVALID", "a picture takes no negative number of tokens")
            .at_field("image").found(n_image_tokens).wanted("0 or more");
    }
    if (!has_text && n_image_tokens == 0) {
        throw error("GME_INPUT_INVALID", "an input needs a text, an image or both").at_field("text").found("none").wanted("text or image");
    }
}

}  // namespace

prompt make_prompt(const tokenizer & tok, std::string_view instruction, bool has_text, std::string_view text,
                   int32_t n_image_tokens, const prompt_options & options) {
    check_input(has_text, n_image_tokens);
    if (!has_text) {
        text = {};
    }
    const bool parse = options.parse_special;
    const opening start = (parse ? parsed_opening : plain_opening)(tok, instruction, n_image_tokens);
    std::vector<int32_t> closing;
    tok.tokenize_parsed(closing_text(), closing);

    const size_t tokens_max = static_cast<size_t>(std::max<int32_t>(0, options.tokens_max));
    const size_t n_fixed = whole_prompt(tok, start, {}, parse, closing, tokenizer::no_limit).size();
    prompt result;
    if (options.overflow == overflow::error) {
        result.ids = whole_prompt(tok, start, text, parse, closing, tokenizer::no_limit);
        if (result.ids.size() > tokens_max) {
            fail_too_long(result.ids.size(), options.tokens_max);
        }
    } else if (options.overflow == overflow::truncate) {
        if (n_fixed > tokens_max) {
            fail_too_long(n_fixed, options.tokens_max);
        }
        result.ids = whole_prompt(tok, start, text, parse, closing, tokens_max);
        if (result.ids.size() > tokens_max) {
            result.ids = truncated_prompt(tok, start, text, parse, closing, tokens_max);
        }
    } else {
        result.ids = whole_prompt(tok, start, text, parse, closing, tokens_max);
        result.ids.resize(std::min(result.ids.size(), tokens_max));
    }
    result.n_text = static_cast<int32_t>(result.ids.size() - std::min(result.ids.size(), n_fixed));
    place_image(tok, n_image_tokens, result);
    measure_opening(tok, instruction, result);
    return result;
}

}  // namespace gme
