// A library of the system's loader, by path.
#pragma once

#include <string>

namespace gme {

// Stays loaded to the end of the process: threads of a driver may be in its code.
class library_handle {
  public:
    // No handle when it does not load; `reason` is the loader's.
    static library_handle open(const std::string & path, std::string & reason);

    explicit operator bool() const { return handle_ != nullptr; }
    // nullptr: the library has no such symbol.
    void * symbol(const char * name) const;

    template <typename F> bool find(const char * name, F & target) const {
        target = reinterpret_cast<F>(symbol(name));
        return target != nullptr;
    }

  private:
    void * handle_ = nullptr;
};

// The folder of the file that the engine was loaded from; empty where the system does not tell.
std::string engine_folder();

}  // namespace gme
