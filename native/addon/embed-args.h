// The door: the only file that reads JS values. It checks every type and size (TypeScript has done so before, with better words),
// copies every text and every pixel, and leaves plain structs that any thread may hold. Nothing keeps a JS value.
#pragma once

#include "js-errors.h"

#include "gme.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gme_addon {

struct image_args {
    std::vector<uint8_t> rgb;  // [height, width, 3]
    int32_t              width  = 0;
    int32_t              height = 0;
};

struct item_args {
    bool        has_text        = false;
    bool        has_instruction = false;
    bool        has_image       = false;
    std::string text;         // UTF-8, lone surrogates replaced by U+FFFD
    std::string instruction;
    image_args  image;

    gme_item view() const;  // points into this struct
};

struct embed_args {
    gme_overflow overflow      = GME_OVERFLOW_ERROR;
    bool         parse_special = false;
    int32_t      batch_tokens  = 0;
};

struct load_args {
    std::string   path;
    bool          has_mmproj = false;
    std::string   mmproj;
    std::string   device;  // empty: the best
    int32_t       threads       = 1;
    bool          mmap          = true;
    gme_positions positions     = GME_POSITIONS_FROM_FILE;
    gme_toggle    loader_resize = GME_TOGGLE_FROM_FILE;
    int32_t       image_tokens_min = 0;
    int32_t       image_tokens_max = 0;
    int32_t       tokens_max       = 0;
};

struct plan_args {
    bool    loader_resize    = true;
    int32_t image_tokens_min = 0;
    int32_t image_tokens_max = 0;
};

struct convert_args {
    std::string          from;
    std::string          to;
    std::vector<uint8_t> source;
    size_t               n_numbers         = 0;
    size_t               target_bytes_each = 0;
};

struct quantize_args {
    std::string          from;
    std::string          to;
    std::vector<uint8_t> rows;  // [n_rows, n_columns] of `from`
    int64_t              n_rows    = 0;
    int64_t              n_columns = 0;
    int32_t              n_threads = 1;
    size_t               row_bytes = 0;  // of `to`
};

struct low_rank_args {
    std::string          type;
    std::vector<uint8_t> rows;  // [n_rows, n_columns] of `type`
    std::vector<float>   a;     // [rank, n_columns]
    std::vector<float>   b;     // [n_rows, rank]
    int64_t              n_rows    = 0;
    int64_t              n_columns = 0;
    int32_t              rank      = 0;
    float                scale     = 0;
};

struct roofline_args {
    std::string type;
    std::string device;  // empty: the processor
    int32_t     n_threads = 1;
    double      seconds   = 0;
};

// Reads the arguments of one call. After the first false, `cause` says what was wrong, or a JS exception (a getter's) is pending.
class ArgsReader {
  public:
    explicit ArgsReader(napi_env env) : env_(env) {}

    failure cause;

    bool load(napi_value path, napi_value params, load_args * out);
    bool item(napi_value value, item_args * out);
    bool items(napi_value value, std::vector<item_args> * out);
    bool item_sizes(napi_value value, std::vector<item_args> * out);  // images by width and height only
    bool embed(napi_value params, embed_args * out);
    bool image(napi_value value, const std::string & name, image_args * out);
    bool plan(napi_value options, plan_args * out);
    bool convert(napi_value from, napi_value source, napi_value to, convert_args * out);
    bool quantize(napi_value from, napi_value rows, napi_value to, napi_value options, quantize_args * out);
    bool low_rank(napi_value type, napi_value rows, napi_value update, low_rank_args * out);
    bool roofline(napi_value type, napi_value options, roofline_args * out);
    bool texts(napi_value value, std::vector<std::string> * out);
    bool path(napi_value value, const char * name, std::string * out);
    bool size(napi_value value, const char * name, int32_t * out);
    bool flag(napi_value value, const char * name, bool * out);
    bool callback(napi_value value, const char * name, napi_value * out);  // *out NULL: none given

  private:
    bool fail(const std::string & name, napi_value found, const char * expected);
    bool kind(napi_value value, napi_valuetype * type);
    bool property(napi_value object, const char * key, napi_value * out);
    bool object(napi_value value, const std::string & name);
    bool text(napi_value value, const std::string & name, std::string * out);
    bool integer(napi_value value, const std::string & name, int32_t low, int32_t high, const char * expected, int32_t * out);
    bool bytes(napi_value value, const std::string & name, size_t * size, const uint8_t ** data);
    bool floats(napi_value object, const char * key, size_t count, std::vector<float> * out);
    bool image_size(napi_value value, const std::string & name, image_args * out);
    bool optional_text(napi_value object, const char * key, const std::string & name, bool * has, std::string * out);
    bool item_texts(napi_value value, const std::string & name, item_args * out, napi_value * image);
    bool choice(napi_value object, const char * key, const char * const * names, const char * expected, int * out);
    bool integer_option(napi_value object, const char * key, int32_t low, int32_t high, const char * expected, int32_t * out);
    bool flag_option(napi_value object, const char * key, bool * out);
    template <typename F> bool each(napi_value value, const char * name, F read);

    napi_env     env_;
    const char * code_ = "GME_INPUT_INVALID";  // GME_OPTION_INVALID while options are read
};

}  // namespace gme_addon
