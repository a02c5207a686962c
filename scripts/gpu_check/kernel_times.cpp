// Time by kernel of any CUDA program: CUDA_INJECTION64_PATH=libkernel-times.so GME_KERNEL_TIMES=F program
//
//   the driver loads this library -> CUPTI tells of each kernel and copy -> summed by name -> a line per name in F at the end
//
// Lines are: milliseconds, calls, name; tab between.

#include <cupti.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

namespace {

struct sum {
    double   milliseconds = 0;
    uint64_t calls        = 0;
};

std::mutex                 guard;
std::map<std::string, sum> sums;

void add(const std::string & name, uint64_t start, uint64_t end) {
    const std::lock_guard<std::mutex> lock(guard);
    sums[name].milliseconds += static_cast<double>(end - start) / 1e6;
    sums[name].calls++;
}

void CUPTIAPI give_buffer(uint8_t ** buffer, size_t * size, size_t * n_records) {
    *size      = 8 << 20;
    *buffer    = static_cast<uint8_t *>(std::aligned_alloc(8, *size));
    *n_records = 0;
}

void CUPTIAPI take_buffer(CUcontext, uint32_t, uint8_t * buffer, size_t, size_t valid) {
    CUpti_Activity * record = nullptr;
    while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
        if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
            // The fields that are read lie at the same place in all later forms of the record.
            const auto * kernel = reinterpret_cast<const CUpti_ActivityKernel9 *>(record);
            add(kernel->name == nullptr ? "?" : kernel->name, kernel->start, kernel->end);
        } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
            const auto * copy = reinterpret_cast<const CUpti_ActivityMemcpy5 *>(record);
            add("copy " + std::to_string(copy->copyKind), copy->start, copy->end);
        }
    }
    std::free(buffer);
}

void write_sums() {
    cuptiActivityFlushAll(1);
    const char * path = std::getenv("GME_KERNEL_TIMES");
    std::FILE *  file = path == nullptr ? nullptr : std::fopen(path, "w");
    if (file == nullptr) {
        return;
    }
    const std::lock_guard<std::mutex> lock(guard);
    for (const auto & [name, total] : sums) {
        std::fprintf(file, "%.3f\t%llu\t%s\n", total.milliseconds, static_cast<unsigned long long>(total.calls), name.c_str());
    }
    std::fclose(file);
}

}  // namespace

extern "C" int InitializeInjection() {
    if (cuptiActivityRegisterCallbacks(give_buffer, take_buffer) != CUPTI_SUCCESS || cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) != CUPTI_SUCCESS) {
        std::fprintf(stderr, "kernel times: CUPTI does not start\n");
        return 0;
    }
    cuptiActivityEnable(CUPTI_ACTIVITY_KIND_MEMCPY);
    std::atexit(write_sums);
    return 1;
}
