// Several sequences as one pass of the decoder: what they begin with in common is computed once.
//
//   "… user\n a red car <end>"      opening (known from an earlier call: only its keys and values are needed)
//   "… user\n a red bus <end>"   ->   └ " a red"  ┬ " car <end>"
//   "… user\n dogs <end>"             └ " dogs <end>"   └ " bus <end>"
//
// A tree of segments. Attention is causal, so a token's state depends on the tokens before it only, and sequences that agree up to
// a token agree in that token's keys and values. Every sequence ends in a segment of its own, whose last row is its result.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "positions.h"

namespace gme {

// One sequence. Image rows replace the embeddings of tokens [image.begin, image.begin + image.n).
struct decoder_sequence {
    std::vector<int32_t> ids;
    int32_t              n_opening = 0;  // leading ids that stand for the instruction; worth keeping
    image_span           image;
    std::vector<float>   image_tokens;  // [image.n, n_embd] f32; empty without a picture
};

// Keys and values of an instruction's opening in every layer.
struct opening_state {
    std::vector<int32_t> ids;
    std::vector<float>   keys_values;  // [n_layer, ids.size(), 2*n_embd_head*n_head_kv]
};

// Openings of the last few instructions. What a call reads stays alive as long as the call holds it.
class opening_cache {
  public:
    std::shared_ptr<const opening_state> find(const int32_t * ids, size_t n);
    void                                 keep(std::shared_ptr<const opening_state> state);
    size_t                               bytes() const;  // of the keys and values

    static constexpr size_t tokens_max = 512;  // a longer opening is computed each time

  private:
    static constexpr size_t                           n_max = 8;
    std::vector<std::shared_ptr<const opening_state>> states_;  // the last used first
};

struct decoder_segment {
    int32_t                              parent   = -1;
    int32_t                              sequence = 0;  // one of those whose tokens [first, first+n) these are
    int32_t                              first    = 0;
    int32_t                              n        = 0;
    std::shared_ptr<const opening_state> known;   // already computed
    std::shared_ptr<opening_state>       wanted;  // to be filled for later calls
};

struct decoder_pass {
    std::vector<decoder_segment> segments;  // parents before children
    std::vector<int32_t>         ends;      // [n_sequences] the segment that a sequence ends in
};

// What the sequences begin with in common becomes a segment; openings in the cache are known.
decoder_pass plan_decoder_pass(const std::vector<decoder_sequence> & sequences, opening_cache & cache);
// Every sequence is one segment.
decoder_pass plan_separate_pass(const std::vector<decoder_sequence> & sequences);
// A sequence that is an opening and nothing else. It runs alone, so that a text's vector is the same bits whether its instruction was
// met before or not.
decoder_pass plan_opening_pass(const decoder_sequence & opening);

}  // namespace gme
