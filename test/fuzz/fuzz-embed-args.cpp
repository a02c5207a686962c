// The addon's reader of arguments, on values of a Node-API of our own (fake-node-api.h).
//
//   1 byte: which function of ArgsReader; the rest: the values -> refused with a cause or with a JS exception pending, or read; looked
//   at: numbers in their ranges, sizes that fit each other, copies of the right length, every handle alive, no scope left open.

#include "embed-args.h"
#include "fake-node-api.h"
#include "fuzz-checks.h"

#include <algorithm>

using fuzz::must;
using namespace gme_addon;

namespace {

bool is_picture(const image_args & image) {
    return image.width >= 1 && image.height >= 1 && image.rgb.size() == static_cast<size_t>(image.width) * static_cast<size_t>(image.height) * 3;
}

void check_item(const item_args & item, bool with_pixels) {
    must(item.has_text || item.has_image, "an item has a text or an image");
    must(!item.has_image || (with_pixels ? is_picture(item.image) : item.image.width >= 1 && item.image.height >= 1), "an item's picture fits its size");
    const gme_item view = item.view();
    must((view.text.data != nullptr) == item.has_text && view.text.size == item.text.size(), "a view shows the text");
    must((view.instruction.data != nullptr) == item.has_instruction, "a view shows the instruction");
    must((view.image.rgb != nullptr) == item.has_image, "a view shows the picture");
}

size_t width_of(const std::string & type) { return type == "f32" ? 4 : 2; }

struct reading {
    ArgsReader &  reader;
    fake::world & js;

    bool load() {
        load_args out;
        if (!reader.load(js.make("path"), js.make("params"), &out)) {
            return false;
        }
        must(!out.path.empty() && out.path.find('\0') == std::string::npos, "a path is a path");
        must(!out.has_mmproj || !out.mmproj.empty(), "a given mmproj is a path");
        must(out.threads >= 1 && out.threads <= 512 && out.image_tokens_min >= 0 && out.image_tokens_max >= 0 && out.tokens_max >= 0, "load's numbers are in range");
        must(out.positions >= 0 && out.positions <= GME_POSITIONS_MROPE && out.loader_resize >= 0 && out.loader_resize <= GME_TOGGLE_OFF, "load's choices are choices");
        return true;
    }
    bool item() {
        item_args out;
        if (!reader.item(js.make("item"), &out)) {
            return false;
        }
        check_item(out, true);
        return true;
    }
    bool items(bool with_pixels) {
        std::vector<item_args> out;
        const napi_value       list = js.make("items");
        if (!(with_pixels ? reader.items(list, &out) : reader.item_sizes(list, &out))) {
            must(reader.cause.item < static_cast<int32_t>(out.size()) && (reader.cause.item >= 0 || out.empty() || js.is_pending() || js.may_fail()), "the item at fault is named");
            return false;
        }
        for (const auto & one : out) {
            check_item(one, with_pixels);
        }
        return true;
    }
    bool embed() {
        embed_args out;
        return reader.embed(js.make("params"), &out) &&
               (must(out.overflow >= 0 && out.overflow <= GME_OVERFLOW_REFERENCE && out.batch_tokens >= 0, "embed's numbers are in range"), true);
    }
    bool image() {
        image_args out;
        return reader.image(js.make("image"), "image", &out) && (must(is_picture(out), "a picture has its bytes"), true);
    }
    bool plan() {
        plan_args out;
        return reader.plan(js.make("options"), &out) && (must(out.image_tokens_min >= 1 && out.image_tokens_max >= 1, "a plan's limits are positive"), true);
    }
    bool convert() {
        convert_args     out;
        const napi_value from = js.make("from"), source = js.make("source"), to = js.make("to");
        return reader.convert(from, source, to, &out) &&
               (must(out.source.size() == out.n_numbers * width_of(out.from) && out.target_bytes_each == width_of(out.to), "as many bytes as numbers"), true);
    }
    bool quantize() {
        quantize_args    out;
        const napi_value from = js.make("from"), options = js.make("options"), to = js.make("to"), rows = js.make("rows");
        if (!reader.quantize(from, rows, to, options, &out)) {
            return false;
        }
        must(out.n_rows >= 1 && out.n_columns >= 1 && out.n_threads >= 1 && out.n_threads <= 512 && out.row_bytes > 0, "quantize's numbers are in range");
        must(out.rows.size() == static_cast<size_t>(out.n_rows * out.n_columns) * width_of(out.from), "as many bytes as rows and columns");
        return true;
    }
    bool low_rank() {
        low_rank_args    out;
        const napi_value type = js.make("type"), rows = js.make("rows"), update = js.make("update");
        if (!reader.low_rank(type, rows, update, &out)) {
            return false;
        }
        must(out.n_rows >= 1 && out.n_columns >= 1 && out.rank >= 1, "low_rank's numbers are in range");
        must(out.rows.size() == static_cast<size_t>(out.n_rows * out.n_columns) * width_of(out.type), "as many bytes as rows and columns");
        must(out.a.size() == static_cast<size_t>(out.rank * out.n_columns) && out.b.size() == static_cast<size_t>(out.n_rows * out.rank), "factors fit the rows");
        return true;
    }
    bool roofline() {
        roofline_args out;
        return reader.roofline(js.make("type"), js.make("options"), &out) && (must(out.n_threads >= 1 && out.n_threads <= 512, "threads are in range"), true);
    }
    bool texts() {
        std::vector<std::string> out;
        return reader.texts(js.make("texts"), &out);
    }
    bool path() {
        std::string out;
        return reader.path(js.make("path"), "path", &out) && (must(!out.empty() && out.find('\0') == std::string::npos, "a path is a path"), true);
    }
    bool size() {
        int32_t out = 0;
        return reader.size(js.make("size"), "size", &out) && (must(out >= 1, "a size is positive"), true);
    }
    bool flag() {
        bool out = false;
        return reader.flag(js.make("flag"), "flag", &out);
    }
    bool callback() {
        napi_value out = nullptr;
        if (!reader.callback(js.make("callback"), "callback", &out)) {
            return false;
        }
        must(out == nullptr || js.look(out)->type == napi_function, "a callback is a function");
        return true;
    }

    bool by_number(uint8_t number) {
        switch (number % 16) {
            case 0: return load();
            case 1: return item();
            case 2: return items(true);
            case 3: return items(false);
            case 4: return embed();
            case 5: return image();
            case 6: return plan();
            case 7: return convert();
            case 8: return quantize();
            case 9: return low_rank();
            case 10: return roofline();
            case 11: return texts();
            case 12: return path();
            case 13: return size();
            case 14: return flag();
            default: return callback();
        }
    }
};

void check_refusal(const failure & cause) {
    must(cause.code == "GME_INPUT_INVALID" || cause.code == "GME_OPTION_INVALID", "a refusal has one of two codes, not " + cause.code);
    must(!cause.field.empty() && !cause.expected.empty() && !cause.value.empty() && !cause.message.empty(), "a refusal says field, value and what is expected");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    fuzz::byte_source source(data, size);
    const uint8_t     number = source.byte();
    fake::world       js(source);
    ArgsReader        reader(reinterpret_cast<napi_env>(&js));
    const bool        read = reading{ reader, js }.by_number(number);
    must(js.n_open_scopes == 0, "every scope is closed");
    if (read) {
        must(reader.cause.code.empty() && !js.is_pending(), "what was read has no cause and no exception");
    } else if (!js.is_pending() && !js.may_fail()) {
        check_refusal(reader.cause);
    }
    return 0;
}
