// The good model: shapes and types from the head of an input, weights from a seed, the whole a few ten kilobytes.

#include "model-recipe.h"
#include "model-changes.h"

#include "gme.h"
#include "tensor-types.h"
#include "utf8.h"

#include <algorithm>
#include <map>

namespace recipe {

namespace {

constexpr uint32_t type_u32 = 4, type_i32 = 5, type_f32 = 6, type_bool = 7, type_string = 8, type_array = 9;

template <typename T> std::string raw(T value) {
    return std::string(reinterpret_cast<const char *>(&value), sizeof value);
}

void add(file & to, const std::string & name, uint32_t type, const std::string & bytes) { to.keys.push_back({ name, type, 0, { bytes } }); }
void add_u32(file & to, const std::string & name, uint32_t value) { add(to, name, type_u32, raw(value)); }
void add_f32(file & to, const std::string & name, float value) { add(to, name, type_f32, raw(value)); }

// Small numbers about `middle`, the same for the same name.
std::string weights(const std::string & name, size_t n, float middle) {
    uint32_t state = 2166136261u;
    for (const char c : name) {
        state = (state ^ static_cast<uint8_t>(c)) * 16777619u;
    }
    std::vector<float> numbers(n);
    for (float & number : numbers) {
        state  = state * 1664525u + 1013904223u;
        number = middle + static_cast<float>(static_cast<int32_t>(state) >> 16) / 131072.0f;
    }
    return std::string(reinterpret_cast<const char *>(numbers.data()), n * sizeof(float));
}

void add_vector(file & to, const std::string & name, uint64_t n, float middle = 0.0f) {
    to.tensors.push_back({ name, { n }, 0, weights(name, n, middle), false, 0 });
}

// In the wanted type where a row is a whole number of its blocks, else in f32.
void add_matrix(file & to, const std::string & name, std::vector<uint64_t> dims, const char * wanted) {
    size_t n = 1;
    for (const uint64_t side : dims) {
        n *= side;
    }
    tensor       made{ name, dims, 0, weights(name, n, 0.0f), false, 0 };
    const size_t row = gme_row_size(wanted, static_cast<int64_t>(dims[0]));
    if (row > 0 && std::string(wanted) != "f32") {
        const size_t n_rows = n / dims[0];
        std::string  target(row * n_rows, '\0');
        const auto   status = gme_quantize_rows("f32", made.data.data(), static_cast<int64_t>(n_rows), static_cast<int64_t>(dims[0]), wanted, 1, &target[0], nullptr);
        if (status == GME_STATUS_OK) {
            made.type = gme::find_tensor_type(wanted)->id;
            made.data = target;
        }
    }
    to.tensors.push_back(made);
}

// 256 bytes in GPT-2's characters, two letters' pairs, the prompt's special tokens, one unused.
void add_vocabulary(file & to) {
    key tokens{ "tokenizer.ggml.tokens", type_array, type_string, {} };
    key types{ "tokenizer.ggml.token_type", type_array, type_i32, {} };
    key merges{ "tokenizer.ggml.merges", type_array, type_string, {} };
    const auto token = [&](const std::string & text, int32_t type) {
        tokens.items.push_back(text);
        types.items.push_back(raw(type));
    };
    uint32_t next = 256;
    for (uint32_t byte = 0; byte < 256; byte++) {
        const bool  printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        std::string text;
        gme::utf8_append(text, printable ? byte : next++);
        token(text, 1);
    }
    for (const char * pair : { "a b", "c d", "ab cd", "h e", "l l", "he ll", "hell o" }) {
        merges.items.push_back(pair);
        std::string joined = pair;
        joined.erase(joined.find(' '), 1);
        token(joined, 1);
    }
    for (const char * special : { "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>" }) {
        token(special, 3);
    }
    token("[PAD]", 5);
    add(to, "tokenizer.ggml.model", type_string, "gpt2");
    add(to, "tokenizer.ggml.pre", type_string, "qwen2");
    to.keys.push_back(tokens);
    to.keys.push_back(types);
    to.keys.push_back(merges);
    add_u32(to, "tokenizer.ggml.eos_token_id", 265);
}

constexpr uint8_t narrow_heads = 128;  // down to a width of 1: no model that must load

struct decoder_shape {
    uint32_t n_embd, n_head, n_head_kv, n_ff, n_layer;
};

decoder_shape decoder_shape_of(uint8_t code) {
    static const uint32_t widths[] = { 16, 32, 64, 256 };
    decoder_shape shape{ widths[code & 3], 1u << (code >> 2 & 1), 1, code & 8 ? 32u : 12u, 1u + (code >> 6 & 1) };
    shape.n_head *= code & 16 ? 2 : 1;
    shape.n_head *= code & narrow_heads ? 4 : 1;
    shape.n_head_kv = code & 32 ? shape.n_head : 1;
    return shape;
}

const char * type_of(uint8_t code) {
    static const char * const types[] = { "f32", "f16", "bf16", "q8_0", "q4_0", "q5_1", "q4_k", "q6_k" };
    return types[code % 8];
}

void fill_decoder(file & to, const head & head) {
    const decoder_shape shape = decoder_shape_of(head.decoder_shape);
    const uint64_t      n = shape.n_embd, n_kv = n / shape.n_head * shape.n_head_kv, n_ff = shape.n_ff;
    const char * const  type = type_of(head.decoder_types);
    add(to, "general.architecture", type_string, "qwen2vl");
    add(to, "general.name", type_string, "Smallest");
    add_u32(to, "qwen2vl.block_count", shape.n_layer);
    add_u32(to, "qwen2vl.context_length", 256);
    add_u32(to, "qwen2vl.embedding_length", shape.n_embd);
    add_u32(to, "qwen2vl.feed_forward_length", shape.n_ff);
    add_u32(to, "qwen2vl.attention.head_count", shape.n_head);
    add_u32(to, "qwen2vl.attention.head_count_kv", shape.n_head_kv);
    const int32_t pairs = static_cast<int32_t>(n / shape.n_head / 2);
    to.keys.push_back({ "qwen2vl.rope.dimension_sections", type_array, type_i32, { raw(pairs - pairs / 2), raw(pairs / 4), raw(pairs / 2 - pairs / 4), raw(0) } });
    add_f32(to, "qwen2vl.rope.freq_base", 1e6f);
    add_f32(to, "qwen2vl.attention.layer_norm_rms_epsilon", 1e-6f);
    add_vocabulary(to);
    add_matrix(to, "token_embd.weight", { n, 270 }, type_of(head.decoder_types >> 4));
    for (uint32_t il = 0; il < shape.n_layer; il++) {
        const std::string at = "blk." + std::to_string(il) + ".";
        add_vector(to, at + "attn_norm.weight", n, 1.0f);
        add_matrix(to, at + "attn_q.weight", { n, n }, type);
        add_matrix(to, at + "attn_k.weight", { n, n_kv }, type);
        add_matrix(to, at + "attn_v.weight", { n, n_kv }, type);
        add_matrix(to, at + "attn_output.weight", { n, n }, type);
        add_vector(to, at + "attn_q.bias", n);
        add_vector(to, at + "attn_k.bias", n_kv);
        add_vector(to, at + "attn_v.bias", n_kv);
        add_vector(to, at + "ffn_norm.weight", n, 1.0f);
        add_matrix(to, at + "ffn_gate.weight", { n, n_ff }, type);
        add_matrix(to, at + "ffn_up.weight", { n, n_ff }, type);
        add_matrix(to, at + "ffn_down.weight", { n_ff, n }, type);
    }
    add_vector(to, "output_norm.weight", n, 1.0f);
}

void add_linear(file & to, const std::string & name, uint64_t n_in, uint64_t n_out, const char * type) {
    add_matrix(to, name + ".weight", { n_in, n_out }, type);
    add_vector(to, name + ".bias", n_out);
}

void add_norm(file & to, const std::string & name, uint64_t n) {
    add_vector(to, name + ".weight", n, 1.0f);
    add_vector(to, name + ".bias", n);
}

void fill_tower(file & to, const head & head, bool own_file) {
    const uint8_t      code    = head.tower_shape;
    const uint32_t     n_heads = 1u << (code & 1);
    const uint64_t     n       = n_heads * (code & 2 ? 8 : 4), n_layer = 1 + (code >> 2 & 1), n_ff = code & 8 ? 32 : 6;
    const char * const type    = type_of(code >> 5);
    if (own_file) {
        add(to, "general.architecture", type_string, "clip");
    }
    add(to, "clip.has_vision_encoder", type_bool, std::string(1, '\1'));
    add(to, "clip.projector_type", type_string, "qwen2vl_merger");
    add_u32(to, "clip.vision.projection_dim", decoder_shape_of(head.decoder_shape).n_embd);
    add_u32(to, "clip.vision.image_size", 560);
    add_u32(to, "clip.vision.patch_size", 14);
    add_u32(to, "clip.vision.embedding_length", static_cast<uint32_t>(n));
    add_u32(to, "clip.vision.block_count", static_cast<uint32_t>(n_layer));
    add_u32(to, "clip.vision.attention.head_count", n_heads);
    add_f32(to, "clip.vision.attention.layer_norm_epsilon", 1e-6f);
    to.keys.push_back({ "clip.vision.image_mean", type_array, type_f32, { raw(0.5f), raw(0.4f), raw(0.3f) } });
    to.keys.push_back({ "clip.vision.image_std", type_array, type_f32, { raw(0.2f), raw(0.3f), raw(0.25f) } });
    for (uint64_t il = 0; il < n_layer; il++) {
        const std::string at = "v.blk." + std::to_string(il) + ".";
        add_norm(to, at + "ln1", n);
        add_norm(to, at + "ln2", n);
        for (const char * name : { "attn_q", "attn_k", "attn_v", "attn_out" }) {
            add_linear(to, at + name, n, n, type);
        }
        add_linear(to, at + (code & 16 ? "ffn_down" : "ffn_up"), n, n_ff, type);
        add_linear(to, at + (code & 16 ? "ffn_up" : "ffn_down"), n_ff, n, type);
    }
    add_norm(to, "v.post_ln", n);
    add_linear(to, "mm.0", 4 * n, 4 * n, type);
    add_linear(to, "mm.2", 4 * n, decoder_shape_of(head.decoder_shape).n_embd, type);
    add_matrix(to, "v.patch_embd.weight", { 14, 14, 3, n }, "f32");
    add_matrix(to, "v.patch_embd.weight.1", { 14, 14, 3, n }, "f32");
}

std::string sized(const std::string & text) { return raw<uint64_t>(text.size()) + text; }

}  // namespace

std::string file::bytes() const {
    std::string head = "GGUF" + raw(version) + raw<uint64_t>(counted ? n_tensors : tensors.size()) + raw<uint64_t>(counted ? n_keys : keys.size());
    for (const auto & one : keys) {
        head += sized(one.name) + raw(one.type);
        const bool list = one.type == type_array;
        head += list ? raw(one.element) + raw<uint64_t>(one.items.size()) : "";
        for (const auto & item : one.items) {
            head += (list ? one.element : one.type) == type_string ? sized(item) : item;
        }
    }
    std::string data;
    for (const auto & one : tensors) {
        head += sized(one.name) + raw<uint32_t>(static_cast<uint32_t>(one.dims.size()));
        for (const uint64_t side : one.dims) {
            head += raw(side);
        }
        head += raw(one.type) + raw<uint64_t>(one.placed ? one.offset : data.size());
        data += one.data;
        data.resize((data.size() + alignment - 1) / alignment * alignment);
    }
    head.resize((head.size() + alignment - 1) / alignment * alignment);
    head += data;
    for (const auto & one : patches) {
        const size_t at = one.at % (head.size() + 1);
        if (one.size == 0) {
            head.resize(at);
        } else {
            head.replace(at, std::min<size_t>(one.size, head.size() - at), std::string(reinterpret_cast<const char *>(&one.value), one.size));
        }
    }
    return head;
}

static model make_good_model(const head & head) {
    model made;
    made.changed = (head.decoder_shape & narrow_heads) != 0;
    made.place   = static_cast<tower>(head.tower_place % 4);
    fill_decoder(made.decoder, head);
    if (made.place != tower::none) {
        fill_tower(made.place == tower::same_file ? made.decoder : made.mmproj, head, made.place != tower::same_file);
    }
    return made;
}

model make_model(const head & head, fuzz::byte_source changes) {
    // Most inputs share their head with the one before: the last few models are kept.
    static std::map<uint32_t, model> kept;
    uint32_t                         shape = 0;
    std::memcpy(&shape, &head, sizeof shape);  // the four bytes that a model depends on
    auto found = kept.find(shape);
    if (found == kept.end()) {
        if (kept.size() >= 32) {
            kept.clear();
        }
        found = kept.emplace(shape, make_good_model(head)).first;
    }
    model made = found->second;
    for (size_t i = 0; i < changes_max && changes.left() >= change_bytes; i++) {
        apply(changes.take<change>(), made);
        made.changed = true;
    }
    return made;
}

}  // namespace recipe
