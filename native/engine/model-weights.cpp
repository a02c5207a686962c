// model-weights: tensors of one or two GGUF files -> the roles of the graph.
//
//   names and shapes -> checked against model-config -> ggml tensors over the mapping (nothing is copied)
//
// A wrong shape would be a failed assertion inside ggml and the end of the process, so each one is compared here first.
// Matrices may have any type that ggml's CPU multiplies; biases and norms are f32.

#include "model-weights.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <unordered_set>

#include "error.h"
#include "ggml-backend.h"
#include "tensor-types.h"

namespace gme {

namespace {

std::string shape_text(const int64_t * ne, int n_dims) {
    std::string text = "[";
    for (int i = 0; i < n_dims; i++) {
        text += (i ? ", " : "") + std::to_string(ne[i]);
    }
    return text + "]";
}

std::string tensor_field(const std::string & name) {
    return "tensor[\"" + name + "\"]";
}

error shape_error(const gguf_file & file, const gguf_tensor & tensor, const std::string & expected) {
    const std::string found = shape_text(tensor.ne, tensor.n_dims);
    return error("GME_TENSOR_SHAPE", printable(file.path()) + ": " + tensor.name + " has shape " + found + ", expected " + expected)
        .in_file(file.path()).at_field(tensor_field(tensor.name) + ".ne").at_offset(static_cast<int64_t>(tensor.info_at)).found(found).wanted(expected);
}

void require_type(const gguf_file & file, const gguf_tensor & tensor, bool good, const std::string & expected) {
    if (!good) {
        const std::string found = find_tensor_type(tensor.type)->name;
        throw error("GME_TENSOR_TYPE", printable(file.path()) + ": " + tensor.name + " has type " + found + ", unsupported for this model")
            .in_file(file.path()).at_field(tensor_field(tensor.name) + ".type").at_offset(static_cast<int64_t>(tensor.info_at)).found(found).wanted(expected);
    }
}

constexpr uint64_t tensor_alignment = 64;

uint64_t aligned(uint64_t size) {
    return (size + tensor_alignment - 1) / tensor_alignment * tensor_alignment;
}

}  // namespace

weights_file::weights_file(const gguf_file & file, bool use_mmap, size_t n_extra_tensors)
    : file_(file), context_(file.tensors().size()), owned_context_(n_extra_tensors) {
    // ggml's CPU backend wants tensors at multiples of 32 bytes; a file with a smaller alignment is copied.
    if (use_mmap && file.alignment() % 32 == 0 && file.file().size() > 0) {
        mapping_ = std::make_unique<file_mapping>(file.file());
    }
}

const gguf_tensor & weights_file::require(const std::string & name) const {
    const gguf_tensor * tensor = file_.find_tensor(name);
    if (tensor == nullptr) {
        throw error("GME_TENSOR_MISSING", printable(file_.path()) + ": the tensor " + name + " is missing")
            .in_file(file_.path()).at_field(tensor_field(name)).wanted("a tensor of this name");
    }
    return *tensor;
}

ggml_tensor * weights_file::create(const gguf_tensor & info) {
    ggml_tensor *& tensor = by_name_[info.name];
    if (tensor != nullptr) {
        return tensor;
    }
    const ggml_scope scope(ggml_scope::on_failure::raise);
    tensor = ggml_new_tensor(context_.get(), static_cast<ggml_type>(info.type), info.n_dims, info.ne);
    ggml_set_name(tensor, info.name.c_str());
    created_.emplace_back(tensor, &info);
    return tensor;
}

ggml_tensor * weights_file::matrix(const std::string & name, int64_t n_in, int64_t n_out) {
    const gguf_tensor & tensor = require(name);
    if (tensor.n_dims != 2 || tensor.ne[0] != n_in || tensor.ne[1] != n_out) {
        const int64_t expected[] = { n_in, n_out };
        throw shape_error(file_, tensor, shape_text(expected, 2));
    }
    require_type(file_, tensor, find_tensor_type(tensor.type)->multiplies, multipliable_types());
    return create(tensor);
}

ggml_tensor * weights_file::vector(const std::string & name, int64_t n) {
    const gguf_tensor & tensor = require(name);
    if (tensor.n_dims != 1 || tensor.ne[0] != n) {
        throw shape_error(file_, tensor, shape_text(&n, 1));
    }
    require_type(file_, tensor, tensor.type == GGML_TYPE_F32, "f32");
    return create(tensor);
}

ggml_tensor * weights_file::owned_matrix(const std::string & name, int64_t ne0, int64_t ne1) {
    const ggml_scope scope(ggml_scope::on_failure::raise);
    ggml_tensor *    tensor = ggml_new_tensor_2d(owned_context_.get(), GGML_TYPE_F32, ne0, ne1);
    ggml_set_name(tensor, name.c_str());
    owned_.push_back(tensor);
    return tensor;
}

void weights_file::load(const progress & on_progress) {
    if (!owned_.empty()) {
        owned_memory_ = tensor_memory::of_all(owned_context_.get());
    }
    if (mapping_) {
        memory_ = tensor_memory(mapping_->data(), mapping_->size());
        for (const auto & [tensor, info] : created_) {
            memory_.place(tensor, info->offset);
        }
        return;
    }
    uint64_t total = 0;
    for (const auto & [tensor, info] : created_) {
        total += aligned(info->size);
    }
    memory_ = tensor_memory(total);
    uint64_t           at    = 0;
    constexpr uint64_t piece = 8ull << 20;
    for (const auto & [tensor, info] : created_) {
        memory_.place(tensor, at);
        for (uint64_t done = 0; done < info->size; done += piece) {
            const uint64_t n = std::min(piece, info->size - done);
            file_.file().read(info->offset + done, memory_.data() + at + done, n);
            on_progress(n);
        }
        at += aligned(info->size);
    }
}

uint64_t weights_file::owned_bytes() const {
    return owned_memory_.size() + (mapping_ ? 0 : memory_.size());
}

std::vector<std::string> weights_file::unused() const {
    std::vector<std::string>        names;
    std::unordered_set<std::string> used;
    for (const auto & [tensor, info] : created_) {
        used.insert(info->name);
    }
    for (const auto & tensor : file_.tensors()) {
        const bool patch = tensor.name == "v.patch_embd.weight" || tensor.name == "v.patch_embd.weight.1";
        if (!patch && used.count(tensor.name) == 0) {
            names.push_back(tensor.name);
        }
    }
    return names;
}

std::vector<float> weights_file::numbers(const gguf_tensor & tensor) const {
    std::vector<char> bytes(tensor.size);
    file_.file().read(tensor.offset, bytes.data(), bytes.size());
    const int64_t      n = tensor.ne[0] * tensor.ne[1] * tensor.ne[2] * tensor.ne[3];
    std::vector<float> out(static_cast<size_t>(n));
    if (tensor.type == GGML_TYPE_F32) {
        std::memcpy(out.data(), bytes.data(), bytes.size());
    } else {
        ggml_get_type_traits(static_cast<ggml_type>(tensor.type))->to_float(bytes.data(), out.data(), n);
    }
    return out;
}

std::vector<float> look_up_rows(const ggml_tensor * matrix, const std::vector<int32_t> & ids) {
    const int64_t      n_columns = matrix->ne[0];
    const auto         to_float  = ggml_get_type_traits(matrix->type)->to_float;
    std::vector<float> rows(ids.size() * static_cast<size_t>(n_columns));
    for (size_t i = 0; i < ids.size(); i++) {
        const char * from = static_cast<const char *>(matrix->data) + static_cast<size_t>(ids[i]) * matrix->nb[1];
        float *      to   = rows.data() + i * static_cast<size_t>(n_columns);
        if (matrix->type == GGML_TYPE_F32) {
            std::memcpy(to, from, static_cast<size_t>(n_columns) * sizeof(float));
        } else {
            to_float(from, to, n_columns);
        }
    }
    return rows;
}

// --- decoder ---------------------------------------------------------------------------------------------------------

static decoder_layer find_decoder_layer(weights_file & weights, const decoder_config & config, int32_t il) {
    const std::string prefix = "blk." + std::to_string(il) + ".";
    const int64_t     n      = config.n_embd;
    const int64_t     n_kv   = static_cast<int64_t>(config.n_embd_head) * config.n_head_kv;
    const auto        projection = [&](const char * name, int64_t n_in, int64_t n_out) {
        return linear{ weights.matrix(prefix + name + ".weight", n_in, n_out), nullptr };
    };
    decoder_layer layer;
    layer.attn_norm.weight = weights.vector(prefix + "attn_norm.weight", n);
    layer.q                = projection("attn_q", n, n);
    layer.k                = projection("attn_k", n, n_kv);
    layer.v                = projection("attn_v", n, n_kv);
    layer.o                = projection("attn_output", n, n);
    layer.q.bias           = weights.vector(prefix + "attn_q.bias", n);
    layer.k.bias           = weights.vector(prefix + "attn_k.bias", n_kv);
    layer.v.bias           = weights.vector(prefix + "attn_v.bias", n_kv);
    layer.ffn_norm.weight  = weights.vector(prefix + "ffn_norm.weight", n);
    layer.gate             = projection("ffn_gate", n, config.n_ff);
    layer.up               = projection("ffn_up", n, config.n_ff);
    layer.down             = projection("ffn_down", config.n_ff, n);
    return layer;
}

// The N of "<prefix>N.<rest>", -1 for other names.
static int64_t layer_of(const std::string & name, const std::string & prefix) {
    if (name.compare(0, prefix.size(), prefix) != 0) {
        return -1;
    }
    const char * end    = name.data() + name.size();
    int64_t      number = -1;
    const auto   read   = std::from_chars(name.data() + prefix.size(), end, number);
    return read.ec == std::errc() && read.ptr != end && *read.ptr == '.' ? number : -1;
}

static void refuse_more_layers(const gguf_file & file, const std::string & prefix, const char * key, int32_t n_layer) {
    for (const auto & tensor : file.tensors()) {
        if (layer_of(tensor.name, prefix) >= n_layer) {
            throw error("GME_HPARAM_RANGE", printable(file.path()) + ": " + key + " says " + std::to_string(n_layer) + " layers, but " + tensor.name + " is there")
                .in_file(file.path()).at_field(std::string("kv[\"") + key + "\"]").found(n_layer).wanted("the number of layers in the file");
        }
    }
}

decoder_weights find_decoder_weights(weights_file & weights, const decoder_config & config) {
    decoder_weights     decoder;
    const gguf_tensor & token_embd = weights.require("token_embd.weight");
    decoder.n_vocab                = static_cast<int32_t>(token_embd.ne[1]);
    decoder.token_embd             = weights.matrix("token_embd.weight", config.n_embd, token_embd.ne[1]);
    refuse_more_layers(weights.file(), "blk.", "qwen2vl.block_count", config.n_layer);
    for (int32_t il = 0; il < config.n_layer; il++) {
        decoder.layers.push_back(find_decoder_layer(weights, config, il));
    }
    decoder.output_norm.weight = weights.vector("output_norm.weight", config.n_embd);
    return decoder;
}

// --- vision tower ----------------------------------------------------------------------------------------------------

static layer_norm find_layer_norm(weights_file & weights, const std::string & prefix, int64_t n) {
    return { weights.vector(prefix + ".weight", n), weights.vector(prefix + ".bias", n) };
}

static linear find_linear(weights_file & weights, const std::string & prefix, int64_t n_in, int64_t n_out) {
    return { weights.matrix(prefix + ".weight", n_in, n_out), weights.vector(prefix + ".bias", n_out) };
}

static vision_block find_vision_block(weights_file & weights, const vision_config & config, int32_t il) {
    const std::string prefix = "v.blk." + std::to_string(il) + ".";
    const int64_t     n      = config.n_embd;
    vision_block      block;
    block.ln1 = find_layer_norm(weights, prefix + "ln1", n);
    block.ln2 = find_layer_norm(weights, prefix + "ln2", n);
    block.q   = find_linear(weights, prefix + "attn_q", n, n);
    block.k   = find_linear(weights, prefix + "attn_k", n, n);
    block.v   = find_linear(weights, prefix + "attn_v", n, n);
    block.o   = find_linear(weights, prefix + "attn_out", n, n);
    // Files of an old script have up and down swapped; the widening matrix is the one whose input is the tower's width.
    const gguf_tensor & named_up = weights.require(prefix + "ffn_up.weight");
    const bool          swapped  = named_up.ne[0] != n && named_up.ne[1] == n;
    const int64_t       n_ff     = swapped ? named_up.ne[0] : named_up.ne[1];
    if (n_ff > n_ff_ratio_max * n) {
        const int64_t widest[] = { n, n_ff_ratio_max * n };
        throw shape_error(weights.file(), named_up, shape_text(widest, 2) + " at most");
    }
    block.up   = find_linear(weights, prefix + (swapped ? "ffn_down" : "ffn_up"), n, n_ff);
    block.down = find_linear(weights, prefix + (swapped ? "ffn_up" : "ffn_down"), n_ff, n);
    return block;
}

// One frame of the patch convolution: [14 x, 14 y, 3 channels, n_embd], float of any width.
static const gguf_tensor & require_patch_frame(const weights_file & weights, const std::string & name, int64_t n_embd) {
    const gguf_tensor & tensor = weights.require(name);
    if (tensor.n_dims != 4 || tensor.ne[0] != 14 || tensor.ne[1] != 14 || tensor.ne[2] != 3 || tensor.ne[3] != n_embd) {
        const int64_t expected[] = { 14, 14, 3, n_embd };
        throw shape_error(weights.file(), tensor, shape_text(expected, 4));
    }
    require_type(weights.file(), tensor, tensor.type == GGML_TYPE_F32 || tensor.type == GGML_TYPE_F16 || tensor.type == GGML_TYPE_BF16, "f32, f16 or bf16");
    return tensor;
}

vision_weights find_vision_weights(weights_file & weights, const vision_config & config) {
    vision_weights vision;
    require_patch_frame(weights, "v.patch_embd.weight", config.n_embd);
    require_patch_frame(weights, "v.patch_embd.weight.1", config.n_embd);
    vision.patch_embd = weights.owned_matrix("v.patch_embd.sum", patch_row_padded, config.n_embd);
    refuse_more_layers(weights.file(), "v.blk.", "clip.vision.block_count", config.n_layer);
    for (int32_t il = 0; il < config.n_layer; il++) {
        vision.blocks.push_back(find_vision_block(weights, config, il));
    }
    const int64_t n_merged = 4ll * config.n_embd;  // 2×2 patches side by side
    vision.post_ln         = find_layer_norm(weights, "v.post_ln", config.n_embd);
    vision.merger_0        = find_linear(weights, "mm.0", n_merged, n_merged);
    vision.merger_2        = find_linear(weights, "mm.2", n_merged, config.n_output);
    return vision;
}

void sum_patch_frames(const weights_file & weights, const vision_config & config, vision_weights & vision) {
    const auto first  = weights.numbers(weights.require("v.patch_embd.weight"));
    const auto second = weights.numbers(weights.require("v.patch_embd.weight.1"));
    // [n_embd, 588] -> [n_embd, 608]
    auto * target = static_cast<float *>(vision.patch_embd->data);
    std::memset(target, 0, ggml_nbytes(vision.patch_embd));
    for (int32_t row = 0; row < config.n_embd; row++) {
        for (int32_t i = 0; i < patch_row; i++) {
            const size_t from = static_cast<size_t>(row) * patch_row + static_cast<size_t>(i);
            target[static_cast<size_t>(row) * patch_row_padded + static_cast<size_t>(i)] = first[from] + second[from];
        }
    }
}

}  // namespace gme
