// Devices beside the processor: the libraries of ggml that drive them, and the choice among them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ggml-backend.h"

namespace gme {

struct device_entry {
    ggml_backend_dev_t device = nullptr;
    std::string        name;         // "cuda:0": the library's own name and the number there
    std::string        description;  // what the driver calls it
    std::string        id;           // PCI address, empty where it has none
    std::string        library;      // path of its library
    int64_t            memory_free  = 0, memory_total = 0;  // bytes, as of now
    bool               discrete     = false;                // memory of its own
    bool               software     = false;                // a driver that computes on the processor
};

// Loads a library of ggml's by path and adds its devices to the process; the name of the library ("vulkan"). A library that is there
// already is not loaded again. GME_DEVICE_UNAVAILABLE with the loader's or the library's own words.
std::string add_device_library(const std::string & path);

// In the order of their libraries and of the numbers there.
std::vector<device_entry> list_devices();

// The device that `wanted` names: "cuda:1", "cuda" (its first), or a PCI address. GME_DEVICE_UNAVAILABLE: there is none; the error
// lists what there is.
device_entry find_device(const std::string & wanted);

// Devices that may be chosen without being named, the best first: memory of their own before shared, then most free memory.
std::vector<device_entry> rank_devices();

// ggml's own kernels on the processor in the place of a device, for tests without one.
constexpr const char * stand_in_device = "cpu:ggml";

}  // namespace gme
