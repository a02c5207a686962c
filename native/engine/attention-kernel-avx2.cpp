// attention-kernel-avx2: one task of the attention kernel in AVX2 with FMA: panels of 24 rows.
//
//   block (queries of some heads, their keys) -> attention-kernel-tiles.h over these lanes -> outputs
#include "attention-kernel-block.h"
#include "lanes-avx2.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include "attention-kernel-tiles.h"

#endif

namespace gme {

void attend_block_avx2(const attention_block & block) {
#if defined(__x86_64__) && defined(__GNUC__)
    attend_block(block);
#else
    attend_block_portable(block);
#endif
}

}  // namespace gme
