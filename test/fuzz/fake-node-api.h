// A small Node-API of our own: JS values decoded from the bytes of an input while the addon's reader asks for them.
//
// Every property and element is decided when it is read, guided by its name, so that short inputs reach deep; a proxy decides anew at
// every read. Getters may throw, and may detach a buffer that was handed out before. Handles die with their scope; calls may be made
// to fail from a given one on. Memory of typed arrays is allocated exactly, so that a read past the end or after a detach is seen.
#pragma once

#include "fuzz-checks.h"

#include <js_native_api.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace fake {

struct buffer {
    std::unique_ptr<uint8_t[]> bytes;
    size_t                     size     = 0;
    bool                       shared   = false;  // a SharedArrayBuffer
    bool                       detached = false;
};

struct value {
    napi_valuetype type    = napi_undefined;
    bool           flag    = false;
    double         number  = 0;
    std::string    text;  // as Node gives it: UTF-8, lone surrogates replaced
    bool           is_array = false, is_view = false, is_buffer = false, is_proxy = false;
    uint32_t       length  = 0;  // of an array
    std::string    element;      // what its elements are like
    uint8_t        throws_at = 0;  // the read of a property that throws, 0: none does
    uint8_t        n_reads = 0;
    napi_typedarray_type view_type = napi_uint8_array;
    size_t         view_offset = 0, view_length = 0;
    value *        view_buffer = nullptr;
    std::shared_ptr<buffer> memory;  // of an ArrayBuffer
    std::map<std::string, value *> properties;
};

class world {
  public:
    explicit world(fuzz::byte_source source);
    ~world();
    world(const world &) = delete;

    // A value for a place of this name, in a handle of the innermost scope.
    napi_value make(const std::string & name);
    napi_value handle(value * target);
    value *    look(napi_value handle) const;  // a dead or foreign handle is a violation

    // Decided like a value of the name `like`; nullptr: the getter threw.
    value *    property(value * object, const std::string & name, const std::string & like);
    bool       is_pending() const { return pending_; }
    size_t     open_scope() { return handles_.size(); }
    void       close_scope(size_t begin);
    bool       call_fails();  // counts the calls
    bool       may_fail() const { return fails_from_ != 0; }
    size_t     n_open_scopes = 0;

  private:
    value * create(napi_valuetype type);
    value * decide(const std::string & name);
    value * plausible(const std::string & name);
    value * any();
    value * make_object(bool is_array);
    value * make_text(const std::string & name);
    value * make_integer();
    value * make_view();
    size_t  view_size();

    fuzz::byte_source      source_;
    std::deque<value>      values_;
    struct slot { value * target; bool alive; };
    std::deque<slot>       handles_;
    std::vector<value *>   views_;
    double                 integers_[3] = { 1, 1, 1 };  // the last ones, for sizes that fit them
    bool                   pending_    = false;
    uint32_t               fails_from_ = 0;
    uint32_t               n_calls_    = 0;
};

world * current();

}  // namespace fake
