// attention-kernel-portable: one task of the attention kernel in plain C++: panels of 8 rows.
//
//   block (queries of some heads, their keys) -> attention-kernel-tiles.h over these lanes -> outputs
#include "attention-kernel-block.h"
#include "lanes-portable.h"

#include "attention-kernel-tiles.h"

namespace gme {

void attend_block_portable(const attention_block & block) {
    attend_block(block);
}

}  // namespace gme
