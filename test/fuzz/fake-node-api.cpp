// The values of the fake Node-API and the calls on them, as Node documents them.

#include "fake-node-api.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace fake {

static world * the_world = nullptr;

world * current() { return the_world; }

world::world(fuzz::byte_source source) : source_(source) {
    const uint8_t failing = source_.byte();
    fails_from_           = failing >= 224 ? 1 + source_.byte() : 0;
    the_world             = this;
}

world::~world() { the_world = nullptr; }

bool world::call_fails() {
    n_calls_++;
    return fails_from_ != 0 && n_calls_ >= fails_from_;
}

value * world::create(napi_valuetype type) {
    values_.emplace_back();
    values_.back().type = type;
    return &values_.back();
}

// ---- one value ----

// UTF-16 as it stands in the input; a surrogate without its other half becomes U+FFFD, as napi_get_value_string_utf8 has it.
static std::string text_of_units(fuzz::byte_source & source, size_t n) {
    std::string text;
    const auto  append = [&](uint32_t c) {
        const uint32_t n_more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
        static const uint8_t leads[] = { 0, 0xC0, 0xE0, 0xF0 };
        text += static_cast<char>(leads[n_more] | c >> (6 * n_more));
        for (uint32_t i = n_more; i-- > 0;) {
            text += static_cast<char>(0x80 | (c >> (6 * i) & 0x3F));
        }
    };
    std::vector<uint16_t> units;
    for (size_t i = 0; i < n; i++) {
        units.push_back(source.take<uint16_t>());
    }
    for (size_t i = 0; i < n; i++) {
        const uint16_t unit = units[i];
        const bool     high = unit >= 0xD800 && unit < 0xDC00;
        if (high && i + 1 < n && units[i + 1] >= 0xDC00 && units[i + 1] < 0xE000) {
            append(0x10000u + ((unit - 0xD800u) << 10) + (units[i + 1] - 0xDC00u));
            i++;
        } else {
            append(unit >= 0xD800 && unit < 0xE000 ? 0xFFFDu : unit);
        }
    }
    return text;
}

value * world::make_text(const std::string & name) {
    static const char * const words[] = { "file", "on", "off", "sequential", "mrope", "error", "truncate", "reference", "f32", "f16", "bf16", "q8_0",
                                          "q4_k", "iq1_s", "", "/m.gguf", "F32", "i64" };
    value *       made = create(napi_string);
    const uint8_t kind = source_.byte();
    if (kind < 128) {
        const bool is_option = name == "positions" || name == "loaderResize" || name == "overflow";
        made->text           = words[(is_option ? kind % 8 : kind) % (sizeof words / sizeof *words)];
    } else {
        made->text = text_of_units(source_, kind % 64);
    }
    return made;
}

value * world::make_integer() {
    static const double edges[] = { 0,  -0.0, -1, 0.5, 512, 513, 2147483647, 2147483648.0, 4294967296.0, 9007199254740992.0, -2147483649.0, 1e300, NAN, INFINITY, -INFINITY, 5e-324 };
    value *       made = create(napi_number);
    const uint8_t kind = source_.byte();
    made->number       = kind < 192 ? 1 + kind % 16 : kind < 240 ? edges[kind % 16] : source_.take<double>();
    integers_[2]       = integers_[1];
    integers_[1]       = integers_[0];
    integers_[0]       = made->number >= 1 && made->number <= 4096 ? made->number : 1;
    return made;
}

// Bytes that suit the integers read before, or any few.
size_t world::view_size() {
    const double x = integers_[0], y = integers_[1], z = integers_[2];
    double       bytes = 0;
    switch (source_.byte() % 10) {
        case 0: bytes = x * y * 3; break;
        case 1: bytes = x * y * 4; break;
        case 2: bytes = x * 4; break;
        case 3: bytes = y * 2; break;
        case 4: bytes = y * 4; break;
        case 5: bytes = x * z * 4; break;
        case 6: bytes = x * y * 3 + 1; break;
        case 7: bytes = y * 2 * (source_.byte() % 8); break;
        case 8: bytes = source_.byte(); break;
        default: bytes = 0; break;
    }
    return bytes <= 65536 ? static_cast<size_t>(bytes) : 65536;
}

value * world::make_view() {
    value *       store = create(napi_object);
    value *       view  = create(napi_object);
    const uint8_t kind  = source_.byte();
    const size_t  size  = view_size();
    view->is_view       = true;
    view->view_type     = kind < 208 ? napi_uint8_array : static_cast<napi_typedarray_type>(kind % 11);
    view->view_offset   = kind % 4 * 8;
    view->view_length   = size;
    view->view_buffer   = store;
    store->is_buffer    = true;
    store->memory       = std::make_shared<buffer>();
    store->memory->size = view->view_offset + size;
    store->memory->bytes.reset(new uint8_t[store->memory->size]);
    std::memset(store->memory->bytes.get(), kind, store->memory->size);
    store->memory->shared = kind % 32 == 5;
    if (kind % 32 == 6) {
        store->memory->detached = true;
        store->memory->bytes.reset();
    }
    views_.push_back(view);
    return view;
}

value * world::make_object(bool is_array) {
    value *       made = create(napi_object);
    const uint8_t kind = source_.byte();
    made->is_array     = is_array;
    made->length       = is_array ? (kind >= 250 ? 0xFFFFFFFFu : kind % 5) : 0;
    made->is_proxy     = kind % 16 == 7;
    made->throws_at    = kind % 16 == 9 ? 1 + source_.byte() % 8 : 0;
    return made;
}

value * world::any() {
    switch (source_.byte() % 14) {
        case 0: return create(napi_undefined);
        case 1: return create(napi_null);
        case 2: { value * made = create(napi_boolean); made->flag = (source_.byte() & 1) != 0; return made; }
        case 3: case 4: return make_integer();
        case 5: case 6: return make_text("");
        case 7: return create(napi_symbol);
        case 8: return create(napi_function);
        case 9: return create(napi_bigint);
        case 10: return create(napi_external);
        case 11: return make_object(false);
        case 12: return make_object(true);
        default: return make_view();
    }
}

value * world::plausible(const std::string & name) {
    const auto is = [&](std::initializer_list<const char *> names) {
        for (const char * one : names) {
            if (name == one) {
                return true;
            }
        }
        return false;
    };
    if (is({ "width", "height", "threads", "columns", "rank", "batchTokens", "minImageTokens", "maxImageTokens", "maxTokens", "scale", "seconds", "size" })) {
        return make_integer();
    }
    if (is({ "text", "instruction", "mmproj", "device", "positions", "overflow", "path", "type", "from", "to", "texts[]" })) {
        return make_text(name);
    }
    if (name == "loaderResize" && (source_.byte() & 1) != 0) {
        return make_text(name);
    }
    if (is({ "mmap", "parseSpecial", "loaderResize", "flag" })) {
        value * made = create(napi_boolean);
        made->flag   = (source_.byte() & 1) != 0;
        return made;
    }
    if (is({ "data", "rows", "source", "a", "b" })) {
        return make_view();
    }
    if (name == "callback") {
        return create(napi_function);
    }
    value * made  = make_object(is({ "items", "texts" }));
    made->element = name == "texts" ? "texts[]" : "item";
    return made;
}

value * world::decide(const std::string & name) {
    const uint8_t kind = source_.byte();
    if (kind >= 200) {
        return any();
    }
    // Left out, as callers leave out what is optional.
    return kind % 8 == 7 ? create(napi_undefined) : plausible(name);
}

// ---- handles ----

napi_value world::make(const std::string & name) { return handle(decide(name)); }

napi_value world::handle(value * target) {
    handles_.push_back({ target, true });
    return reinterpret_cast<napi_value>(&handles_.back());
}

value * world::look(napi_value handle) const {
    fuzz::must(handle != nullptr, "no call is made on a null handle");
    const auto * found = reinterpret_cast<const slot *>(handle);
    fuzz::must(found->alive, "no handle is used after its scope");
    return found->target;
}

void world::close_scope(size_t begin) {
    for (size_t i = begin; i < handles_.size(); i++) {
        handles_[i].alive = false;
    }
}

value * world::property(value * object, const std::string & name, const std::string & like) {
    object->n_reads++;
    const auto known = object->properties.find(name);
    if (known != object->properties.end() && !object->is_proxy) {
        return known->second;
    }
    if (object->throws_at != 0 && object->n_reads == object->throws_at) {
        pending_ = true;
        return nullptr;
    }
    if (object->is_proxy && !views_.empty() && (source_.byte() & 1) != 0) {
        // The getter transfers a buffer that was handed out before.
        auto & memory    = *views_.back()->view_buffer->memory;
        memory.detached  = !memory.shared;
        if (memory.detached) {
            memory.bytes.reset();
        }
    }
    value * made = decide(like);
    object->properties[name] = made;
    return made;
}

}  // namespace fake

// ---- the calls ----

using fake::current;
using fuzz::must;

namespace {

// What every call does first; `js`: it may run JS, and so answers at once while an exception is pending.
napi_status begin_call(napi_env env, const void * result, bool js) {
    must(env == reinterpret_cast<napi_env>(current()), "calls go to the environment of the call");
    must(result != nullptr, "a call has a place for its result");
    if (current()->call_fails()) {
        return napi_generic_failure;
    }
    return js && current()->is_pending() ? napi_pending_exception : napi_ok;
}

}  // namespace

#define BEGIN(js)                                                          \
    if (const napi_status begun = begin_call(env, result, js); begun != napi_ok) { \
        return begun;                                                      \
    }

extern "C" {

napi_status napi_typeof(napi_env env, napi_value of, napi_valuetype * result) {
    BEGIN(false)
    *result = current()->look(of)->type;
    return napi_ok;
}

napi_status napi_get_value_double(napi_env env, napi_value of, double * result) {
    BEGIN(false)
    const auto * found = current()->look(of);
    if (found->type != napi_number) {
        return napi_number_expected;
    }
    *result = found->number;
    return napi_ok;
}

napi_status napi_get_value_bool(napi_env env, napi_value of, bool * result) {
    BEGIN(false)
    const auto * found = current()->look(of);
    if (found->type != napi_boolean) {
        return napi_boolean_expected;
    }
    *result = found->flag;
    return napi_ok;
}

napi_status napi_get_value_string_utf8(napi_env env, napi_value of, char * target, size_t size, size_t * result) {
    if (const napi_status begun = begin_call(env, target != nullptr ? static_cast<const void *>(target) : result, false); begun != napi_ok) {
        return begun;
    }
    const auto * found = current()->look(of);
    if (found->type != napi_string) {
        return napi_string_expected;
    }
    if (target == nullptr) {
        *result = found->text.size();
        return napi_ok;
    }
    if (size == 0) {
        return napi_ok;
    }
    size_t n = std::min(size - 1, found->text.size());
    while (n > 0 && n < found->text.size() && (static_cast<uint8_t>(found->text[n]) & 0xC0) == 0x80) {
        n--;
    }
    std::memcpy(target, found->text.data(), n);
    target[n] = '\0';
    if (result != nullptr) {
        *result = n;
    }
    return napi_ok;
}

napi_status napi_get_named_property(napi_env env, napi_value of, const char * name, napi_value * result) {
    BEGIN(true)
    auto * object = current()->look(of);
    if (object->type == napi_undefined || object->type == napi_null) {
        return napi_object_expected;
    }
    auto * found = current()->property(object, name, name);
    if (found == nullptr) {
        return napi_pending_exception;
    }
    *result = current()->handle(found);
    return napi_ok;
}

napi_status napi_get_element(napi_env env, napi_value of, uint32_t index, napi_value * result) {
    BEGIN(true)
    auto * object = current()->look(of);
    if (object->type != napi_object && object->type != napi_function) {
        return napi_object_expected;
    }
    auto * found = current()->property(object, "[" + std::to_string(index) + "]", object->element);
    if (found == nullptr) {
        return napi_pending_exception;
    }
    *result = current()->handle(found);
    return napi_ok;
}

napi_status napi_is_array(napi_env env, napi_value of, bool * result) {
    BEGIN(false)
    *result = current()->look(of)->is_array;
    return napi_ok;
}

napi_status napi_get_array_length(napi_env env, napi_value of, uint32_t * result) {
    BEGIN(false)
    const auto * found = current()->look(of);
    if (!found->is_array) {
        return napi_array_expected;
    }
    *result = found->length;
    return napi_ok;
}

napi_status napi_is_typedarray(napi_env env, napi_value of, bool * result) {
    BEGIN(false)
    *result = current()->look(of)->is_view;
    return napi_ok;
}

// A detached view has no length and points nowhere.
napi_status napi_get_typedarray_info(napi_env env, napi_value of, napi_typedarray_type * type, size_t * length, void ** data, napi_value * result,
                                     size_t * offset) {
    BEGIN(false)
    const auto * found = current()->look(of);
    if (!found->is_view) {
        return napi_invalid_arg;
    }
    const auto & memory = *found->view_buffer->memory;
    static const size_t widths[] = { 1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8 };
    *type   = found->view_type;
    *length = memory.detached ? 0 : found->view_length / widths[found->view_type];
    *data   = memory.detached ? nullptr : memory.bytes.get() + found->view_offset;
    *offset = memory.detached ? 0 : found->view_offset;
    *result = current()->handle(found->view_buffer);
    return napi_ok;
}

napi_status napi_is_arraybuffer(napi_env env, napi_value of, bool * result) {
    BEGIN(false)
    const auto * found = current()->look(of);
    *result            = found->is_buffer && !found->memory->shared;
    return napi_ok;
}

napi_status napi_is_detached_arraybuffer(napi_env env, napi_value of, bool * result) {
    BEGIN(false)
    const auto * found = current()->look(of);
    *result            = found->is_buffer && found->memory->detached;
    return napi_ok;
}

napi_status napi_open_handle_scope(napi_env env, napi_handle_scope * result) {
    must(env == reinterpret_cast<napi_env>(current()), "calls go to the environment of the call");
    current()->n_open_scopes++;
    *result = reinterpret_cast<napi_handle_scope>(current()->open_scope() + 1);
    return napi_ok;
}

napi_status napi_close_handle_scope(napi_env, napi_handle_scope scope) {
    current()->n_open_scopes--;
    current()->close_scope(reinterpret_cast<size_t>(scope) - 1);
    return napi_ok;
}

}  // extern "C"
