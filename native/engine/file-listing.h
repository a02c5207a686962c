// What a GGUF file holds, as JSON, without loading it as a model.
#pragma once

#include <string>

namespace gme {

// {"file","size","version","alignment","parameters","types":{type:{"tensors","bytes"}},"keys":{…},"tensors":[{"name","shape","type","bytes","offset"}]}
// `shape` is written the usual way round, rows first. Long arrays are shown by type and length. Errors as gguf_file's.
std::string list_file(const std::string & path);

}  // namespace gme
