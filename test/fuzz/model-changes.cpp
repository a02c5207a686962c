// The changes: each takes the tree as it is and leaves one that can be written.

#include "model-changes.h"

#include "tensor-types.h"

#include <algorithm>
#include <limits>

namespace recipe {

namespace {

constexpr uint32_t type_string = 8, type_array = 9;
constexpr size_t   data_max    = 1u << 19;  // bytes of one tensor: what a change may ask for

const uint32_t scalar_sizes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };

// Keys that a loader may look for and texts that it compares.
const char * const words[] = {
    "gme.positions", "gme.loader_resize", "gme.image_tokens_min", "gme.image_tokens_max", "gme.default_instruction", "general.alignment",
    "qwen2vl.attention.key_length", "qwen2vl.attention.value_length", "qwen2vl.pooling_type", "clip.vision.spatial_merge_size",
    "clip.projector_type", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.padding_token_id", "tokenizer.ggml.add_bos_token", "general.name",
    "qwen2vl", "clip", "mrope", "sequential", "qwen2vl_merger", "gpt2", "qwen2", "llama", "", "<|im_start|>", "<|im_end|>", "<|image_pad|>", "a b",
    "a a", " ", "v.patch_embd.weight", "token_embd.weight", "output.weight", "output_norm.weight", "blk.1.attn_q.weight", "v.blk.1.ln1.weight",
    "mm.0.weight", "blk.0.ffn_up.weight", "qwen2vl.block_count", "\xff\xfe", "general.architecture", "clip.vision.image_mean",
};

const uint64_t numbers[] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 14, 15, 16, 28, 31, 32, 33, 48, 64, 96, 127, 128, 192, 255, 256, 257, 512, 1000, 1024, 4096, 16384, 16385, 32768, 65535, 65536, 65537,
    1u << 20, 1u << 24, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x100000000, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF,
    0x7F800000, 0xFF800000, 0x7FC00000, 0x00000001, 0x3F800000, 0x7F7FFFFF, 0x358637BD, 0x7FF0000000000000,
};

uint64_t number_of(uint64_t value) { return value >> 56 == 0xA5 ? numbers[value % (sizeof numbers / sizeof *numbers)] : value; }

std::string text_of(const change & change) {
    if ((change.target & 2) != 0) {
        return words[change.value % (sizeof words / sizeof *words)];
    }
    return std::string(reinterpret_cast<const char *>(&change.value), (change.target >> 2) % 9);
}

std::string scalar_of(uint32_t type, uint64_t value) {
    const uint64_t number = number_of(value);
    return std::string(reinterpret_cast<const char *>(&number), type < 13 ? scalar_sizes[type] : 8);
}

std::string item_of(uint32_t type, const change & change) { return type == type_string ? text_of(change) : scalar_of(type, change.value); }

// As many bytes as shape and type ask for, where that is in reason: what was there, again and again.
void fit_data(tensor & one) {
    const auto * type  = gme::find_tensor_type(one.type);
    uint64_t     bytes = type == nullptr ? 0 : type->block_size;
    uint64_t     n     = 1;
    for (const uint64_t side : one.dims) {
        n = side != 0 && n > (1u << 22) / side ? 0 : n * side;
    }
    bytes = type == nullptr ? 0 : n / type->block_rows * bytes;
    if (bytes == 0 || bytes > data_max) {
        return;
    }
    const std::string before = one.data.empty() ? std::string(1, '\0') : one.data;
    one.data.clear();
    while (one.data.size() < bytes) {
        one.data += before.substr(0, bytes - one.data.size());
    }
}

void change_key(const change & change, file & in) {
    if (in.keys.empty()) {
        return;
    }
    const size_t i   = change.index % in.keys.size();
    key &        one = in.keys[i];
    switch (change.code % n_codes) {
        case 0:  // another value of the same type
            one.items[0] = item_of(one.type == type_array ? one.element : one.type, change);
            break;
        case 1:  // another type, a value to suit
            one.type  = change.target >> 1 & 15;
            one.items = { item_of(one.type, change) };
            one.element = one.type == type_array ? static_cast<uint32_t>(change.value % 13) : 0;
            if (one.type == type_array) {
                one.items = { item_of(one.element, change) };
            }
            break;
        case 2: in.keys.erase(in.keys.begin() + static_cast<std::ptrdiff_t>(i)); break;
        case 3: in.keys.push_back(key(one)); break;
        case 4: one.name = text_of(change); break;
        default: std::swap(one, in.keys[number_of(change.value) % in.keys.size()]); break;
    }
}

// In arrays; `index` names the element, so that long arrays are reached everywhere.
void change_list(const change & change, file & in) {
    std::vector<key *> lists;
    for (auto & one : in.keys) {
        if (one.type == type_array && !one.items.empty()) {
            lists.push_back(&one);
        }
    }
    if (lists.empty()) {
        return;
    }
    key &        one = *lists[(change.target >> 5) % lists.size()];
    const size_t i   = change.index % one.items.size();
    switch (change.code % n_codes) {
        case 6: one.items[i] = item_of(one.element, change); break;
        case 7: one.items.resize(change.value % 512 + 1, one.items[i]); break;
        case 8: std::swap(one.items[i], one.items[change.value % one.items.size()]); break;
        case 9: one.items.erase(one.items.begin() + static_cast<std::ptrdiff_t>(i)); break;
        default: one.items.push_back(one.items[i]); break;
    }
    if (one.items.empty()) {
        one.items.push_back(item_of(one.element, change));
    }
}

void fill(tensor & one, const change & change) {
    const uint64_t number = number_of(change.value);
    const size_t   step   = (change.target & 2) != 0 ? 2 : 4;
    const bool     all    = (change.target & 4) != 0;
    for (size_t at = all ? 0 : change.index % (one.data.size() / step + 1) * step; at + step <= one.data.size(); at += step) {
        std::memcpy(&one.data[at], &number, step);
        if (!all) {
            break;
        }
    }
}

void change_tensor(const change & change, file & in) {
    if (in.tensors.empty()) {
        return;
    }
    const size_t i   = (change.code % n_codes == 17 ? change.target >> 3 : change.index) % in.tensors.size();
    tensor &     one = in.tensors[i];
    switch (change.code % n_codes) {
        case 11: in.tensors.erase(in.tensors.begin() + static_cast<std::ptrdiff_t>(i)); break;
        case 12: one.name = text_of(change); break;
        case 13:
            one.dims[(change.target >> 1) % one.dims.size()] = number_of(change.value);
            fit_data(one);
            break;
        case 14: std::swap(one.dims.front(), one.dims.back()); break;
        case 15:
            one.dims.resize(change.value % 5 + 1, 1);
            fit_data(one);
            break;
        case 16:
            one.type = static_cast<uint32_t>(number_of(change.value) % 48);
            fit_data(one);
            break;
        case 17: fill(one, change); break;
        case 18: in.tensors.push_back(tensor(one)); in.tensors.back().name = text_of(change); break;
        case 19:
            one.placed = true;
            one.offset = number_of(change.value);
            break;
        default: std::swap(one, in.tensors[number_of(change.value) % in.tensors.size()]); break;
    }
}

void change_file(const change & change, file & in) {
    if (change.code % n_codes == 21) {
        in.patches.push_back({ static_cast<uint32_t>(change.index * 8u + (change.target >> 1)), number_of(change.value), static_cast<uint8_t>(change.value % 9) });
    } else if (change.code % n_codes == 22) {
        in.counted   = true;
        in.n_keys    = change.target & 2 ? number_of(change.value) : in.keys.size();
        in.n_tensors = change.target & 2 ? in.tensors.size() : number_of(change.value);
    } else {
        in.alignment = 8ull << change.value % 8;
        in.keys.push_back({ "general.alignment", 4, 0, { scalar_of(4, in.alignment) } });
    }
}

}  // namespace

void apply(const change & change, model & made) {
    const bool    has_tower_file = made.place == tower::given || made.place == tower::beside;
    file &        in             = (change.target & 1) != 0 && has_tower_file ? made.mmproj : made.decoder;
    const uint8_t code           = change.code % n_codes;
    if (code <= 5) {
        change_key(change, in);
    } else if (code <= 10) {
        change_list(change, in);
    } else if (code <= 20) {
        change_tensor(change, in);
    } else {
        change_file(change, in);
    }
}

}  // namespace recipe
