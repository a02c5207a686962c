// One change of a model's tree; see model-recipe.h.
#pragma once

#include "model-recipe.h"

namespace recipe {

void apply(const change & change, model & made);

}  // namespace recipe
