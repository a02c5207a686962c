// device-list: libraries that drive devices, by path -> their devices, by name.
//
//   path -> loaded -> score (0: not for this machine) -> registry of the right version -> devices
//
// Loaded libraries belong to the process, since a driver cannot be loaded twice or unloaded safely; the list only grows, behind a mutex.
// What a library says while it starts is kept, for it is often the only reason why it has no devices.

#include "device-list.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <mutex>

#include "cpu-library.h"
#include "error.h"
#include "ggml-backend-impl.h"
#include "library-handle.h"

namespace gme {

namespace {

struct device_library {
    std::string        path;
    std::string        name;
    ggml_backend_reg_t registry = nullptr;
};

struct loaded_libraries {
    std::mutex                  mutex;
    std::vector<device_library> list;
};

// The one list of the process.
loaded_libraries & loaded() {
    static loaded_libraries libraries;
    return libraries;
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
    return text;
}

// ggml calls Metal's library "MTL".
std::string library_name(ggml_backend_reg_t registry) {
    const std::string name = lower(ggml_backend_reg_name(registry));
    return name == "mtl" ? "metal" : name;
}

error unavailable(const std::string & field, const std::string & message, const std::string & found, const std::string & wanted) {
    return error("GME_DEVICE_UNAVAILABLE", message).at_field(field).found(found).wanted(wanted);
}

// A library that brings its own copy of ggml's base writes to that copy's log; ours is quiet already.
class start_log {
  public:
    explicit start_log(const library_handle & library) {
        if (library.find("ggml_log_set", set_) && set_ != ggml_log_set) {
            set_(collect, &text_);
        } else {
            set_ = nullptr;
        }
    }
    ~start_log() {
        if (set_ != nullptr) {
            set_([](ggml_log_level, const char *, void *) {}, nullptr);
        }
    }
    const std::string & text() const { return text_; }

  private:
    static void collect(ggml_log_level level, const char * line, void * data) {
        auto & text = *static_cast<std::string *>(data);
        if ((level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR) && text.size() < 1000) {
            text += line;
        }
    }

    decltype(&ggml_log_set) set_ = nullptr;
    std::string             text_;
};

ggml_backend_reg_t start_library(const library_handle & library, std::string & reason) {
    ggml_backend_init_t  init  = nullptr;
    ggml_backend_score_t score = nullptr;
    if (!library.find("ggml_backend_init", init)) {
        reason = "it is no library of ggml's";
        return nullptr;
    }
    if (library.find("ggml_backend_score", score) && score() == 0) {
        reason = "it does not run on this machine";
        return nullptr;
    }
    const start_log    log(library);
    ggml_backend_reg_t registry = init();
    if (registry == nullptr) {
        reason = log.text().empty() ? "its driver could not be started" : log.text();
    } else if (registry->api_version != GGML_BACKEND_API_VERSION) {
        reason   = "it is of another ggml: interface " + std::to_string(registry->api_version) + " instead of " + std::to_string(GGML_BACKEND_API_VERSION);
        registry = nullptr;
    }
    return registry;
}

device_entry describe(const device_library & library, size_t index) {
    device_entry entry;
    entry.device  = ggml_backend_reg_dev_get(library.registry, index);
    entry.name    = library.name + ":" + std::to_string(index);
    entry.library = library.path;
    ggml_backend_dev_props props = {};
    ggml_backend_dev_get_props(entry.device, &props);
    entry.description  = props.description == nullptr ? "" : props.description;
    entry.id           = props.device_id == nullptr ? "" : props.device_id;
    entry.memory_free  = static_cast<int64_t>(props.memory_free);
    entry.memory_total = static_cast<int64_t>(props.memory_total);
    entry.discrete     = props.type == GGML_BACKEND_DEVICE_TYPE_GPU;
    const std::string words = lower(entry.description);
    entry.software          = words.find("llvmpipe") != std::string::npos || words.find("swiftshader") != std::string::npos;
    return entry;
}

}  // namespace

std::string add_device_library(const std::string & path) {
    std::error_code   failed;
    const auto        whole = std::filesystem::weakly_canonical(std::filesystem::u8path(path), failed);
    const std::string file  = failed ? path : whole.u8string();
    auto &            all   = loaded();
    const std::lock_guard<std::mutex> lock(all.mutex);
    for (const auto & library : all.list) {
        if (library.path == file) {
            return library.name;
        }
    }
    std::string          reason;
    const library_handle handle   = library_handle::open(file, reason);
    ggml_backend_reg_t   registry = handle ? start_library(handle, reason) : nullptr;
    if (registry == nullptr) {
        throw unavailable("backend", printable(file) + " cannot be used: " + printable(reason), reason, "a library of devices of this version of ggml").in_file(file);
    }
    all.list.push_back({ file, library_name(registry), registry });
    return all.list.back().name;
}

std::vector<device_entry> list_devices() {
    auto &                            all = loaded();
    const std::lock_guard<std::mutex> lock(all.mutex);
    std::vector<device_entry>         entries;
    for (const auto & library : all.list) {
        for (size_t i = 0; i < ggml_backend_reg_dev_count(library.registry); i++) {
            entries.push_back(describe(library, i));
        }
    }
    return entries;
}

device_entry find_device(const std::string & wanted) {
    if (wanted == stand_in_device) {
        device_entry entry = describe({ "", "cpu", find_cpu_library().registry() }, 0);
        entry.name         = stand_in_device;
        return entry;
    }
    std::string names;
    for (const auto & entry : list_devices()) {
        const bool first_of = entry.name == wanted + ":0";
        if (entry.name == wanted || first_of || (!entry.id.empty() && entry.id == wanted)) {
            return entry;
        }
        names += (names.empty() ? "" : ", ") + entry.name;
    }
    const std::string there = names.empty() ? "no device beside the processor" : names;
    throw unavailable("device", "there is no device " + printable(wanted) + ": " + there, wanted, "auto, cpu or one of the devices: " + there);
}

std::vector<device_entry> rank_devices() {
    std::vector<device_entry> entries = list_devices();
    entries.erase(std::remove_if(entries.begin(), entries.end(), [](const device_entry & entry) { return entry.software; }), entries.end());
    std::stable_sort(entries.begin(), entries.end(), [](const device_entry & a, const device_entry & b) {
        return a.discrete != b.discrete ? a.discrete : a.memory_free > b.memory_free;
    });
    return entries;
}

}  // namespace gme
