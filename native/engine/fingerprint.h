// A short identity of a model file: the same bytes give the same text, other weights or keys another one.
#pragma once

#include <string>

#include "gguf-file.h"

namespace gme {

// 32 hexadecimal digits over the header and over samples of every tensor's bytes (a full hash of gigabytes would make
// loading slow; `gme pull` checks whole files). `vision` may be nullptr or the same file.
std::string model_fingerprint(const gguf_file & decoder, const gguf_file * vision);

}  // namespace gme
