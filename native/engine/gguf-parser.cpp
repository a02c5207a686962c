// gguf-parser: the header of a GGUF file -> checked keys, values and tensor ranges.
//
//   magic, version, counts -> keys and values -> alignment -> tensor descriptions -> ranges inside the file -> header in memory
//
// Every length is compared with a limit and with the bytes that are left before anything is allocated; products are
// checked multiplications; no recursion. A small window follows the structure and values are passed over; the header is
// kept in memory only when all of it is good, so that a refusal costs next to nothing, whatever the file claims or holds.

#include "gguf-parser.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "tensor-types.h"
#include "utf8.h"

namespace gme {

namespace {

constexpr uint64_t limit_keys           = 4096;
constexpr uint64_t limit_tensors        = 16384;
constexpr uint64_t limit_key_bytes      = 256;
constexpr uint64_t limit_string_bytes   = 4ull << 20;
constexpr uint64_t limit_element_bytes  = 4ull << 10;
constexpr uint64_t limit_array_elements = 1ull << 20;
constexpr uint64_t limit_metadata_bytes = 256ull << 20;
constexpr uint64_t limit_name_bytes     = 63;

// What a wrong first word looks like, for people who passed another kind of file.
const char * guess_format(const char * head, uint64_t size) {
    const auto starts = [&](const char * magic) { return size >= std::strlen(magic) && std::memcmp(head, magic, std::strlen(magic)) == 0; };
    if (starts("version https://git-lfs")) return "a Git LFS pointer, not a model";
    if (starts("GGML") || starts("ggjt") || starts("tjgg") || starts("lmgg") || starts("fmgg")) return "an old GGML file";
    if (starts("PK\x03\x04")) return "a zip archive or a PyTorch checkpoint";
    if (starts("\x7f" "ELF")) return "a program";
    if (starts("<!") || starts("<html") || starts("<HTML")) return "a web page";
    if (starts("\x80\x02") || starts("\x80\x03") || starts("\x80\x04") || starts("\x80\x05")) return "a pickle";
    if (size > 9 && head[8] == '{') return "a safetensors file; `gme convert` makes a GGUF of its folder";
    return "not a GGUF file";
}

bool is_name_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

}  // namespace

bool is_utf8(std::string_view text) {
    for (size_t i = 0; i < text.size();) {
        const utf8_code_point point = utf8_decode(text, i);
        if (!point.valid) {
            return false;
        }
        i += point.size;
    }
    return true;
}

const char * header_window::at(uint64_t place, uint64_t size) {
    if (place < start_ || place + size > start_ + bytes_.size()) {
        bytes_.resize(std::min(longest, file_.size() - place));
        start_ = place;
        file_.read(place, bytes_.data(), bytes_.size());
    }
    return bytes_.data() + (place - start_);
}

error gguf_parser::fail(const char * code, const std::string & message, const std::string & field) const {
    return error(code, printable(target_.path()) + ": " + message).in_file(target_.path()).at_field(field).at_offset(static_cast<int64_t>(at_));
}

void gguf_parser::need(uint64_t size, const std::string & field) const {
    if (size > file_size_ - at_) {
        throw fail("GME_GGUF_TRUNCATED", "the file ends inside " + field, field)
            .found(static_cast<int64_t>(file_size_ - at_)).wanted(std::to_string(size) + " more bytes");
    }
    if (at_ + size > limit_metadata_bytes) {
        throw fail("GME_GGUF_LIMIT", "the metadata is too large", "metadata").found(std::to_string(at_ + size))
            .wanted("at most " + std::to_string(limit_metadata_bytes) + " bytes");
    }
}

template <typename T> T gguf_parser::read(const std::string & field) {
    need(sizeof(T), field);
    T value;
    std::memcpy(&value, window_.at(at_, sizeof(T)), sizeof(T));
    at_ += sizeof(T);
    return value;
}

void gguf_parser::parse_magic() {
    if (file_size_ < 4) {
        throw fail("GME_GGUF_TRUNCATED", "the file has " + std::to_string(file_size_) + " bytes", "header.magic").wanted("GGUF");
    }
    const uint64_t n    = std::min<uint64_t>(file_size_, 32);
    const char *   head = window_.at(0, n);
    if (std::memcmp(head, "GGUF", 4) != 0) {
        throw fail("GME_GGUF_BAD_MAGIC", guess_format(head, n), "header.magic").found(printable({ head, 4 })).wanted("GGUF");
    }
    at_ = 4;
}

void gguf_parser::parse_version() {
    const auto version = read<uint32_t>("header.version");
    if (version == 3) {
        return;
    }
    at_ -= 4;
    if (version == 0x03000000u) {
        throw fail("GME_GGUF_ENDIAN", "the file is big-endian", "header.version").found(static_cast<int64_t>(version)).wanted("3, little-endian");
    }
    throw fail("GME_GGUF_BAD_VERSION", "unsupported GGUF version", "header.version").found(static_cast<int64_t>(version)).wanted("3");
}

uint64_t gguf_parser::parse_count(uint64_t limit, const char * what, const std::string & field) {
    const auto count = read<uint64_t>(field);
    if (count > limit) {
        at_ -= 8;
        throw fail("GME_GGUF_LIMIT", what, field).found(std::to_string(count)).wanted("at most " + std::to_string(limit));
    }
    return count;
}

// The length of a text whose bytes follow and are there.
uint64_t gguf_parser::parse_length(uint64_t limit, const char * limit_code, const std::string & field) {
    const auto size = read<uint64_t>(field);
    if (size > limit) {
        at_ -= 8;
        throw fail(limit_code, "a string is too long", field).found(std::to_string(size)).wanted("at most " + std::to_string(limit) + " bytes");
    }
    need(size, field);
    return size;
}

std::string gguf_parser::parse_short_text(uint64_t limit, const char * limit_code, const std::string & field) {
    const uint64_t size = parse_length(limit, limit_code, field);
    std::string    text(window_.at(at_, size), size);
    at_ += size;
    return text;
}

void gguf_parser::parse_keys(uint64_t n_keys) {
    target_.keys_.reserve(n_keys);  // the index refers to the keys in place
    for (uint64_t i = 0; i < n_keys; i++) {
        parse_key(i);
        const auto & [key, value]    = target_.keys_.back();
        const auto [known, inserted] = target_.key_index_.emplace(key, i);
        if (!inserted) {
            at_ = value.key_at;
            throw fail("GME_GGUF_DUP_KEY", "a key stands twice, at bytes " + std::to_string(target_.keys_[known->second].second.key_at) +
                       " and " + std::to_string(value.key_at), "kv[\"" + key + "\"]");
        }
    }
}

void gguf_parser::parse_key(uint64_t index) {
    const std::string place = "kv[" + std::to_string(index) + "].key";
    gguf_value        value;
    value.key_at          = at_;
    const std::string key = parse_short_text(limit_key_bytes, "GME_GGUF_LIMIT", place);
    const uint64_t    end = at_;
    at_                   = value.key_at;
    if (!is_utf8(key)) {
        throw fail("GME_GGUF_BAD_UTF8", "a key is not UTF-8", place).found(printable(key));
    }
    if (key.empty() || !std::all_of(key.begin(), key.end(), is_name_character)) {
        throw fail("GME_GGUF_BAD_VALUE", "a key has characters that keys do not have", place).found(printable(key)).wanted("letters, digits, . _ -");
    }
    at_ = end;
    const std::string field = "kv[\"" + key + "\"]";
    const auto        type  = read<uint32_t>(field);
    if (type > static_cast<uint32_t>(gguf_type::f64)) {
        at_ -= 4;
        throw fail("GME_GGUF_BAD_TYPE", "a value has no known type", field).found(static_cast<int64_t>(type)).wanted("0..12");
    }
    value.type = static_cast<gguf_type>(type);
    parse_value(value, field);
    target_.keys_.emplace_back(key, value);
}

void gguf_parser::parse_value(gguf_value & value, const std::string & field) {
    if (value.type == gguf_type::array) {
        parse_array(value, field);
        return;
    }
    const bool is_text = value.type == gguf_type::string;
    if (is_text) {
        value.count = parse_length(limit_string_bytes, "GME_GGUF_LIMIT", field);
    }
    const uint64_t size = is_text ? value.count : gguf_scalar_size(value.type);
    need(size, field);
    value.at = at_;
    if (value.type == gguf_type::boolean) {
        check_booleans(value, 1, field);
    }
    at_ += size;
}

void gguf_parser::check_booleans(const gguf_value & value, uint64_t count, const std::string & field) {
    for (uint64_t done = 0; done < count;) {
        const uint64_t n     = std::min(count - done, header_window::longest);
        const char *   bytes = window_.at(value.at + done, n);
        const char *   bad   = std::find_if(bytes, bytes + n, [](char byte) { return static_cast<unsigned char>(byte) > 1; });
        if (bad != bytes + n) {
            at_ = value.at + done + static_cast<uint64_t>(bad - bytes);
            throw fail("GME_GGUF_BAD_VALUE", "a boolean is neither 0 nor 1", field).found(static_cast<int64_t>(static_cast<unsigned char>(*bad))).wanted("0 or 1");
        }
        done += n;
    }
}

void gguf_parser::parse_array(gguf_value & value, const std::string & field) {
    const auto element = read<uint32_t>(field);
    if (element > static_cast<uint32_t>(gguf_type::f64) || element == static_cast<uint32_t>(gguf_type::array)) {
        at_ -= 4;
        throw fail("GME_GGUF_BAD_TYPE", "an array's elements have no usable type (arrays of arrays are not supported)", field)
            .found(static_cast<int64_t>(element)).wanted("0..8, 10..12");
    }
    value.element = static_cast<gguf_type>(element);
    value.count   = parse_count(limit_array_elements, "an array is too long", field);
    value.at      = at_;
    if (value.element == gguf_type::string) {
        for (uint64_t i = 0; i < value.count; i++) {
            // No per-element field text here: building 150,000 of them would cost more than reading the file.
            at_ += parse_length(limit_element_bytes, "GME_GGUF_LIMIT", field);
        }
        return;
    }
    const uint64_t size = value.count * gguf_scalar_size(value.element);  // ≤ 2^23: cannot wrap
    need(size, field);
    if (value.element == gguf_type::boolean) {
        check_booleans(value, value.count, field);
    }
    at_ += size;
}

void gguf_parser::check_alignment() {
    const gguf_value * value = target_.find_key("general.alignment");
    if (value == nullptr) {
        return;
    }
    const std::string field = "kv[\"general.alignment\"]";
    const uint64_t    after = std::exchange(at_, value->at);
    if (value->type != gguf_type::u32) {
        throw fail("GME_GGUF_WRONG_TYPE", "general.alignment has another type", field).found(gguf_type_name(value->type)).wanted("u32");
    }
    const auto alignment = static_cast<int64_t>(read<uint32_t>(field));
    at_                  = value->at;
    if (alignment < 8 || alignment > 65536 || (alignment & (alignment - 1)) != 0) {
        throw fail("GME_GGUF_BAD_VALUE", "general.alignment is out of range", field).found(alignment).wanted("a power of two in 8..65536");
    }
    target_.alignment_ = static_cast<uint64_t>(alignment);
    at_                = after;
}

void gguf_parser::parse_tensors(uint64_t n_tensors) {
    target_.tensors_.reserve(n_tensors);  // the index refers to the names in place
    for (uint64_t i = 0; i < n_tensors; i++) {
        parse_tensor(i);
        const auto & tensor = target_.tensors_.back();
        if (!target_.tensor_index_.emplace(tensor.name, i).second) {
            at_ = tensor.info_at;
            throw fail("GME_TENSOR_DUP", "a tensor stands twice", "tensor[\"" + tensor.name + "\"]").found(tensor.name);
        }
    }
}

void gguf_parser::parse_tensor(uint64_t index) {
    const std::string place = "tensor[" + std::to_string(index) + "]";
    gguf_tensor       tensor;
    tensor.info_at = at_;
    tensor.name    = parse_short_text(limit_name_bytes, "GME_TENSOR_BAD_NAME", place + ".name");
    if (tensor.name.empty() || !std::all_of(tensor.name.begin(), tensor.name.end(), is_name_character)) {
        at_ = tensor.info_at;
        throw fail("GME_TENSOR_BAD_NAME", "a tensor's name has characters that names do not have", place + ".name")
            .found(printable(tensor.name)).wanted("1..63 letters, digits, . _ -");
    }
    const std::string field = "tensor[\"" + tensor.name + "\"]";
    parse_tensor_shape(tensor, field);
    tensor.offset = read<uint64_t>(field + ".offset");
    target_.tensors_.push_back(std::move(tensor));
}

void gguf_parser::parse_tensor_shape(gguf_tensor & tensor, const std::string & field) {
    const auto n_dims = read<uint32_t>(field + ".n_dims");
    if (n_dims < 1 || n_dims > 4) {
        throw fail("GME_TENSOR_DIMS", "a tensor has an impossible number of dimensions", field + ".n_dims").found(static_cast<int64_t>(n_dims)).wanted("1..4");
    }
    tensor.n_dims = static_cast<int32_t>(n_dims);
    int64_t sides[4] = { 1, 1, 1, 1 };
    int64_t n        = 1;
    bool    overflow = false;
    for (uint32_t i = 0; i < n_dims; i++) {
        sides[i] = read<int64_t>(field + ".ne[" + std::to_string(i) + "]");
        overflow = sides[i] > 0 && (__builtin_mul_overflow(n, sides[i], &n) || overflow);
    }
    const auto type_number = read<uint32_t>(field + ".type");
    const auto * type      = find_tensor_type(type_number);
    if (type == nullptr) {
        throw fail("GME_TENSOR_TYPE", "a tensor has an unknown type", field + ".type").found(static_cast<int64_t>(type_number)).wanted(multipliable_types());
    }
    int64_t bytes = 0;
    overflow      = overflow || __builtin_mul_overflow(n, static_cast<int64_t>(type->block_size), &bytes) || bytes > INT64_MAX - 65536;
    for (uint32_t i = 0; i < n_dims; i++) {
        // A side that no size could be is named itself; a large one only where it is not the product that overflows.
        if (sides[i] < 1 || sides[i] > (1ll << 62) || (sides[i] > INT32_MAX && !overflow)) {
            throw fail("GME_TENSOR_DIMS", "a tensor's side is out of range", field + ".ne[" + std::to_string(i) + "]").found(sides[i]).wanted("1..2147483647");
        }
    }
    if (overflow) {
        throw fail("GME_TENSOR_OVERFLOW", "a tensor's size overflows", field + ".ne").wanted("a size below 2^63 bytes");
    }
    if (sides[0] % type->block_rows != 0) {
        throw fail("GME_TENSOR_SHAPE", "a row is not a whole number of blocks", field + ".ne[0]").found(sides[0])
            .wanted("a multiple of " + std::to_string(type->block_rows));
    }
    std::copy(sides, sides + 4, tensor.ne);
    tensor.type = type_number;
    tensor.size = static_cast<uint64_t>(n / type->block_rows) * type->block_size;
}

// Offsets become places in the file; every range must lie inside it.
void gguf_parser::place_tensors() {
    const uint64_t align = target_.alignment_;
    const uint64_t start = (at_ + align - 1) / align * align;
    if (!target_.tensors_.empty() && start > file_size_) {
        throw fail("GME_GGUF_TRUNCATED", "the file ends before its data", "data_start").wanted(std::to_string(start) + " bytes");
    }
    target_.data_start_ = start;
    for (auto & tensor : target_.tensors_) {
        const std::string field = "tensor[\"" + tensor.name + "\"]";
        at_                     = tensor.info_at;
        const uint64_t room     = file_size_ - start;
        if (tensor.offset > room || tensor.size > room - tensor.offset) {
            throw fail("GME_TENSOR_BOUNDS", "a tensor lies outside the file", field).found(std::to_string(tensor.offset))
                .wanted("offset + " + std::to_string(tensor.size) + " bytes within " + std::to_string(room));
        }
        if (tensor.offset % align != 0) {
            throw fail("GME_TENSOR_OFFSET", "a tensor is not aligned", field + ".offset").found(std::to_string(tensor.offset))
                .wanted("a multiple of " + std::to_string(align));
        }
        tensor.offset += start;
    }
}

// Ranges must be disjoint, in whatever order they are described, and leave no room for other data.
void gguf_parser::check_order() {
    if (target_.tensors_.empty()) {
        return;
    }
    std::vector<const gguf_tensor *> order;
    for (const auto & tensor : target_.tensors_) {
        order.push_back(&tensor);
    }
    std::sort(order.begin(), order.end(), [](const gguf_tensor * a, const gguf_tensor * b) { return a->offset < b->offset; });
    const uint64_t most = target_.alignment_ - 1;
    uint64_t       end  = target_.data_start_;
    for (size_t i = 0; i < order.size(); i++) {
        const gguf_tensor & tensor = *order[i];
        const std::string   field  = "tensor[\"" + tensor.name + "\"]";
        at_                        = tensor.info_at;
        if (tensor.offset < end) {
            const std::string & before = order[i - 1]->name;  // the first one begins at the data's start or later
            throw fail("GME_TENSOR_OVERLAP", "two tensors share bytes: " + before + " and " + tensor.name, field).found(before).wanted("disjoint ranges");
        }
        if (tensor.offset - end > most) {
            throw fail("GME_TENSOR_OFFSET", "bytes between two tensors belong to none", field + ".offset").found(std::to_string(tensor.offset - end))
                .wanted("at most " + std::to_string(most) + " bytes");
        }
        end = tensor.offset + tensor.size;
    }
    if (file_size_ - end > most) {
        at_ = end;
        throw fail("GME_GGUF_BAD_VALUE", "trailing data after the last tensor", "data_end").found(std::to_string(file_size_ - end))
            .wanted("at most " + std::to_string(most) + " bytes");
    }
}

// Read once more, now as a whole: whoever uses the values checks lengths again, because the file may change in between.
void gguf_parser::keep_header() {
    target_.header_.resize(at_);
    target_.file_.read(0, target_.header_.data(), at_);
}

void gguf_parser::parse() {
    parse_magic();
    parse_version();
    const uint64_t n_tensors = parse_count(limit_tensors, "too many tensors", "header.n_tensors");
    const uint64_t n_keys    = parse_count(limit_keys, "too many keys", "header.n_kv");
    parse_keys(n_keys);
    check_alignment();
    parse_tensors(n_tensors);
    const uint64_t header_end = at_;
    place_tensors();
    check_order();
    at_ = header_end;
    keep_header();
}

}  // namespace gme
