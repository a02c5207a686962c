// row-kernels-avx512: norms, rotary positions and activations in AVX-512.
//
//   rows -> row-kernels-loops.h over these lanes -> rows
#include "lanes-avx512.h"
#include "row-kernels.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include "row-kernels-loops.h"

namespace gme {

const row_kernels * row_kernels_avx512() {
    return &compiled;
}

}  // namespace gme

#else

namespace gme {

const row_kernels * row_kernels_avx512() {
    return row_kernels_portable();
}

}  // namespace gme

#endif
