// Pooling: the last token's final hidden state becomes the embedding.
#pragma once

#include <cstdint>

namespace gme {

// hidden [n] f32 -> embedding [n] f32 of unit length (L2). Returns false when a number is not finite or the length is below 1e-12.
bool pool_last_token(const float * hidden, int32_t n, float * embedding);

}  // namespace gme
