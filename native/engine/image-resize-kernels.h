// The inner loops of the bicubic resize: one separable pass over rows of RGB8, in three instruction sets with equal results.
//
// in:   rows of interleaved RGB bytes and, per output position, the source positions it reads with fixed-point weights (2^22 = 1)
// path: sum of byte * weight in 32 bits, from 2^21 -> shift right by 22 -> clip to 0..255
// out:  rows of interleaved RGB bytes
// The 23-bit weights do not fit the byte and 16-bit multipliers: they are split into digits whose sums are put together exactly.
#pragma once

#include "image-resize.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gme {

constexpr int resize_weight_bits = 22;
constexpr int resize_block_rows  = 4;   // rows that one horizontal call works on
constexpr int resize_row_slack   = 64;  // bytes past a source row that the horizontal pass may read (and ignores)

// One axis: output position i reads source positions first[i] .. first[i] + count[i] - 1.
struct resize_taps {
    int32_t              n_out     = 0;
    int32_t              count_max = 0;
    std::vector<int32_t> first;    // [n_out]
    std::vector<int32_t> count;    // [n_out]
    std::vector<int32_t> weights;  // [n_out, count_max], zero after count

    const int32_t * weights_of(int32_t i) const { return weights.data() + static_cast<size_t>(i) * count_max; }
};

// The horizontal weights in the order the chosen instruction set reads them.
struct horizontal_table {
    resize_path           path = resize_path::portable;  // portable or avx2 when the wished-for one does not fit the scale
    resize_taps           taps;
    std::vector<int32_t>  chunk_begin;   // [n_units + 1] a unit is a pixel (avx2) or 16 output bytes (avx512)
    std::vector<int32_t>  chunk_offset;  // [n_chunks] first byte the chunk reads, from the start of the row
    std::vector<uint8_t>  storage;
    const uint8_t *       packed = nullptr;  // inside storage, 64-byte aligned
};

horizontal_table make_horizontal_table(resize_taps taps, resize_path path);

// source, out: four rows each (repeat the last one when there are fewer). source rows: resize_row_slack readable bytes behind them.
// out rows: n_out * 3 bytes.
void resize_rows_horizontal(const horizontal_table & table, const uint8_t * const * source, uint8_t * const * out);

// rows: n_taps source rows of n_bytes. scratch is kept by the caller between calls to save allocations.
void resize_row_vertical(resize_path path, const uint8_t * const * rows, const int32_t * weights, int32_t n_taps, size_t n_bytes,
                         uint8_t * out, std::vector<uint32_t> & scratch);

}  // namespace gme
