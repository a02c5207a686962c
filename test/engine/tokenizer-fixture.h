// A vocabulary in GGUF's form from a Hugging Face tokenizer.json.
#pragma once

#include "checks.h"
#include "json-reader.h"
#include "tokenizer.h"

#include <string>
#include <vector>

namespace fixture {

// As llama.cpp's converter writes it: ordinary tokens, the added ones as control tokens, "[PADn]" of type 5 up to n_padded.
inline gme::vocabulary read_vocabulary(const std::string & path, size_t n_padding = 2) {
    const json::value file = json::parse_file(path);
    const json::value & model = file["model"];
    const json::value & added = file["added_tokens"];
    gme::vocabulary result;
    const size_t n_tokens = model["vocab"].members.size() + added.items.size();
    result.tokens.resize(n_tokens);
    result.token_types.assign(n_tokens, 1);
    for (const auto & entry : model["vocab"].members) {
        result.tokens.at(static_cast<size_t>(entry.second.integer())) = entry.first;
    }
    for (const json::value & entry : added.items) {
        const auto id = static_cast<size_t>(entry["id"].integer());
        result.tokens.at(id) = entry["content"].text;
        result.token_types.at(id) = 3;
    }
    for (const json::value & merge : model["merges"].items) {
        result.merges.push_back(merge.type == json::value::string ? merge.text : merge.items.at(0).text + " " + merge.items.at(1).text);
    }
    for (size_t i = 0; i < n_padding; ++i) {
        result.tokens.push_back("[PAD" + std::to_string(n_tokens + i) + "]");
        result.token_types.push_back(5);
    }
    return result;
}

inline std::vector<int32_t> ids_of(const json::value & list) {
    std::vector<int32_t> ids;
    for (const json::value & item : list.items) {
        ids.push_back(item.integer());
    }
    return ids;
}

}  // namespace fixture
