// The inner loops of our matrix product, once per instruction set; matrix-product.cpp calls them through this table.
//
// A weight matrix [n_in, n_out] is cut into panels of 32 output rows, the tokens into tiles of 12:
//
//   panel of weights  [n_in, 32]  made on the fly from the file's layout, a few hundred columns at a time
//   tile of tokens    [n_in, 12]  made once per product (token-tiles.h)
//   sums              [12, 32]    f32, row stride 32
//
// A panel is used for every tile of a chunk of tokens, so that making it costs little; nothing of it is kept.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu-level.h"

namespace gme {

constexpr int64_t panel_rows  = 32;
constexpr int64_t tile_tokens = 12;
constexpr int64_t stretch_columns = 256;  // sums of so many products are added up at once: shorter chains of additions round less
constexpr int64_t byte_block  = 32;  // numbers that share a scale, in q8_0, in q4_0 and in the tokens beside them

// Room for 12 tokens of a block of columns in a tile: 32 numbers of one or two bytes, a scale and, beside bytes, an offset. How a tile
// and a panel of blocks are laid out inside is each kernel set's own affair.
constexpr int64_t byte_tile_block = tile_tokens * (byte_block + 2 * static_cast<int64_t>(sizeof(float)));
constexpr int64_t word_tile_block = tile_tokens * (2 * byte_block + static_cast<int64_t>(sizeof(float)));
constexpr int64_t panel_block     = panel_rows * (2 * byte_block + 2 * static_cast<int64_t>(sizeof(float)));  // at most, of a panel

// Up to 12 rows on their way into a tile: number k becomes (row[k] * factor + shift) * weight[k] + bias[k].
struct tile_rows {
    const float * rows[tile_tokens];  // those beyond the last one repeat it
    float         factors[tile_tokens];
    float         shifts[tile_tokens];
    const float * weight;  // NULL: rows go in as they are
    const float * bias;    // NULL: none
};

// Products of whole numbers: quantised weights as they are times tokens rounded per block of 32 columns; n_in is a multiple of 32.
// A block of tokens that holds a NaN or an infinity makes the sums it goes into NaN.
struct block_kernels {
    void (*tile)(const tile_rows & from, int64_t n_in, char * tile);  // [n_in/32] blocks of tokens
    void (*multiply)(const char * panel, const char * tile, int64_t n_in, int n_tokens, float * sums);  // sums [n_tokens, 32] += tile · panel
    void (*panel_from_q8_0)(const void * const * rows, int64_t n_in, char * panel);  // NULL: not for this type; panel is aligned to 64
    void (*panel_from_q4_0)(const void * const * rows, int64_t n_in, char * panel);
};

struct matrix_kernels {
    const block_kernels * bytes;  // tokens of 8 bits; NULL: none
    const block_kernels * words;  // tokens of 16 bits; NULL: none

    // tile [n_in, 12]; n_in is a multiple of 16.
    void (*tile_f32)(const tile_rows & from, int64_t n_in, float * tile);

    // sums [n_tokens, 32] += tile · panel over n_in columns.
    void (*multiply_f32)(const float * panel, const float * tile, int64_t n_in, int n_tokens, float * sums);

    // Panels from the file's rows: `rows` are the addresses of the first wanted column of 32 rows; n_in is a multiple of 16, of 32 for blocks.
    void (*panel_from_f32)(const void * const * rows, int64_t n_in, float * panel);
    void (*panel_from_f16)(const void * const * rows, int64_t n_in, float * panel);
    void (*panel_from_bf16)(const void * const * rows, int64_t n_in, float * panel);
    void (*panel_from_q8_0)(const void * const * rows, int64_t n_in, float * panel);
    void (*panel_from_q4_0)(const void * const * rows, int64_t n_in, float * panel);

    // Up to so many tokens of float weights, products along the rows are faster than panels. At most 96.
    int64_t row_tokens;
    // Few tokens: dot products along the file's own rows, nothing is rearranged. sums [n_tokens, n_rows] with stride 32;
    // n_rows ≤ 32; tokens are rows of n_in floats, token_stride apart. n_in is a multiple of 16.
    void (*dot_f16)(const void * const * rows, int n_rows, const float * tokens, int64_t token_stride, int64_t n_in, int n_tokens, float * sums);
    void (*dot_bf16)(const void * const * rows, int n_rows, const float * tokens, int64_t token_stride, int64_t n_in, int n_tokens, float * sums);
    void (*dot_f32)(const void * const * rows, int n_rows, const float * tokens, int64_t token_stride, int64_t n_in, int n_tokens, float * sums);
};

// NULL where there is nothing faster than ggml's own product: other compilers, other processors.
const matrix_kernels * find_matrix_kernels(const cpu_features & cpu);

const matrix_kernels * matrix_kernels_avx2();
const matrix_kernels * matrix_kernels_avx512(bool has_vnni);

}  // namespace gme
