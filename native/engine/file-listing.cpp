// file-listing: path -> checked header -> JSON for `gme inspect model`.
//
// Keys and tensors come out in the file's order; nothing of the weights is read.

#include "file-listing.h"

#include <map>

#include "gguf-file.h"
#include "json-writer.h"
#include "tensor-types.h"

namespace gme {

static std::string shape_json(const gguf_tensor & tensor) {
    std::string text = "[";
    for (int i = tensor.n_dims - 1; i >= 0; i--) {
        text += std::to_string(tensor.ne[i]) + (i > 0 ? "," : "");
    }
    return text + "]";
}

std::string list_file(const std::string & path) {
    const gguf_file file(path);
    json_object     keys;
    for (const auto & [key, value] : file.keys()) {
        keys.add_json(key, file.value_json(value));
    }
    struct share {
        int64_t tensors = 0, bytes = 0;
    };
    std::map<std::string, share> shares;
    std::string                  tensors = "[";
    int64_t                      n       = 0;
    for (const auto & tensor : file.tensors()) {
        const char * type = find_tensor_type(tensor.type)->name;
        shares[type].tensors++;
        shares[type].bytes += static_cast<int64_t>(tensor.size);
        n += tensor.ne[0] * tensor.ne[1] * tensor.ne[2] * tensor.ne[3];
        tensors += tensors.size() == 1 ? "" : ",";
        tensors += json_object().add("name", tensor.name).add_json("shape", shape_json(tensor)).add("type", type)
                       .add("bytes", static_cast<int64_t>(tensor.size)).add("offset", static_cast<int64_t>(tensor.offset)).text();
    }
    json_object types;
    for (const auto & [name, part] : shares) {
        types.add_json(name, json_object().add("tensors", part.tensors).add("bytes", part.bytes).text());
    }
    return json_object().add("file", path).add("size", static_cast<int64_t>(file.file().size())).add("version", 3)
        .add("alignment", static_cast<int64_t>(file.alignment())).add("parameters", n).add_json("types", types.text())
        .add_json("keys", keys.text()).add_json("tensors", tensors + "]").text();
}

}  // namespace gme
