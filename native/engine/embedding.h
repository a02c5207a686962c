// From items to embeddings: the stages in order, several items to a pass.
#pragma once

#include "gme.h"
#include "image-resize.h"
#include "model.h"
#include "prompt.h"

namespace gme {

// Sizes of the item's picture on this model. Errors: GME_MODEL_NO_VISION, GME_IMAGE_DIMENSIONS.
image_plan plan_item_image(const gme_model & model, const gme_image & image);
// At most tokens_max ids; what happens beyond is the params' overflow.
prompt     make_item_prompt(const gme_model & model, const gme_item & item, int32_t n_image_tokens, int32_t tokens_max, const gme_embed_params & params);

// embeddings [n_items, dimensions]. Errors carry the item's index.
void embed_items(gme_model & model, const gme_item * items, int32_t n_items, const gme_embed_params & params, float * embeddings);

}  // namespace gme
