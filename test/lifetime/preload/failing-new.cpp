// Preloaded into a child: operator new throws at a chosen call on an engine thread. The caller chooses through a file of 64-bit numbers,
// GME_FAILING_NEW, that both have mapped or write:
//
//   [0] calls still to go until one throws; negative: none does
//   [1] what is thrown: 0 std::bad_alloc once, 1 std::bad_alloc from then on, 2 std::length_error, 3 std::runtime_error, 4 an int
//   [2] how many calls there were since it was set to 0
//   [3] how many of them threw
//
// Calls from Node's own code pass: it is built without exceptions and ends the process where memory is missing.
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>

namespace {

using number = std::atomic<int64_t>;

number *  control = nullptr;
uintptr_t node_begin = 0;
uintptr_t node_end   = 0;

int note_program(dl_phdr_info * info, size_t, void *) {
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            const uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            node_begin = node_begin == 0 ? begin : node_begin;
            node_end   = begin + info->dlpi_phdr[i].p_memsz;
        }
    }
    return 1;  // the first entry is the program
}

__attribute__((constructor)) void open_control() {
    dl_iterate_phdr(note_program, nullptr);
    const char * path = getenv("GME_FAILING_NEW");
    const int file = path ? open(path, O_RDWR) : -1;
    void * at = file < 0 ? MAP_FAILED : mmap(nullptr, 4 * sizeof(number), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (at != MAP_FAILED) {
        control = static_cast<number *>(at);
    }
    close(file);
}

bool is_engine_thread() {
    char name[16] = "";
    return pthread_getname_np(pthread_self(), name, sizeof(name)) == 0 && strcmp(name, "gme-engine") == 0;
}

// Whether the call at hand is the one that fails.
bool is_chosen(const void * caller) {
    const auto from = reinterpret_cast<uintptr_t>(caller);
    if (control == nullptr || (from >= node_begin && from < node_end) || !is_engine_thread()) {
        return false;
    }
    control[2].fetch_add(1);
    if (control[0].load() < 0) {
        return false;
    }
    const bool chosen = control[0].load() == 0;
    if (!chosen || control[1].load() != 1) {
        control[0].fetch_sub(1);
    }
    control[3].fetch_add(chosen);
    return chosen;
}

void * allocate(size_t size, size_t alignment, const void * caller) {
    if (is_chosen(caller)) {
        switch (control[1].load()) {
            case 2: throw std::length_error("thrown on purpose");
            case 3: throw std::runtime_error("thrown on purpose");
            case 4: throw 42;
            default: throw std::bad_alloc();
        }
    }
    void * at = alignment == 0 ? malloc(size) : aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (at == nullptr) {
        throw std::bad_alloc();
    }
    return at;
}

void * allocate_or_null(size_t size, size_t alignment, const void * caller) noexcept {
    try {
        return allocate(size, alignment, caller);
    } catch (...) {
        return nullptr;
    }
}

}  // namespace

#define CALLER __builtin_return_address(0)
void * operator new(size_t size) { return allocate(size, 0, CALLER); }
void * operator new[](size_t size) { return allocate(size, 0, CALLER); }
void * operator new(size_t size, std::align_val_t alignment) { return allocate(size, size_t(alignment), CALLER); }
void * operator new[](size_t size, std::align_val_t alignment) { return allocate(size, size_t(alignment), CALLER); }
void * operator new(size_t size, const std::nothrow_t &) noexcept { return allocate_or_null(size, 0, CALLER); }
void * operator new[](size_t size, const std::nothrow_t &) noexcept { return allocate_or_null(size, 0, CALLER); }
void * operator new(size_t size, std::align_val_t alignment, const std::nothrow_t &) noexcept {
    return allocate_or_null(size, size_t(alignment), CALLER);
}
void * operator new[](size_t size, std::align_val_t alignment, const std::nothrow_t &) noexcept {
    return allocate_or_null(size, size_t(alignment), CALLER);
}
void operator delete(void * at) noexcept { free(at); }
void operator delete[](void * at) noexcept { free(at); }
void operator delete(void * at, size_t) noexcept { free(at); }
void operator delete[](void * at, size_t) noexcept { free(at); }
void operator delete(void * at, std::align_val_t) noexcept { free(at); }
void operator delete[](void * at, std::align_val_t) noexcept { free(at); }
void operator delete(void * at, size_t, std::align_val_t) noexcept { free(at); }
void operator delete[](void * at, size_t, std::align_val_t) noexcept { free(at); }
