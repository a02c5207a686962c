// Rotary tables: plain and grid positions of the decoder, rows and columns of the tower, and the sign of the sines.
#include "checks.h"
#include "positions.h"

#include <cmath>

using checks::check;

namespace {

// The position that a row's angle k stands for, from its cosine and sine at the lowest frequency is ambiguous; with
// theta 1 every frequency is 1, so the angle is the position itself.
float angle_at(const gme::rotary_table & table, int row, int k) {
    const size_t at = static_cast<size_t>(row * table.n_columns + k) + static_cast<size_t>(table.n_columns / 2);
    return std::atan2(table.sin[at], table.cos[at]);
}

float wrapped(float angle) { return std::atan2(std::sin(angle), std::cos(angle)); }

bool row_is(const gme::rotary_table & table, int row, float t, float h, float w) {
    return std::fabs(angle_at(table, row, 0) - wrapped(t)) < 1e-6f && std::fabs(angle_at(table, row, 1) - wrapped(h)) < 1e-6f &&
           std::fabs(angle_at(table, row, 2) - wrapped(w)) < 1e-6f;
}

}  // namespace

int main() {
    gme::decoder_config config;
    config.n_embd_head      = 6;
    config.rope_theta       = 1.0f;
    config.rope_sections[0] = config.rope_sections[1] = config.rope_sections[2] = 1;
    const gme::image_span image = { 3, 6, 2, 3 };  // tokens 3…8 on 2 rows of 3

    gme::rotary_table plain;
    gme::append_decoder_positions(config, false, 0, 12, image, plain);
    bool same = true;
    for (int i = 0; i < 12; i++) {
        const auto p = static_cast<float>(i);
        same         = same && row_is(plain, i, p, p, p);
    }
    check(same, "sequential positions count all tokens, image tokens included");

    gme::rotary_table grid;
    gme::append_decoder_positions(config, true, 0, 12, image, grid);
    check(row_is(grid, 2, 2, 2, 2), "mrope: text before the picture counts on");
    check(row_is(grid, 3, 3, 3, 3) && row_is(grid, 5, 3, 3, 5) && row_is(grid, 6, 3, 4, 3) && row_is(grid, 8, 3, 4, 5), "mrope: image tokens share t and spread over rows and columns");
    check(row_is(grid, 9, 6, 6, 6) && row_is(grid, 11, 8, 8, 8), "mrope: text goes on after the longer side of the grid");
    check(grid.sin[1] == -grid.sin[4] && grid.cos[1] == grid.cos[4], "the first half of the sines is negated");

    gme::append_decoder_positions(config, false, 0, 2, {}, grid);
    check(grid.n_rows == 14 && row_is(grid, 12, 0, 0, 0) && row_is(grid, 13, 1, 1, 1), "each sequence of a pass begins at 0");

    gme::vision_config tower;
    tower.n_embd_head = 8;
    gme::rotary_table at;
    gme::append_vision_positions(tower, 4, 4, at);
    // 2×2 blocks: patch 5 is (row 0, column 3), patch 10 is (row 3, column 0)
    check(std::fabs(angle_at(at, 5, 0)) < 1e-6f && std::fabs(angle_at(at, 5, 2) - 3.0f) < 1e-6f, "a patch's row and column follow the 2×2-block order");
    check(std::fabs(angle_at(at, 10, 0) - 3.0f) < 1e-6f && std::fabs(angle_at(at, 10, 2)) < 1e-6f, "rows take the first half of the angles, columns the second");
    check(std::fabs(angle_at(at, 10, 1) - 3.0f / 100.0f) < 1e-6f, "the second frequency of four angles is 10000^(-1/2)");
    return checks::result();
}
