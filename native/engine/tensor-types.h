// Sizes of ggml's tensor types, so that the GGUF reader can check ranges without knowing ggml's headers.
#pragma once

#include <cstdint>
#include <string>

namespace gme {

struct tensor_type {
    uint32_t     id;          // as stored in GGUF files
    const char * name;        // lower case, as in `--type`
    uint32_t     block_rows;  // numbers in one block
    uint32_t     block_size;  // bytes of one block
    bool         multiplies;  // ggml's CPU backend can multiply by weights of this type
};

// nullptr for a number that names no type (or a removed one).
const tensor_type * find_tensor_type(uint32_t id);
const tensor_type * find_tensor_type(const std::string & name);

// "f32, f16, …": the types a model's matrices may have, for error texts.
std::string multipliable_types();

}  // namespace gme
