// pooling: the final norm's row of `<|endoftext|>` -> the unit vector.
//
//   hidden [n_embd] -> divided by |hidden| -> embedding [n_embd]
//
// No projection and no head: GME's vector is the decoder's own state. The reference divides by 1e-12 at least, which makes of a state
// of zeros a vector of zeros: it has no direction and no place in an index, so it is refused.

#include "pooling.h"

#include <cmath>

namespace gme {

bool pool_last_token(const float * hidden, int32_t n, float * embedding) {
    double sum = 0;
    for (int32_t i = 0; i < n; i++) {
        sum += static_cast<double>(hidden[i]) * static_cast<double>(hidden[i]);
    }
    const double length = std::sqrt(sum);
    if (!std::isfinite(length) || length < 1e-12) {
        return false;
    }
    for (int32_t i = 0; i < n; i++) {
        embedding[i] = static_cast<float>(static_cast<double>(hidden[i]) / length);
    }
    return true;
}

}  // namespace gme
