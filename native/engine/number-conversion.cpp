// number-conversion: f32, f16, bf16 -> f32, f16, bf16, through ggml's row functions.
//
// Pieces of 4,096 numbers pass through a small f32 buffer, so that converting needs no memory of the tensor's size.

#include "number-conversion.h"

#include <algorithm>
#include <cstring>

#include "error.h"
#include "ggml.h"

namespace gme {

static ggml_type float_type(const std::string & name) {
    if (name == "f32") return GGML_TYPE_F32;
    if (name == "f16") return GGML_TYPE_F16;
    if (name == "bf16") return GGML_TYPE_BF16;
    throw error("GME_OPTION_INVALID", "unknown number type " + printable(name)).at_field("type").found(printable(name)).wanted("f32, f16 or bf16");
}

static void to_f32(ggml_type type, const char * source, float * target, int64_t n) {
    switch (type) {
        case GGML_TYPE_F16: ggml_fp16_to_fp32_row(reinterpret_cast<const ggml_fp16_t *>(source), target, n); break;
        case GGML_TYPE_BF16: ggml_bf16_to_fp32_row(reinterpret_cast<const ggml_bf16_t *>(source), target, n); break;
        default: std::memcpy(target, source, static_cast<size_t>(n) * sizeof(float));
    }
}

static void from_f32(ggml_type type, const float * source, char * target, int64_t n) {
    switch (type) {
        case GGML_TYPE_F16: ggml_fp32_to_fp16_row(source, reinterpret_cast<ggml_fp16_t *>(target), n); break;
        case GGML_TYPE_BF16: ggml_fp32_to_bf16_row_ref(source, reinterpret_cast<ggml_bf16_t *>(target), n); break;
        default: std::memcpy(target, source, static_cast<size_t>(n) * sizeof(float));
    }
}

void convert_numbers(const std::string & from, const void * source, const std::string & to, void * target, size_t n) {
    const ggml_type  from_type = float_type(from);
    const ggml_type  to_type   = float_type(to);
    constexpr size_t piece     = 4096;
    float            buffer[piece];
    const auto *     in  = static_cast<const char *>(source);
    auto *           out = static_cast<char *>(target);
    for (size_t at = 0; at < n; at += piece) {
        const auto count = static_cast<int64_t>(std::min(piece, n - at));
        to_f32(from_type, in + at * ggml_type_size(from_type), buffer, count);
        from_f32(to_type, buffer, out + at * ggml_type_size(to_type), count);
    }
}

}  // namespace gme
