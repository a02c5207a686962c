// One task of the attention kernel, as its driver hands it to the code of one instruction set.
#pragma once

#include "attention-kernel.h"

namespace gme {

// A row is one query of one head. The heads that share keys follow each other: row r of a segment is query r / group, head r % group.
struct attention_block {
    const attention_shape &   shape;
    const attention_segment & segment;
    const attention_tensors & tensors;
    int64_t                   head_kv = 0;
    row_range                 rows;               // at most attention_rows_max of them
    float *                   scratch = nullptr;  // aligned to 64 bytes

    int64_t group() const { return shape.n_head / shape.n_head_kv; }
};

constexpr int64_t attention_rows_max = 192;  // queries and outputs of a task stay in the second cache
constexpr int64_t attention_keys     = 96;   // keys per step: so many scores of a panel of queries stay in the first cache
constexpr int64_t attention_strip    = 8;    // rows of keys, or columns of values, that lie side by side
constexpr int64_t attention_panel    = 48;   // most queries of a panel

// Floats: transposed queries, outputs, packed keys, packed values, scores, and five numbers per row.
constexpr int64_t attention_block_floats(int64_t n_embd_head) {
    return 2 * n_embd_head * attention_rows_max + attention_keys * n_embd_head + attention_keys * (n_embd_head + 4) +
           attention_keys * attention_panel + 5 * attention_rows_max;
}

void attend_block_portable(const attention_block & block);
void attend_block_avx2(const attention_block & block);
void attend_block_avx512(const attention_block & block);

}  // namespace gme
