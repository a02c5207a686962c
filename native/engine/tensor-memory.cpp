// tensor-memory: what ggml's tensors are described in and what they lie in.
//
//   bytes of ours -> ggml_init over them                 -> descriptions
//   bytes of ours -> a ggml buffer over them -> a place  -> numbers
//
// ggml would take both itself, but asserts that it gets the one and forgets the other when the object around it has no room.

#include "tensor-memory.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "ggml-backend.h"

namespace gme {

aligned_bytes allocate_aligned(size_t size) noexcept {
    return aligned_bytes(new (std::align_val_t(64), std::nothrow) char[size]);
}

void require_enough(ggml_scope & scope, const char * what) {
    if (const char * missing = scope.shortage()) {
        throw error("GME_OUT_OF_MEMORY", std::string("no ") + missing + " " + what);
    }
}

ggml_context_ptr new_context(char * memory, size_t size) {
    ggml_scope             scope(ggml_scope::on_failure::raise);
    const ggml_init_params params = { size, memory, /*no_alloc*/ true };
    ggml_context_ptr       context(ggml_init(params));
    require_enough(scope, "to describe tensors");
    return context;
}

tensor_context::tensor_context(size_t n_tensors, size_t more) {
    const size_t size = ggml_tensor_overhead() * (n_tensors + 1) + more;
    memory_.reset(new char[size]);
    context_ = new_context(memory_.get(), size);
}

tensor_memory::tensor_memory(size_t size) : owned_(allocate_aligned(std::max<size_t>(size, 64))) {
    if (!owned_) {
        throw error("GME_OUT_OF_MEMORY", "no memory for " + std::to_string(size) + " bytes of tensors").found(static_cast<int64_t>(size)).wanted("bytes of free memory");
    }
    base_ = owned_.get();
    size_ = std::max<size_t>(size, 64);
    buffer_.reset(ggml_backend_cpu_buffer_from_ptr(base_, size_));
}

tensor_memory::tensor_memory(void * borrowed, size_t size) : base_(static_cast<char *>(borrowed)), size_(size) {
    buffer_.reset(ggml_backend_cpu_buffer_from_ptr(borrowed, size));
}

void tensor_memory::place(ggml_tensor * tensor, size_t offset) const {
    ggml_scope scope(ggml_scope::on_failure::raise);
    ggml_backend_tensor_alloc(buffer_.get(), tensor, base_ + offset);
}

tensor_memory tensor_memory::of_all(ggml_context * context) {
    const auto aligned = [](size_t size) { return (size + 63) / 64 * 64; };
    size_t     total   = 0;
    for (ggml_tensor * tensor = ggml_get_first_tensor(context); tensor != nullptr; tensor = ggml_get_next_tensor(context, tensor)) {
        total += aligned(ggml_nbytes(tensor));
    }
    tensor_memory memory(total);
    std::memset(memory.base_, 0, memory.size_);
    size_t at = 0;
    for (ggml_tensor * tensor = ggml_get_first_tensor(context); tensor != nullptr; tensor = ggml_get_next_tensor(context, tensor)) {
        memory.place(tensor, at);
        at += aligned(ggml_nbytes(tensor));
    }
    return memory;
}

}  // namespace gme
