// vocabulary-keys: tokenizer.ggml.* -> the vocabulary as it stands in the file.
//
//   model and pre -> equal to Qwen2's -> arrays of the right type, as many tokens as token_embd.weight has rows -> ids of tokens that
//   exist -> tokens, types, merges
//
// What the tokens and merges say is checked where they are indexed (token-table.cpp, tokenizer.cpp).

#include "vocabulary-keys.h"

#include "error.h"

namespace gme {

namespace {

void require_text(const gguf_file & file, const std::string & key, const std::string & expected) {
    const std::string found = file.string(key);
    if (found != expected) {
        throw error("GME_MODEL_UNSUPPORTED", printable(file.path()) + ": " + key + " " + printable(found) + " is not supported")
            .in_file(file.path()).at_field("kv[\"" + key + "\"]").found(printable(found)).wanted(expected);
    }
}

// The checks of the tokenizer's keys that need no token: types, counts, ids.
class tokenizer_arrays {
  public:
    tokenizer_arrays(const gguf_file & file, uint64_t n_rows) : file_(file), n_rows_(n_rows) {}

    error bad(const std::string & key, const std::string & found, const std::string & expected) const {
        return error("GME_TOKENIZER_BAD", printable(file_.path()) + ": " + key + " is " + found + ", expected " + expected)
            .in_file(file_.path()).at_field(key).found(found).wanted(expected);
    }

    // The number of elements.
    uint64_t require(const char * key, gguf_type element) const {
        const gguf_value * value    = file_.find_key(key);
        const std::string       expected = std::string("an array of ") + gguf_type_name(element);
        if (value == nullptr) {
            throw bad(key, "missing", expected);
        }
        const bool same = value->element == element || (element == gguf_type::i32 && value->element == gguf_type::u32);
        if (value->type != gguf_type::array || !same) {
            throw bad(key, type_text(*value), expected);
        }
        return value->count;
    }

    // Scores mean nothing to byte-pair encoding and are never read, but a file whose arrays disagree is damaged.
    void check_scores() const {
        const std::string       key   = "tokenizer.ggml.scores";
        const gguf_value * value = file_.find_key(key);
        if (value != nullptr && (value->type != gguf_type::array || value->element != gguf_type::f32 || value->count != n_rows_)) {
            const std::string found    = type_text(*value) + (value->type == gguf_type::array ? ", " + std::to_string(value->count) + " of them" : "");
            const std::string expected = "an array of f32, one for each of " + std::to_string(n_rows_) + " tokens";
            throw error("GME_GGUF_WRONG_TYPE", printable(file_.path()) + ": " + key + " is " + found + ", expected " + expected)
                .in_file(file_.path()).at_field("kv[\"" + key + "\"]").at_offset(static_cast<int64_t>(value->key_at)).found(found).wanted(expected);
        }
    }

    // bos, eos, eot, padding and whatever else names a token: none is used, all must exist.
    void check_ids() const {
        const std::string prefix = "tokenizer.ggml.", suffix = "_token_id";
        for (const auto & [key, value] : file_.keys()) {
            if (key.size() <= prefix.size() + suffix.size() || key.compare(0, prefix.size(), prefix) != 0 || key.compare(key.size() - suffix.size(), suffix.size(), suffix) != 0) {
                continue;
            }
            const std::string expected = "an id below " + std::to_string(n_rows_);
            const bool is_integer = value.type <= gguf_type::i32 || value.type == gguf_type::u64 || value.type == gguf_type::i64;
            if (!is_integer) {
                throw bad(key, type_text(value), expected);
            }
            const int64_t id = *file_.find_integer(key);
            if (id < 0 || id >= static_cast<int64_t>(n_rows_)) {
                throw bad(key, std::to_string(id), expected);
            }
        }
    }

  private:
    static std::string type_text(const gguf_value & value) {
        return value.type == gguf_type::array ? std::string("array of ") + gguf_type_name(value.element) : gguf_type_name(value.type);
    }

    const gguf_file & file_;
    uint64_t          n_rows_;
};

}  // namespace

vocabulary read_vocabulary(const gguf_file & file, int32_t n_rows) {
    require_text(file, "tokenizer.ggml.model", "gpt2");
    require_text(file, "tokenizer.ggml.pre", "qwen2");
    const tokenizer_arrays arrays(file, static_cast<uint64_t>(n_rows));
    const uint64_t         n_tokens = arrays.require("tokenizer.ggml.tokens", gguf_type::string);
    arrays.require("tokenizer.ggml.merges", gguf_type::string);
    arrays.require("tokenizer.ggml.token_type", gguf_type::i32);
    if (n_tokens != static_cast<uint64_t>(n_rows)) {
        throw arrays.bad("tokenizer.ggml.tokens", std::to_string(n_tokens) + " tokens", std::to_string(n_rows) + ", the rows of token_embd.weight");
    }
    arrays.check_scores();
    arrays.check_ids();
    vocabulary read;
    read.tokens      = *file.find_strings("tokenizer.ggml.tokens");
    read.merges      = *file.find_strings("tokenizer.ggml.merges");
    read.token_types = *file.find_integers("tokenizer.ggml.token_type");
    return read;
}

}  // namespace gme
