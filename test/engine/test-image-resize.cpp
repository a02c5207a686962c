// Sizes against 3,000 sizes of the reference, resized pixels against Pillow, every instruction set against the portable one.
#include "../../native/engine/error.h"
#include "../../native/engine/image-resize-kernels.h"
#include "../../native/engine/image-resize.h"
#include "checks.h"
#include "seeded-picture.h"

#include <functional>

using namespace gme;
using checks::check;

namespace {

std::string text_of(image_size size) { return std::to_string(size.width) + "x" + std::to_string(size.height); }

const char * name_of(resize_path path) {
    return path == resize_path::avx512 ? "avx512" : path == resize_path::avx2 ? "avx2" : "portable";
}

std::vector<resize_path> available_paths() {
    std::vector<resize_path> paths;
    for (const resize_path path : { resize_path::portable, resize_path::avx2, resize_path::avx512 }) {
        if (resize_path_available(path)) {
            paths.push_back(path);
        }
    }
    return paths;
}

std::string code_of(const std::function<void()> & call) {
    try {
        call();
    } catch (const error & e) {
        return e.code + " " + e.field;
    }
    return "";
}

// sizes.json is a list of {"size", "loader", "processor_min256", "processor_min4"}: four pairs "[w, h]" per record, in this order.
void test_sizes(const std::string & fixtures) {
    std::ifstream file(fixtures + "/more/sizes.json");
    const std::string json((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::vector<image_size> pairs;
    for (size_t at = json.find('['); at != std::string::npos; at = json.find('[', at + 1)) {
        image_size size;
        if (std::sscanf(json.c_str() + at, "[%d, %d]", &size.width, &size.height) == 2) {
            pairs.push_back(size);
        }
    }
    check(pairs.size() == 3000 * 4, "sizes.json holds 3,000 sizes");
    int n_equal = 0;
    std::string first_wrong;
    for (size_t i = 0; i + 3 < pairs.size(); i += 4) {
        image_limits limits;
        const image_plan plan = plan_image(pairs[i], limits);
        limits.tokens_min = 4;
        const image_plan small = plan_image(pairs[i], limits);
        const bool equal = plan.loader == pairs[i + 1] && plan.processor == pairs[i + 2] && small.processor == pairs[i + 3] &&
            plan.n_image_tokens == plan.processor.width * plan.processor.height / 784 && plan.grid_w == plan.processor.width / 14;
        n_equal += equal;
        if (!equal && first_wrong.empty()) {
            first_wrong = ", first wrong: " + text_of(pairs[i]);
        }
    }
    check(n_equal == 3000, std::to_string(n_equal) + " of 3000 sizes equal the reference for 256 and for 4 minimum tokens" + first_wrong);
}

void test_single_sizes(const std::string & fixtures) {
    const auto rows = seeded::cases(fixtures, "size");
    int n_equal = 0;
    for (const auto & row : rows) {
        const image_size source { std::stoi(row[0]), std::stoi(row[1]) };
        const image_limits limits { std::stoi(row[2]), std::stoi(row[3]), false };
        const image_size wanted { std::stoi(row[4]), std::stoi(row[5]) };
        image_size found;
        const std::string code = code_of([&] {
            const image_plan plan = plan_image(source, limits);
            found = plan.loader == source ? plan.processor : image_size { -1, -1 };
        });
        const bool equal = found == wanted && (wanted.width != 0 || code == "GME_IMAGE_DIMENSIONS image.size");
        n_equal += equal;
        if (!equal) {
            std::printf("# %s: %s, wanted %s\n", text_of(source).c_str(), text_of(found).c_str(), text_of(wanted).c_str());
        }
    }
    check(rows.size() == 400 && n_equal == 400, std::to_string(n_equal) + " of 400 sizes without the loader step equal the reference");
}

void test_bad_sizes() {
    const auto planned = [](image_size size, image_limits limits) { return code_of([=] { plan_image(size, limits); }); };
    check(planned({ 0, 5 }, {}) == "GME_IMAGE_DIMENSIONS image.width", "a width of 0 is refused: GME_IMAGE_DIMENSIONS");
    check(planned({ 5, -1 }, {}) == "GME_IMAGE_DIMENSIONS image.height", "a negative height is refused: GME_IMAGE_DIMENSIONS");
    check(planned({ INT32_MAX, 1 }, {}) == "GME_IMAGE_DIMENSIONS image.size", "a line of 2^31-1 pixels is refused: GME_IMAGE_DIMENSIONS");
    check(planned({ 9, 9 }, { 0, 1280, true }) == "GME_OPTION_INVALID minImageTokens", "0 minimum tokens are refused: GME_OPTION_INVALID");
    check(planned({ 9, 9 }, { 300, 200, true }) == "GME_OPTION_INVALID minImageTokens", "minimum over maximum: GME_OPTION_INVALID");
    check(planned({ 9, 9 }, { 1, 16385, true }) == "GME_OPTION_INVALID maxImageTokens", "too many tokens are refused: GME_OPTION_INVALID");
    check(loader_size({ 32768, 32768 }) == image_size { 3584, 3584 }, "the largest sides do not overflow");
    check(loader_size({ 630, 840 }) == image_size { 616, 840 }, "a tie rounds to the even multiple of 28");
}

void test_pixels(const std::string & fixtures) {
    const auto rows = seeded::cases(fixtures, "resize");
    check(rows.size() >= 40, "resize-cases.tsv holds the resize cases");
    for (const auto & row : rows) {
        const image_size from { std::stoi(row[0]), std::stoi(row[1]) };
        const image_size to { std::stoi(row[2]), std::stoi(row[3]) };
        // Exactly as many bytes as the picture has, so that an address checker sees a read past them.
        const std::vector<uint8_t> rgb = seeded::noise(from.width, from.height, std::stoull(row[4]));
        for (const resize_path path : available_paths()) {
            const std::vector<uint8_t> out = resize_bicubic(rgb.data(), from, to, path);
            const size_t n_bytes = static_cast<size_t>(to.width) * to.height * 3;
            const bool equal = out.size() == n_bytes && seeded::hash(out.data(), out.size()) == row[5];
            check(equal, text_of(from) + " to " + text_of(to) + " equals Pillow byte for byte (" + name_of(path) + ")");
        }
    }
}

// Random sizes: no expected pixels, but the same on every path.
void test_paths() {
    uint64_t state = 88172645463325252ull;
    const auto draw = [&](int32_t most) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return static_cast<int32_t>(1 + state % most);
    };
    int n_equal = 0;
    int n = 0;
    for (int i = 0; i < 300; i++) {
        const image_size from { draw(i % 2 ? 40 : 200), draw(i % 3 ? 40 : 200) };
        const image_size to { draw(i % 5 ? 90 : 260), draw(60) };
        const std::vector<uint8_t> rgb = seeded::noise(from.width, from.height, i + 1);
        const std::vector<uint8_t> wanted = resize_bicubic(rgb.data(), from, to, resize_path::portable);
        for (const resize_path path : available_paths()) {
            n++;
            n_equal += resize_bicubic(rgb.data(), from, to, path) == wanted;
        }
    }
    check(n == n_equal, std::to_string(n_equal) + " of " + std::to_string(n) + " random resizes equal the portable path");
    for (const resize_path path : available_paths()) {
        std::printf("# path tested: %s\n", name_of(path));
    }
    check(resize_path_available(resize_path_best()), "the chosen path is one that this machine has");
}

// Both steps at once against the two steps one after the other.
void test_both_steps() {
    const image_size sources[] = { { 1, 1 }, { 800, 600 }, { 1654, 2339 }, { 2000, 30 }, { 30, 2000 }, { 224, 224 }, { 1080, 2400 } };
    for (const image_size source : sources) {
        const image_plan plan = plan_image(source, image_limits());
        const std::vector<uint8_t> rgb = seeded::noise(source.width, source.height, 6);
        for (const resize_path path : available_paths()) {
            const std::vector<uint8_t> loaded = resize_bicubic(rgb.data(), plan.source, plan.loader, path);
            const bool equal = resize_image(rgb.data(), plan, path) == resize_bicubic(loaded.data(), plan.loader, plan.processor, path);
            check(equal, "both steps of " + text_of(source) + " at once equal one after the other (" + name_of(path) + ")");
        }
    }
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string fixtures = argc > 1 ? argv[1] : "test/fixtures";
    test_sizes(fixtures);
    test_single_sizes(fixtures);
    test_bad_sizes();
    test_pixels(fixtures);
    test_paths();
    test_both_steps();
    return checks::result();
}
