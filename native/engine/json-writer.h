// Small JSON texts (model info, file listings) that cross the C boundary; reading JSON is left to JavaScript.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gme {

std::string json_string(std::string_view text);  // quoted and escaped; bytes that are not UTF-8 become U+FFFD
std::string json_number(double number);          // shortest text that reads back equal; null when not finite

class json_object {
  public:
    json_object & add_json(std::string_view key, std::string_view json);
    json_object & add(std::string_view key, std::string_view value) { return add_json(key, json_string(value)); }
    json_object & add(std::string_view key, const char * value) { return add(key, std::string_view(value)); }
    json_object & add(std::string_view key, int64_t value) { return add_json(key, std::to_string(value)); }
    json_object & add(std::string_view key, int32_t value) { return add(key, static_cast<int64_t>(value)); }
    json_object & add(std::string_view key, double value) { return add_json(key, json_number(value)); }
    json_object & add(std::string_view key, bool value) { return add_json(key, value ? "true" : "false"); }
    std::string   text() const { return body_ + "}"; }

  private:
    std::string body_ = "{";
};

}  // namespace gme
