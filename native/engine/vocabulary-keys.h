// The vocabulary's keys of a GGUF file. They are named in vocabulary-keys.cpp only.
#pragma once

#include "gguf-file.h"
#include "token-table.h"

namespace gme {

// n_rows: of token_embd.weight. Errors: GME_MODEL_UNSUPPORTED, GME_GGUF_MISSING_KEY, GME_GGUF_WRONG_TYPE, GME_TOKENIZER_BAD.
vocabulary read_vocabulary(const gguf_file & file, int32_t n_rows);

}  // namespace gme
