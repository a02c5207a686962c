// library-handle: the few calls of the system's loader.
//
//   path -> its own symbols only, all resolved at once -> handle, or the loader's reason
//
// RTLD_LOCAL and full paths: another copy of ggml in the process neither finds our libraries nor is found by them.

#include "library-handle.h"

#include <filesystem>

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace gme {

namespace fs = std::filesystem;

#if defined(_WIN32)

library_handle library_handle::open(const std::string & path, std::string & reason) {
    library_handle library;
    // Its own folder is searched for what it needs, and no other folder of the path.
    library.handle_ = LoadLibraryExW(fs::u8path(path).wstring().c_str(), nullptr, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
    if (!library) {
        reason = "Windows error " + std::to_string(GetLastError());
    }
    return library;
}

void * library_handle::symbol(const char * name) const {
    return reinterpret_cast<void *>(GetProcAddress(static_cast<HMODULE>(handle_), name));
}

std::string engine_folder() {
    HMODULE    self  = nullptr;
    const auto flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
    wchar_t    path[32768];
    if (!GetModuleHandleExW(flags, reinterpret_cast<const wchar_t *>(&engine_folder), &self) || GetModuleFileNameW(self, path, 32768) == 0) {
        return "";
    }
    return fs::path(path).parent_path().u8string();
}

#else

library_handle library_handle::open(const std::string & path, std::string & reason) {
    library_handle library;
    library.handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char * told = dlerror();
        reason            = told == nullptr ? "the loader gives no reason" : told;
    }
    return library;
}

void * library_handle::symbol(const char * name) const {
    return dlsym(handle_, name);
}

std::string engine_folder() {
    Dl_info info = {};
    if (dladdr(reinterpret_cast<void *>(&engine_folder), &info) == 0 || info.dli_fname == nullptr) {
        return "";
    }
    std::error_code failed;
    const fs::path  file = fs::canonical(info.dli_fname, failed);
    return (failed ? fs::path(info.dli_fname) : file).parent_path().string();
}

#endif

}  // namespace gme
