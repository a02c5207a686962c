// The numbers behind the lanes' power of two, the same for every instruction set.
#pragma once

#include <cstdint>

namespace gme {

// 2^f for |f| <= 1/2 within 2e-8: 1 + f * (…), so that 2^0 is 1 exactly. What is below 2^-100 counts as 0: nothing beside a weight of 1.
constexpr float exp2_terms[] = { 1.0f, 0x1.62e430p-1f, 0x1.ebfbdcp-3f, 0x1.c6aee8p-5f, 0x1.3b2d4cp-7f, 0x1.5f3e54p-10f, 0x1.41fbbcp-13f };
constexpr float exp2_smallest = -100.0f;

}  // namespace gme
