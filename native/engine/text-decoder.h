// The decoder: token ids and image tokens of one or several sequences -> the final hidden state of each last token.
#pragma once

#include <vector>

#include "backend.h"
#include "model-weights.h"
#include "positions.h"
#include "stage-taps.h"

namespace gme {

// One sequence of a pass. Image rows replace the embeddings of tokens [image.begin, image.begin + n_image_rows).
struct decoder_sequence {
    std::vector<int32_t> ids;
    image_span           image;
    std::vector<float>   image_tokens;  // [image.n, n_embd] f32; empty without a picture
};

// Runs sequences side by side in one pass; each sees only itself. Returns the normed hidden state of each last token,
// [n_sequences, n_embd] f32. With a tap every row goes through every layer; taps then show the rows of all sequences.
// Errors: GME_ABORTED, GME_OUT_OF_MEMORY.
std::vector<float> run_text_decoder(backend & backend, const decoder_config & config, const decoder_weights & weights, bool mrope,
                                    const std::vector<decoder_sequence> & sequences, const stage_tap & tap);

}  // namespace gme
