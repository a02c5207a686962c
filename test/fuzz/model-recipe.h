// Small models and what is changed in them: the model loader's inputs.
//
//   recipe bytes -> shape (widths, heads, layers, types) -> a whole, good model as a tree of keys and tensors (decoder, vision tower)
//     -> changes, 12 bytes each, on the tree -> bytes of one or two files, whose counts and offsets fit unless a change says otherwise
#pragma once

#include "fuzz-checks.h"

#include <cstdint>
#include <string>
#include <vector>

namespace recipe {

struct key {
    std::string              name;
    uint32_t                 type    = 0;  // GGUF's numbering
    uint32_t                 element = 0;  // of an array
    std::vector<std::string> items;        // the raw bytes of each; strings without their length
};

struct tensor {
    std::string           name;
    std::vector<uint64_t> dims;
    uint32_t              type = 0;
    std::string           data;
    bool                  placed = false;  // `offset` stands where it would be computed
    uint64_t              offset = 0;
};

struct patch {  // of the written bytes
    uint32_t at    = 0;
    uint64_t value = 0;
    uint8_t  size  = 0;  // 0: cut there
};

struct file {
    uint32_t            version   = 3;
    uint64_t            alignment = 32;
    std::vector<key>    keys;
    std::vector<tensor> tensors;
    bool                counted = false;  // the counts below stand in the header
    uint64_t            n_tensors = 0, n_keys = 0;
    std::vector<patch>  patches;

    std::string bytes() const;
};

enum class tower { none, given, beside, same_file };

struct model {
    file    decoder;
    file    mmproj;  // empty with tower::none and tower::same_file
    tower   place   = tower::none;
    bool    changed = false;  // a good model otherwise: it must load and embed
};

// The head of an input, fixed so that the mutator can leave it alone; changes follow.
struct head {
    uint8_t decoder_shape = 0, decoder_types = 0, tower_shape = 0, tower_place = 0;
    uint8_t load_flags = 0, embed_flags = 0, picture_width = 0, picture_height = 0;
};

#pragma pack(push, 1)
struct change {
    uint8_t  code   = 0;
    uint8_t  target = 0;  // bit 0: the tower's file; the rest: which string or which dimension
    uint16_t index  = 0;
    uint64_t value  = 0;
};

#pragma pack(pop)

inline constexpr size_t  head_bytes    = sizeof(head);
inline constexpr size_t  change_bytes  = sizeof(change);
inline constexpr size_t  changes_max   = 24;
inline constexpr uint8_t n_codes       = 24;
static_assert(head_bytes == 8 && change_bytes == 12, "the layout of an input");

model make_model(const head & head, fuzz::byte_source changes);

}  // namespace recipe
