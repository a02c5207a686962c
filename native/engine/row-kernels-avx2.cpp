// row-kernels-avx2: norms, rotary positions and activations in AVX2.
//
//   rows -> row-kernels-loops.h over these lanes -> rows
#include "lanes-avx2.h"
#include "row-kernels.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include "row-kernels-loops.h"

namespace gme {

const row_kernels * row_kernels_avx2() {
    return &compiled;
}

}  // namespace gme

#else

namespace gme {

const row_kernels * row_kernels_avx2() {
    return row_kernels_portable();
}

}  // namespace gme

#endif
