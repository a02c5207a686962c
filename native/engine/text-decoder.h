// The decoder: token ids and image tokens of one or several sequences -> the final hidden state of each last token.
#pragma once

#include <vector>

#include "backend.h"
#include "decoder-pass.h"
#include "model-weights.h"
#include "stage-taps.h"

namespace gme {

// The tap of the rows that the first layer begins with; no stage of the reference, it only tells where numbers went wrong.
constexpr const char * embed_stage = "decoder.embed";

// Runs sequences side by side in one pass; each sees only itself. Returns the normed hidden state of each last token,
// [n_sequences, n_embd] f32. Openings that the pass wants are filled. With a tap (and a pass that shares nothing) every row goes
// through every layer; taps then show the rows of all sequences. Errors: GME_ABORTED, GME_OUT_OF_MEMORY.
std::vector<float> run_text_decoder(backend & backend, const decoder_config & config, const decoder_weights & weights, bool mrope,
                                    const std::vector<decoder_sequence> & sequences, const decoder_pass & pass, const stage_tap & tap);

}  // namespace gme
