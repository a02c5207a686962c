// A copy of the tiny decoder in which one weight of layer 1 is not a number; gone with the object.
#pragma once

#include "gguf-file.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include <unistd.h>

namespace engine {

struct not_finite_model {
    const std::string path = (std::filesystem::temp_directory_path() / ("gme-test-nan-" + std::to_string(getpid()) + ".gguf")).string();

    explicit not_finite_model(const std::string & fixtures) {
        const std::string source = fixtures + "/gguf/tiny-a-f32.gguf";
        std::filesystem::copy_file(source, path, std::filesystem::copy_options::overwrite_existing);
        const auto   at = gme::gguf_file(source).find_tensor("blk.1.ffn_norm.weight")->offset;
        std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
        const float  bad = NAN;
        file.seekp(static_cast<std::streamoff>(at));
        file.write(reinterpret_cast<const char *>(&bad), sizeof bad);
    }
    ~not_finite_model() { std::filesystem::remove(path); }
    not_finite_model(const not_finite_model &) = delete;
};

}  // namespace engine
