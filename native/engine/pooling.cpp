// pooling: the final norm's row of `<|endoftext|>` -> the unit vector.
//
//   hidden [n_embd] -> divided by max(|hidden|, 1e-12) -> embedding [n_embd]
//
// No projection and no head: GME's vector is the decoder's own state.

#include "pooling.h"

#include <algorithm>
#include <cmath>

namespace gme {

bool pool_last_token(const float * hidden, int32_t n, float * embedding) {
    double sum = 0;
    for (int32_t i = 0; i < n; i++) {
        sum += static_cast<double>(hidden[i]) * static_cast<double>(hidden[i]);
    }
    if (!std::isfinite(sum)) {
        return false;
    }
    const double length = std::max(std::sqrt(sum), 1e-12);
    for (int32_t i = 0; i < n; i++) {
        embedding[i] = static_cast<float>(static_cast<double>(hidden[i]) / length);
    }
    return true;
}

}  // namespace gme
