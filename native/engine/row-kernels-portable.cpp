// row-kernels-portable: norms, rotary positions and activations in plain C++.
//
//   rows -> row-kernels-loops.h over these lanes -> rows
#include "lanes-portable.h"
#include "row-kernels-loops.h"

namespace gme {

const row_kernels * row_kernels_portable() {
    return &compiled;
}

const row_kernels * find_row_kernels(cpu_level level) {
    return level == cpu_level::avx512 ? row_kernels_avx512() : level == cpu_level::avx2 ? row_kernels_avx2() : row_kernels_portable();
}

}  // namespace gme
