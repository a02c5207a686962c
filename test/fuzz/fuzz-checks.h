// What every harness shares: the bytes of an input, a file to hold them, and the way a broken promise is reported.
//
// A harness is one LLVMFuzzerTestOneInput. Under libFuzzer a violation leaves it as an exception that nobody catches: the process
// ends with the stack of the place. test/engine/test-fuzz-replay.cpp catches it and says which input it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unistd.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size);

namespace fuzz {

struct violation : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline void must(bool holds, const std::string & promise) {
    if (!holds) {
        throw violation("broken promise: " + promise);
    }
}

// For places where the text would cost more than the check.
inline void must(bool holds, const char * promise) {
    if (!holds) {
        throw violation(std::string("broken promise: ") + promise);
    }
}

// Numbers from the front of the input; zeros when it is used up.
class byte_source {
  public:
    byte_source(const uint8_t * data, size_t size) : at_(data), left_(size) {}

    size_t left() const { return left_; }

    template <typename T> T take() {
        T            value{};
        const size_t n = left_ < sizeof(T) ? left_ : sizeof(T);
        if (n > 0) {
            std::memcpy(&value, at_, n);
        }
        at_ += n;
        left_ -= n;
        return value;
    }

    uint8_t byte() { return take<uint8_t>(); }

    std::string_view text(size_t size) {
        const size_t           n = left_ < size ? left_ : size;
        const std::string_view found(reinterpret_cast<const char *>(at_), n);
        at_ += n;
        left_ -= n;
        return found;
    }

    std::string_view rest() { return text(left_); }

  private:
    const uint8_t * at_;
    size_t          left_;
};

// A folder in memory where the system has one; its files go when the process ends in order.
class scratch_folder {
  public:
    scratch_folder() {
        const char * places[] = { "/dev/shm", std::getenv("TMPDIR"), "/tmp" };
        for (const char * place : places) {
            std::string name = std::string(place == nullptr ? "/tmp" : place) + "/gme-fuzz-XXXXXX";
            if (mkdtemp(&name[0]) != nullptr) {
                path_ = name;
                return;
            }
        }
        throw std::runtime_error("no folder for the fuzzers' files");
    }
    ~scratch_folder() { rmdir(path_.c_str()); }
    scratch_folder(const scratch_folder &) = delete;

    const std::string & path() const { return path_; }

  private:
    std::string path_;
};

// One file whose bytes are replaced before each input.
class scratch_file {
  public:
    scratch_file(const scratch_folder & folder, const std::string & name) : path_(folder.path() + "/" + name) {}
    ~scratch_file() { remove(); }
    scratch_file(const scratch_file &) = delete;

    const std::string & path() const { return path_; }

    void write(const void * data, size_t size) {
        const int descriptor = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        const bool whole     = descriptor >= 0 && ::write(descriptor, data, size) == static_cast<ssize_t>(size);
        if (descriptor >= 0) {
            close(descriptor);
        }
        if (!whole) {
            throw std::runtime_error("cannot write " + path_);
        }
    }

    void remove() { unlink(path_.c_str()); }

  private:
    std::string path_;
};

inline bool starts_with(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

// No control character, no invalid UTF-8: what any error's text may show of a file or a text from outside.
void must_be_printable(std::string_view text, const char * what);

// test/fixtures, from the environment or from where the sources lay.
inline std::string fixtures_folder() {
    const char * given = std::getenv("GME_FUZZ_FIXTURES");
    return given != nullptr ? given : GME_FUZZ_FIXTURES;
}

}  // namespace fuzz
