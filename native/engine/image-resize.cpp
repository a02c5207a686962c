// Sizes and order of the two resizes.
//
// in:   RGB8 [height, width, 3]
// path: size rules -> weights per axis (double, then fixed point) -> horizontal and vertical pass, streamed row by row -> RGB8
// out:  RGB8 [to.height, to.width, 3]
// Only the rows one output row needs are held between the passes, so a large picture costs its result and no second copy.
#include "image-resize.h"

#include "error.h"
#include "image-resize-kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

namespace gme {

namespace {

constexpr int32_t unit         = 28;  // one image token: 2 x 2 patches of 14 pixels
constexpr int32_t patch        = 14;
constexpr int64_t loader_max   = int64_t(16384) * unit * unit;
constexpr int64_t loader_min   = int64_t(4) * unit * unit;
constexpr int32_t ratio_max    = 200;
constexpr int32_t tokens_limit = 16384;  // what the loader step lets through

// Python's round(side / 28) * 28, which takes the even multiple at a tie; exact in integers.
int64_t nearest_units(int64_t side) {
    const int64_t whole = side / unit;
    const int64_t rest  = side % unit;
    const bool    up    = rest > unit / 2 || (rest == unit / 2 && whole % 2 != 0);
    return (whole + (up ? 1 : 0)) * unit;
}

int64_t floor_units(double side) { return static_cast<int64_t>(std::floor(side / unit)) * unit; }
int64_t ceil_units(double side) { return static_cast<int64_t>(std::ceil(side / unit)) * unit; }

std::string size_text(int64_t width, int64_t height) { return std::to_string(width) + "x" + std::to_string(height); }

image_size checked_size(int64_t width, int64_t height, image_size from) {
    if (width < unit || height < unit || width > INT32_MAX || height > INT32_MAX) {
        throw error("GME_IMAGE_DIMENSIONS", "The picture of " + size_text(from.width, from.height) + " pixels has no size to resize to.")
            .at_field("image.size").found(size_text(from.width, from.height)).wanted("sides up to 32768");
    }
    return { static_cast<int32_t>(width), static_cast<int32_t>(height) };
}

void check_sides(image_size size) {
    const bool width_bad = size.width < 1;
    if (width_bad || size.height < 1) {
        throw error("GME_IMAGE_DIMENSIONS", "A picture needs sides of at least 1 pixel.")
            .at_field(width_bad ? "image.width" : "image.height").found(int64_t(width_bad ? size.width : size.height)).wanted("1 or more");
    }
}

void check_limits(const image_limits & limits) {
    if (limits.tokens_max < 1 || limits.tokens_max > tokens_limit) {
        throw error("GME_OPTION_INVALID", "The largest number of image tokens is out of range.")
            .at_field("maxImageTokens").found(int64_t(limits.tokens_max)).wanted("1.." + std::to_string(tokens_limit));
    }
    if (limits.tokens_min < 1 || limits.tokens_min > limits.tokens_max) {
        throw error("GME_OPTION_INVALID", "The smallest number of image tokens is out of range.")
            .at_field("minImageTokens").found(int64_t(limits.tokens_min)).wanted("1.." + std::to_string(limits.tokens_max));
    }
}

}  // namespace

image_size loader_size(image_size source) {
    check_sides(source);
    const int64_t h = source.height;
    const int64_t w = source.width;
    int64_t to_h = std::max<int64_t>(unit, nearest_units(h));
    int64_t to_w = std::max<int64_t>(unit, nearest_units(w));
    if (to_h * to_w > loader_max) {
        const double shrink = std::sqrt(static_cast<double>(h * w) / static_cast<double>(loader_max));
        to_h = floor_units(static_cast<double>(h) / shrink);
        to_w = floor_units(static_cast<double>(w) / shrink);
    } else if (to_h * to_w < loader_min) {
        const double grow = std::sqrt(static_cast<double>(loader_min) / static_cast<double>(h * w));
        to_h = ceil_units(static_cast<double>(h) * grow);
        to_w = ceil_units(static_cast<double>(w) * grow);
    }
    to_h = std::min(to_h, to_w * ratio_max);
    to_w = std::min(to_w, to_h * ratio_max);
    return checked_size(to_w, to_h, source);
}

image_size processor_size(image_size loader, const image_limits & limits) {
    check_sides(loader);
    check_limits(limits);
    const int64_t h = loader.height;
    const int64_t w = loader.width;
    if (std::max(h, w) > ratio_max * std::min(h, w)) {
        throw error("GME_IMAGE_DIMENSIONS", "The long side of the picture is over 200 times the short one.")
            .at_field("image.size").found(size_text(w, h)).wanted("long side up to 200 times the short side");
    }
    const int64_t pixels_max = int64_t(limits.tokens_max) * unit * unit;
    const int64_t pixels_min = int64_t(limits.tokens_min) * unit * unit;
    int64_t to_h = nearest_units(h);
    int64_t to_w = nearest_units(w);
    if (to_h * to_w > pixels_max) {
        const double shrink = std::sqrt(static_cast<double>(h * w) / static_cast<double>(pixels_max));
        to_h = std::max<int64_t>(unit, floor_units(static_cast<double>(h) / shrink));
        to_w = std::max<int64_t>(unit, floor_units(static_cast<double>(w) / shrink));
    } else if (to_h * to_w < pixels_min) {
        const double grow = std::sqrt(static_cast<double>(pixels_min) / static_cast<double>(h * w));
        to_h = ceil_units(static_cast<double>(h) * grow);
        to_w = ceil_units(static_cast<double>(w) * grow);
    }
    return checked_size(to_w, to_h, loader);
}

image_plan plan_image(image_size source, const image_limits & limits) {
    check_sides(source);
    check_limits(limits);
    image_plan plan;
    plan.source    = source;
    plan.loader    = limits.loader_resize ? loader_size(source) : source;
    plan.processor = processor_size(plan.loader, limits);
    plan.grid_h    = plan.processor.height / patch;
    plan.grid_w    = plan.processor.width / patch;
    plan.n_image_tokens = plan.grid_h * plan.grid_w / 4;
    return plan;
}

namespace {

// Keys' cubic with a = -0.5, in the grouping of the reference: another one rounds otherwise.
double cubic(double x) {
    constexpr double a = -0.5;
    x = std::fabs(x);
    if (x < 1.0) {
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    }
    if (x < 2.0) {
        return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    }
    return 0.0;
}

resize_taps make_taps(int32_t n_in, int32_t n_out) {
    const double scale   = static_cast<double>(n_in) / n_out;
    const double stretch = std::max(scale, 1.0);
    const double support = 2.0 * stretch;
    const double shrink  = 1.0 / stretch;

    resize_taps taps;
    taps.n_out = n_out;
    taps.first.resize(n_out);
    taps.count.resize(n_out);
    for (int32_t i = 0; i < n_out; i++) {
        const double centre = (i + 0.5) * scale;
        taps.first[i]  = std::max(0, static_cast<int32_t>(centre - support + 0.5));
        taps.count[i]  = std::min(n_in, static_cast<int32_t>(centre + support + 0.5)) - taps.first[i];
        taps.count_max = std::max(taps.count_max, taps.count[i]);
    }

    taps.weights.assign(static_cast<size_t>(n_out) * taps.count_max, 0);
    std::vector<double> row(taps.count_max);
    for (int32_t i = 0; i < n_out; i++) {
        const double centre = (i + 0.5) * scale;
        double sum = 0.0;
        for (int32_t t = 0; t < taps.count[i]; t++) {
            row[t] = cubic((t + taps.first[i] - centre + 0.5) * shrink);
            sum += row[t];
        }
        int32_t * weights = taps.weights.data() + static_cast<size_t>(i) * taps.count_max;
        for (int32_t t = 0; t < taps.count[i]; t++) {
            const double weight = (sum != 0.0 ? row[t] / sum : row[t]) * (1 << resize_weight_bits);
            weights[t] = static_cast<int32_t>(weight < 0 ? weight - 0.5 : weight + 0.5);
        }
    }
    return taps;
}

// Source rows for the horizontal pass, which reads a few bytes past each: the last rows of the picture are copied to a padded place.
class padded_rows {
public:
    padded_rows(const uint8_t * rgb, image_size size)
        : rgb_(rgb), n_bytes_(static_cast<size_t>(size.width) * 3), total_(n_bytes_ * size.height),
          copies_((n_bytes_ + resize_row_slack) * resize_block_rows) {}

    const uint8_t * row(int32_t y, int slot) {
        const size_t begin = n_bytes_ * y;
        if (begin + n_bytes_ + resize_row_slack <= total_) {
            return rgb_ + begin;
        }
        uint8_t * copy = copies_.data() + (n_bytes_ + resize_row_slack) * slot;
        std::memcpy(copy, rgb_ + begin, n_bytes_);
        return copy;
    }

private:
    const uint8_t *      rgb_;
    size_t               n_bytes_;
    size_t               total_;
    std::vector<uint8_t> copies_;
};

// Rows y .. y + n - 1 of the source, resized in width, to the addresses that `place` gives.
template <typename place_fn>
void widen_rows(const horizontal_table & table, padded_rows & source, int32_t y, int32_t n, place_fn place) {
    const uint8_t * from[resize_block_rows];
    uint8_t *       to[resize_block_rows];
    for (int i = 0; i < resize_block_rows; i++) {
        const int32_t row = y + std::min<int32_t>(i, n - 1);
        from[i] = source.row(row, i);
        to[i]   = place(row);
    }
    resize_rows_horizontal(table, from, to);
}

void resize_width(const uint8_t * rgb, image_size from, image_size to, resize_path path, uint8_t * out) {
    const horizontal_table table = make_horizontal_table(make_taps(from.width, to.width), path);
    const size_t n_bytes = static_cast<size_t>(to.width) * 3;
    padded_rows source(rgb, from);
    for (int32_t y = 0; y < from.height; y += resize_block_rows) {
        widen_rows(table, source, y, std::min(resize_block_rows, from.height - y), [&](int32_t row) { return out + n_bytes * row; });
    }
}

void resize_height(const uint8_t * rgb, image_size from, image_size to, resize_path path, uint8_t * out) {
    const resize_taps taps = make_taps(from.height, to.height);
    const size_t n_bytes = static_cast<size_t>(from.width) * 3;
    std::vector<const uint8_t *> rows(taps.count_max);
    std::vector<uint32_t> scratch;
    for (int32_t y = 0; y < to.height; y++) {
        for (int32_t t = 0; t < taps.count[y]; t++) {
            rows[t] = rgb + n_bytes * (taps.first[y] + t);
        }
        resize_row_vertical(path, rows.data(), taps.weights_of(y), taps.count[y], n_bytes, out + n_bytes * y, scratch);
    }
}

void resize_width_then_height(const uint8_t * rgb, image_size from, image_size to, resize_path path, uint8_t * out) {
    const horizontal_table table = make_horizontal_table(make_taps(from.width, to.width), path);
    const resize_taps taps = make_taps(from.height, to.height);
    const size_t  n_bytes  = static_cast<size_t>(to.width) * 3;
    const int32_t n_ring   = taps.count_max + resize_block_rows;
    const int32_t last_row = taps.first.back() + taps.count.back();
    std::vector<uint8_t> ring(n_bytes * n_ring);
    std::vector<const uint8_t *> rows(taps.count_max);
    std::vector<uint32_t> scratch;
    padded_rows source(rgb, from);

    int32_t next = taps.first.front();
    const auto place = [&](int32_t row) { return ring.data() + n_bytes * (row % n_ring); };
    for (int32_t y = 0; y < to.height; y++) {
        for (; next < taps.first[y] + taps.count[y]; next += resize_block_rows) {
            widen_rows(table, source, next, std::min(resize_block_rows, last_row - next), place);
        }
        for (int32_t t = 0; t < taps.count[y]; t++) {
            rows[t] = place(taps.first[y] + t);
        }
        resize_row_vertical(path, rows.data(), taps.weights_of(y), taps.count[y], n_bytes, out + n_bytes * y, scratch);
    }
}

void resize_height_then_width(const uint8_t * rgb, image_size from, image_size to, resize_path path, uint8_t * out) {
    const horizontal_table table = make_horizontal_table(make_taps(from.width, to.width), path);
    const resize_taps taps = make_taps(from.height, to.height);
    const size_t n_bytes_in  = static_cast<size_t>(from.width) * 3;
    const size_t n_bytes_out = static_cast<size_t>(to.width) * 3;
    std::vector<uint8_t> block((n_bytes_in + resize_row_slack) * resize_block_rows);
    std::vector<const uint8_t *> rows(taps.count_max);
    std::vector<uint32_t> scratch;

    for (int32_t y = 0; y < to.height; y += resize_block_rows) {
        const uint8_t * between[resize_block_rows];
        uint8_t *       placed[resize_block_rows];
        for (int i = 0; i < resize_block_rows; i++) {
            const int32_t row = std::min(y + i, to.height - 1);
            uint8_t * shortened = block.data() + (n_bytes_in + resize_row_slack) * (row - y);
            between[i] = shortened;
            placed[i]  = out + n_bytes_out * row;
            if (row != y + i) {
                continue;
            }
            for (int32_t t = 0; t < taps.count[row]; t++) {
                rows[t] = rgb + n_bytes_in * (taps.first[row] + t);
            }
            resize_row_vertical(path, rows.data(), taps.weights_of(row), taps.count[row], n_bytes_in, shortened, scratch);
        }
        resize_rows_horizontal(table, between, placed);
    }
}

}  // namespace

std::vector<uint8_t> resize_bicubic(const uint8_t * rgb, image_size from, image_size to) {
    return resize_bicubic(rgb, from, to, resize_path_best());
}

std::vector<uint8_t> resize_bicubic(const uint8_t * rgb, image_size from, image_size to, resize_path path) {
    check_sides(from);
    check_sides(to);
    const size_t n_bytes = static_cast<size_t>(to.width) * static_cast<size_t>(to.height) * 3;
    if (from == to) {
        return std::vector<uint8_t>(rgb, rgb + n_bytes);
    }
    std::vector<uint8_t> out(n_bytes);  // [to.height, to.width, 3]

    // Pillow 13 shortens first when the height loses more than twice what the width loses; the bytes between are rounded, so it shows.
    const int64_t lost_height = int64_t(from.height) - to.height;
    const int64_t lost_width  = int64_t(from.width) - to.width;
    if (lost_height == 0) {
        resize_width(rgb, from, to, path, out.data());
    } else if (lost_width == 0) {
        resize_height(rgb, from, to, path, out.data());
    } else if (lost_height > 0 && lost_height > 2 * lost_width) {
        resize_height_then_width(rgb, from, to, path, out.data());
    } else {
        resize_width_then_height(rgb, from, to, path, out.data());
    }
    return out;
}

}  // namespace gme
