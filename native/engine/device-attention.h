// Which keys the rows of a chunk see, as masks that stay on the device from layer to layer.
#pragma once

#include <memory>
#include <vector>

#include "attention-kernel.h"
#include "backend.h"

namespace gme {

// Segments whose queries stand side by side, with all the keys that one of them sees, in pieces.
struct attention_group {
    std::vector<attention_segment> segments;
    row_range                      queries;
    std::vector<row_range>         keys;
    bool                           masked = false;

    int64_t n_queries() const { return queries.end - queries.begin; }
    int64_t n_keys() const;
};

// Groups small enough that little of a mask is in vain, large enough that short texts share one. Segments come in the order of their queries.
std::vector<attention_group> group_segments(const std::vector<attention_segment> & segments);

// [n_queries, n_keys]: 0 where a query sees the key, else minus infinity.
std::vector<ggml_fp16_t> make_mask(const attention_group & group);

// Groups of each chunk of a pass with their masks: made for its first layer, used by all.
class attention_masks {
  public:
    struct masked_group {
        attention_group          group;
        ggml_tensor *            mask = nullptr;  // [n_keys, n_queries] on the device; nullptr: all is seen, or too large to be kept
    };
    const std::vector<masked_group> & find(const backend & where, const std::vector<attention_segment> & segments);

  private:
    struct chunk {
        std::vector<attention_segment> segments;
        std::vector<masked_group>      groups;
        std::unique_ptr<state_memory>  memory;
    };

    std::vector<chunk> chunks_;
    int64_t            n_kept_ = 0;  // numbers of all masks
};

}  // namespace gme
