// tensor-types: the numbers of GGUF's tensor types -> block sizes and whether the CPU can multiply by them.
//
// The table is read from ggml once, so that it always agrees with the vendored version; removed types have no size there.

#include "tensor-types.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "ggml.h"

namespace gme {

namespace {

bool is_weight_type(ggml_type type) {
    const bool integer  = type == GGML_TYPE_I8 || type == GGML_TYPE_I16 || type == GGML_TYPE_I32 || type == GGML_TYPE_I64;
    const bool internal = type == GGML_TYPE_Q8_1 || type == GGML_TYPE_Q8_K || type == GGML_TYPE_F64;
    return !integer && !internal && (type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float != nullptr);
}

std::vector<tensor_type> read_types() {
    std::vector<tensor_type> types;
    for (int i = 0; i < GGML_TYPE_COUNT; i++) {
        const auto   type   = static_cast<ggml_type>(i);
        const auto * traits = ggml_get_type_traits(type);
        if (traits->type_name == nullptr || traits->type_size == 0 || traits->blck_size <= 0) {
            continue;
        }
        types.push_back({ static_cast<uint32_t>(i), traits->type_name, static_cast<uint32_t>(traits->blck_size),
                          static_cast<uint32_t>(traits->type_size), is_weight_type(type) });
    }
    return types;
}

const std::vector<tensor_type> & all_types() {
    static const std::vector<tensor_type> types = read_types();  // constant data, not state
    return types;
}

}  // namespace

const tensor_type * find_tensor_type(uint32_t id) {
    for (const auto & type : all_types()) {
        if (type.id == id) {
            return &type;
        }
    }
    return nullptr;
}

const tensor_type * find_tensor_type(const std::string & name) {
    for (const auto & type : all_types()) {
        const std::string known = type.name;
        const bool        same  = known.size() == name.size() && std::equal(known.begin(), known.end(), name.begin(), [](char a, char b) {
            return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
        });
        if (same) {
            return &type;
        }
    }
    return nullptr;
}

std::string multipliable_types() {
    std::string text;
    for (const auto & type : all_types()) {
        if (type.multiplies) {
            text += (text.empty() ? "" : ", ") + std::string(type.name);
        }
    }
    return text;
}

}  // namespace gme
