// Allocations that fail on request. The linker leads every malloc, … of the program here (CMakeLists.txt: --wrap), and the program's
// operator new is this one. Included once, by the test that is linked so.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include <sys/mman.h>

namespace failing {

// One thread asks for failures and only its allocations are counted; what is alive is followed for all.
inline thread_local bool     armed = false;
inline std::atomic<bool>     any_armed{ false };
inline long                  n_seen = 0, fail_at = 0, n_failed = 0;
inline bool                  persistent = false;
inline std::atomic<long>     n_elsewhere{ 0 };  // by other threads while one was armed
inline std::atomic<long>     n_alive{ 0 };      // allocations and mappings
inline std::atomic<uint64_t> n_bytes{ 0 };      // asked for while armed
inline std::atomic_flag      lock = ATOMIC_FLAG_INIT;

// Addresses that are alive: open addressing, no allocation of its own.
constexpr size_t  n_slots = 1u << 18;
inline uintptr_t  slots[n_slots];
constexpr uintptr_t removed = 1;

inline size_t slot_of(uintptr_t address) {
    return static_cast<size_t>((address >> 4) * 0x9E3779B97F4A7C15ull >> 46) % n_slots;
}

inline void take_lock() {
    while (lock.test_and_set(std::memory_order_acquire)) {
    }
}

inline void * born(void * memory) {
    if (memory != nullptr) {
        take_lock();
        size_t at = slot_of(reinterpret_cast<uintptr_t>(memory));
        while (slots[at] > removed) {
            at = (at + 1) % n_slots;
        }
        slots[at] = reinterpret_cast<uintptr_t>(memory);
        n_alive++;
        lock.clear(std::memory_order_release);
    }
    return memory;
}

inline void dead(const void * memory) {
    const auto address = reinterpret_cast<uintptr_t>(memory);
    if (address == 0) {
        return;
    }
    take_lock();
    size_t at = slot_of(address);
    for (size_t tried = 0; tried < n_slots && slots[at] != 0; tried++, at = (at + 1) % n_slots) {
        if (slots[at] == address) {
            slots[at] = removed;
            n_alive--;
            break;
        }
    }
    lock.clear(std::memory_order_release);
}

inline bool fails(size_t size) {
    if (!armed) {
        n_elsewhere += any_armed.load(std::memory_order_relaxed);
        return false;
    }
    n_bytes += size;
    n_seen++;
    const bool now = persistent ? n_seen >= fail_at : n_seen == fail_at;
    n_failed += now;
    if (now) {
        errno = ENOMEM;
    }
    return now;
}

// The n-th allocation of this thread from now on fails, and with `all_later` every later one; 0: none.
inline void arm(long n, bool all_later) {
    n_seen = n_failed = 0;
    fail_at           = n == 0 ? INT64_MAX : n;
    persistent        = all_later;
    armed             = true;
    any_armed         = true;
}

inline void disarm() {
    armed     = false;
    any_armed = false;
}

}  // namespace failing

extern "C" {

void * __real_malloc(size_t size);
void * __real_calloc(size_t n, size_t size);
void * __real_realloc(void * memory, size_t size);
int    __real_posix_memalign(void ** target, size_t alignment, size_t size);
void * __real_aligned_alloc(size_t alignment, size_t size);
void   __real_free(void * memory);
void * __real_mmap(void * at, size_t size, int protection, int flags, int file, off_t offset);
int    __real_munmap(void * at, size_t size);

void * __wrap_malloc(size_t size) {
    return failing::fails(size) ? nullptr : failing::born(__real_malloc(size));
}

void * __wrap_calloc(size_t n, size_t size) {
    return failing::fails(n * size) ? nullptr : failing::born(__real_calloc(n, size));
}

void * __wrap_realloc(void * memory, size_t size) {
    if (failing::fails(size)) {
        return nullptr;
    }
    failing::dead(memory);
    return failing::born(__real_realloc(memory, size));
}

int __wrap_posix_memalign(void ** target, size_t alignment, size_t size) {
    if (failing::fails(size)) {
        return ENOMEM;
    }
    const int result = __real_posix_memalign(target, alignment, size);
    if (result == 0) {
        failing::born(*target);
    }
    return result;
}

void * __wrap_aligned_alloc(size_t alignment, size_t size) {
    return failing::fails(size) ? nullptr : failing::born(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void * memory) {
    failing::dead(memory);
    __real_free(memory);
}

void * __wrap_mmap(void * at, size_t size, int protection, int flags, int file, off_t offset) {
    if (failing::fails(0)) {
        return MAP_FAILED;
    }
    void * mapped = __real_mmap(at, size, protection, flags, file, offset);
    return mapped == MAP_FAILED ? mapped : failing::born(mapped);
}

int __wrap_munmap(void * at, size_t size) {
    failing::dead(at);
    return __real_munmap(at, size);
}

}  // extern "C"

static void * new_memory(size_t size, size_t alignment) {
    return alignment <= alignof(std::max_align_t) ? __wrap_malloc(size == 0 ? 1 : size)
                                                  : __wrap_aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void * new_or_throw(size_t size, size_t alignment) {
    void * memory = new_memory(size, alignment);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}

void * operator new(size_t size) { return new_or_throw(size, 1); }
void * operator new[](size_t size) { return new_or_throw(size, 1); }
void * operator new(size_t size, std::align_val_t at) { return new_or_throw(size, static_cast<size_t>(at)); }
void * operator new[](size_t size, std::align_val_t at) { return new_or_throw(size, static_cast<size_t>(at)); }
void * operator new(size_t size, const std::nothrow_t &) noexcept { return new_memory(size, 1); }
void * operator new[](size_t size, const std::nothrow_t &) noexcept { return new_memory(size, 1); }
void * operator new(size_t size, std::align_val_t at, const std::nothrow_t &) noexcept { return new_memory(size, static_cast<size_t>(at)); }
void * operator new[](size_t size, std::align_val_t at, const std::nothrow_t &) noexcept { return new_memory(size, static_cast<size_t>(at)); }
void   operator delete(void * memory) noexcept { __wrap_free(memory); }
void   operator delete[](void * memory) noexcept { __wrap_free(memory); }
void   operator delete(void * memory, size_t) noexcept { __wrap_free(memory); }
void   operator delete[](void * memory, size_t) noexcept { __wrap_free(memory); }
void   operator delete(void * memory, std::align_val_t) noexcept { __wrap_free(memory); }
void   operator delete[](void * memory, std::align_val_t) noexcept { __wrap_free(memory); }
void   operator delete(void * memory, size_t, std::align_val_t) noexcept { __wrap_free(memory); }
void   operator delete[](void * memory, size_t, std::align_val_t) noexcept { __wrap_free(memory); }
