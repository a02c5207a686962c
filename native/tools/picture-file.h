// Pictures as binary PPM.
#pragma once

#include <string>
#include <vector>

#include "gme.h"

namespace tool {

// The pixels; width and height go to `image`. Ends the process when the file is something else.
std::vector<uint8_t> read_ppm(const std::string & path, gme_image & image);

}  // namespace tool
