// pixel_values against the reference's image processor, bit for bit.
#include "../../native/engine/error.h"
#include "../../native/engine/image-patches.h"
#include "checks.h"
#include "seeded-picture.h"

using namespace gme;
using checks::check;

namespace {

void test_pixel_values(const std::string & fixtures) {
    const auto rows = seeded::cases(fixtures, "pixels");
    check(rows.size() == 10, "resize-cases.tsv holds the pixel_values cases");
    for (const auto & row : rows) {
        const image_size size { std::stoi(row[0]), std::stoi(row[1]) };
        const int n_frames = std::stoi(row[3]);
        const std::vector<uint8_t> rgb = seeded::noise(size.width, size.height, std::stoull(row[2]));
        std::vector<float> values(static_cast<size_t>(size.width / 14) * (size.height / 14) * 588 * n_frames);
        image_patches(rgb.data(), size, image_normalisation(), n_frames, values.data());
        check(seeded::hash(values.data(), values.size() * sizeof(float)) == row[4],
              row[0] + "x" + row[1] + " gives the reference's pixel_values with " + row[3] + " frame(s)");
    }
}

void test_bad_size() {
    std::vector<uint8_t> rgb(42 * 28 * 3);
    std::vector<float> values(6 * 588);
    std::string code;
    try {
        image_patches(rgb.data(), { 42, 28 }, image_normalisation(), 1, values.data());
    } catch (const error & e) {
        code = e.code;
    }
    check(code == "GME_IMAGE_DIMENSIONS", "a side that is no multiple of 28 is refused: GME_IMAGE_DIMENSIONS");
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string fixtures = argc > 1 ? argv[1] : "test/fixtures";
    test_pixel_values(fixtures);
    test_bad_size();
    return checks::result();
}
