// Memory of our own for ggml's tensors: their descriptions, and their numbers.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

#include "error.h"
#include "ggml-cpp.h"
#include "ggml-guard.h"

namespace gme {

struct aligned_delete {
    void operator()(char * at) const { ::operator delete[](at, std::align_val_t(64)); }
};
using aligned_bytes = std::unique_ptr<char[], aligned_delete>;  // at a multiple of 64

aligned_bytes allocate_aligned(size_t size) noexcept;  // nullptr: there is no memory

// Throws GME_OUT_OF_MEMORY when something ran out in the scope; `what` follows "no memory" or "no threads".
void require_enough(ggml_scope & scope, const char * what);

// A context over `memory`, which must outlive it.
ggml_context_ptr new_context(char * memory, size_t size);

// Room for the descriptions of so many tensors, and for `more` bytes beside them: a graph.
class tensor_context {
  public:
    explicit tensor_context(size_t n_tensors, size_t more = 0);  // GME_OUT_OF_MEMORY
    ggml_context * get() const { return context_.get(); }

  private:
    std::unique_ptr<char[]> memory_;
    ggml_context_ptr        context_;
};

// Bytes that tensors lie in.
class tensor_memory {
  public:
    tensor_memory() = default;
    explicit tensor_memory(size_t size);       // GME_OUT_OF_MEMORY
    tensor_memory(void * borrowed, size_t size);  // somebody else's, at a multiple of 64

    // One tensor per name of the context, side by side, all zero. GME_OUT_OF_MEMORY
    static tensor_memory of_all(ggml_context * context);

    void   place(ggml_tensor * tensor, size_t offset) const;
    char * data() const { return base_; }
    size_t size() const { return size_; }

    explicit operator bool() const { return buffer_ != nullptr; }

  private:
    aligned_bytes           owned_;
    char *                  base_ = nullptr;
    size_t                  size_ = 0;
    ggml_backend_buffer_ptr buffer_;
};

}  // namespace gme
