// The row kernels in AVX2.
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
