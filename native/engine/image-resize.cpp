// Sizes and order of the two resizes.
//
// in:   RGB8 [height, width, 3]
// path: size rules -> weights per axis (double, then fixed point) -> width and height pass of each resize, pulled row by row -> RGB8
// out:  RGB8 [to.height, to.width, 3]
// Each pass holds only the rows the next one needs, so a large picture costs its result and no copy in between.
#include "image-resize.h"

#include "error.h"
#include "image-resize-kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

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

// Rows of a picture, asked for in ascending order. A row stays valid until n_kept later ones have been asked for (n_kept: the maker's
// choice) and has resize_row_slack readable bytes behind it.
class row_stream {
public:
    virtual ~row_stream() = default;
    virtual const uint8_t * row(int32_t y) = 0;
};

// The caller's picture; only its last rows, with nothing behind them, are copied.
class picture_rows : public row_stream {
public:
    picture_rows(const uint8_t * rgb, image_size size) : rgb_(rgb), n_bytes_(static_cast<size_t>(size.width) * 3) {
        const size_t n_tail = std::min<size_t>(size.height, (resize_row_slack + n_bytes_ - 1) / n_bytes_);
        tail_first_ = static_cast<int32_t>(size.height - n_tail);
        tail_.assign(n_tail * n_bytes_ + resize_row_slack, 0);
        std::memcpy(tail_.data(), rgb_ + n_bytes_ * tail_first_, n_tail * n_bytes_);
    }

    const uint8_t * row(int32_t y) override {
        return y < tail_first_ ? rgb_ + n_bytes_ * y : tail_.data() + n_bytes_ * (y - tail_first_);
    }

private:
    const uint8_t *      rgb_;
    size_t               n_bytes_;
    int32_t              tail_first_;
    std::vector<uint8_t> tail_;
};

// The last n rows made, in a ring.
class row_ring {
public:
    row_ring(size_t n_bytes, int32_t n)
        : stride_((n_bytes + resize_row_slack + 63) / 64 * 64), n_(n), bytes_(stride_ * static_cast<size_t>(n)) {}

    uint8_t * at(int32_t y) { return bytes_.data() + stride_ * static_cast<size_t>(y % n_); }

private:
    size_t               stride_;
    int32_t              n_;
    std::vector<uint8_t> bytes_;
};

// [n_rows, width, 3] -> [n_rows, taps.n_out, 3]. Asks its source for resize_block_rows rows at a time.
class width_pass : public row_stream {
public:
    width_pass(row_stream & source, int32_t n_rows, resize_taps taps, resize_path path, int32_t n_kept)
        : source_(source), n_rows_(n_rows), ring_(static_cast<size_t>(taps.n_out) * 3, n_kept + resize_block_rows),
          table_(make_horizontal_table(std::move(taps), path)) {}

    const uint8_t * row(int32_t y) override {
        for (; next_ <= y; next_ += resize_block_rows) {
            const uint8_t * from[resize_block_rows];
            uint8_t *       to[resize_block_rows];
            for (int32_t i = 0; i < resize_block_rows; i++) {
                const int32_t in_picture = std::min(next_ + i, n_rows_ - 1);
                from[i] = source_.row(in_picture);
                to[i]   = ring_.at(in_picture);
            }
            resize_rows_horizontal(table_, from, to);
        }
        return ring_.at(y);
    }

private:
    row_stream &     source_;
    int32_t          n_rows_;
    int32_t          next_ = 0;
    row_ring         ring_;
    horizontal_table table_;
};

// [height, n_bytes] -> [taps.n_out, n_bytes]. Asks its source for up to taps.count_max rows at a time.
class height_pass : public row_stream {
public:
    height_pass(row_stream & source, size_t n_bytes, resize_taps taps, resize_path path, int32_t n_kept)
        : source_(source), n_bytes_(n_bytes), path_(path), ring_(n_bytes, n_kept), rows_(taps.count_max), taps_(std::move(taps)) {}

    const uint8_t * row(int32_t y) override {
        for (; next_ <= y; next_++) {
            const int32_t n_taps = taps_.count[next_];
            for (int32_t t = 0; t < n_taps; t++) {
                rows_[t] = source_.row(taps_.first[next_] + t);
            }
            resize_row_vertical(path_, rows_.data(), taps_.weights_of(next_), n_taps, n_bytes_, ring_.at(next_), scratch_);
        }
        return ring_.at(y);
    }

private:
    row_stream &                 source_;
    size_t                       n_bytes_;
    resize_path                  path_;
    int32_t                      next_ = 0;
    row_ring                     ring_;
    std::vector<const uint8_t *> rows_;
    resize_taps                  taps_;
    std::vector<uint32_t>        scratch_;
};

struct pass_shape {
    bool       is_height;
    image_size from;
    image_size to;
};

void add_passes(image_size from, image_size to, std::vector<pass_shape> & passes) {
    const int64_t lost_width  = int64_t(from.width) - to.width;
    const int64_t lost_height = int64_t(from.height) - to.height;
    // Pillow 13 shortens first when the height loses more than twice what the width loses. The bytes between the passes are rounded,
    // so the order is part of the result.
    const bool height_first = lost_height > 0 && lost_height > 2 * lost_width;
    const image_size between = height_first ? image_size { from.width, to.height } : image_size { to.width, from.height };
    const pass_shape both[] = { { height_first, from, between }, { !height_first, between, to } };
    for (const pass_shape & pass : both) {
        if (pass.from != pass.to) {
            passes.push_back(pass);
        }
    }
}

std::vector<uint8_t> run_passes(const uint8_t * rgb, image_size from, image_size to, const std::vector<pass_shape> & passes,
                                resize_path path) {
    std::vector<resize_taps> taps;
    for (const pass_shape & pass : passes) {
        taps.push_back(pass.is_height ? make_taps(pass.from.height, pass.to.height) : make_taps(pass.from.width, pass.to.width));
    }
    // What each stream has to keep is what the next pass asks for at a time.
    std::vector<int32_t> n_kept(passes.size(), 1);
    for (size_t i = 1; i < passes.size(); i++) {
        n_kept[i - 1] = passes[i].is_height ? taps[i].count_max : resize_block_rows;
    }
    std::vector<std::unique_ptr<row_stream>> streams;
    streams.push_back(std::make_unique<picture_rows>(rgb, from));
    for (size_t i = 0; i < passes.size(); i++) {
        row_stream & source = *streams.back();
        if (passes[i].is_height) {
            const size_t n_bytes = static_cast<size_t>(passes[i].from.width) * 3;
            streams.push_back(std::make_unique<height_pass>(source, n_bytes, std::move(taps[i]), path, n_kept[i]));
        } else {
            streams.push_back(std::make_unique<width_pass>(source, passes[i].from.height, std::move(taps[i]), path, n_kept[i]));
        }
    }
    const size_t n_bytes = static_cast<size_t>(to.width) * 3;
    std::vector<uint8_t> out(n_bytes * static_cast<size_t>(to.height));  // [to.height, to.width, 3]
    for (int32_t y = 0; y < to.height; y++) {
        std::memcpy(out.data() + n_bytes * y, streams.back()->row(y), n_bytes);
    }
    return out;
}

}  // namespace

std::vector<uint8_t> resize_bicubic(const uint8_t * rgb, image_size from, image_size to) {
    return resize_bicubic(rgb, from, to, resize_path_best());
}

std::vector<uint8_t> resize_bicubic(const uint8_t * rgb, image_size from, image_size to, resize_path path) {
    check_sides(from);
    check_sides(to);
    std::vector<pass_shape> passes;
    add_passes(from, to, passes);
    return run_passes(rgb, from, to, passes, path);
}

std::vector<uint8_t> resize_image(const uint8_t * rgb, const image_plan & plan) {
    return resize_image(rgb, plan, resize_path_best());
}

std::vector<uint8_t> resize_image(const uint8_t * rgb, const image_plan & plan, resize_path path) {
    check_sides(plan.source);
    check_sides(plan.loader);
    check_sides(plan.processor);
    std::vector<pass_shape> passes;
    add_passes(plan.source, plan.loader, passes);
    add_passes(plan.loader, plan.processor, passes);
    return run_passes(rgb, plan.source, plan.processor, passes, path);
}

}  // namespace gme
