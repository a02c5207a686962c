// ggml-guard: between ggml's C code and the end of the process.
//
//   ggml: malloc, calloc, posix_memalign, pthread_create   ->  c-calls.h  ->  the C library, then the reserve
//   ggml: GGML_ASSERT, GGML_ABORT                          ->  the abort callback  ->  an exception, or one line and abort()
//
// ggml asserts that its small allocations and its threads succeed, or does not look at all. An exception from the middle of such a
// function would leave behind what it had made so far, so these failures look like successes until the function has returned: memory
// comes from a reserve, a thread that could not be started is none. Then the caller asks shortage(), frees the result through ggml and
// throws. Nothing is lost, and a model stays usable.
//
// An exception is right for the other assertions: a graph is built in memory of ours and holds no lock. While a graph runs, none is:
// the threads meet at every node, and one that left would keep all others there.

#define GME_GGML_GUARD
#include "ggml-guard.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

#include "c-calls.h"
#include "ggml-backend-impl.h"
#include "ggml-impl.h"

namespace gme {

namespace {

// One pointer per thread. glibc allocates a library's variables of a thread at their first use and ends the process when it cannot;
// the initial model needs no allocation. Other C libraries allocate when the thread starts, and musl knows no initial model here.
#if defined(__ELF__) && defined(__GLIBC__)
__attribute__((tls_model("initial-exec")))
#endif
thread_local ggml_scope * current = nullptr;

// A megabyte that costs nothing until memory has run out: the largest graph's plan and 512 threads' states fit.
class reserve {
  public:
    void * take(size_t size) {
        const std::lock_guard<std::mutex> lock(mutex_);
        const size_t                      rounded = (size + 63) / 64 * 64;
        if (rounded < size || rounded > sizeof bytes_ - used_) {
            return nullptr;
        }
        void * at = bytes_ + used_;
        used_ += rounded;
        n_taken_++;
        return at;
    }
    bool holds(const void * at) const { return at >= bytes_ && at < bytes_ + sizeof bytes_; }
    void give_back() {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (--n_taken_ == 0) {
            used_ = 0;
        }
    }

  private:
    alignas(64) char bytes_[1u << 20] = {};
    std::mutex       mutex_;
    size_t           used_    = 0;
    int              n_taken_ = 0;
};

reserve spare;

// "/where/it/was/built/ggml.c:12: GGML_ASSERT(…) failed" -> one line that begins with the file's name and holds no address.
size_t clean(const char * message, char * target, size_t size) {
    const char * colon = std::strchr(message, ':');
    for (const char * at = message; colon != nullptr && at < colon; at++) {
        if (*at == '/' || *at == '\\') {
            message = at + 1;
        }
    }
    size_t n = 0;
    while (*message != '\0' && n + 1 < size) {
        const bool address = message[0] == '0' && message[1] == 'x';
        target[n++]        = static_cast<unsigned char>(*message) < 0x20 ? ' ' : *message;
        message++;
        if (address && n + 2 < size) {
            target[n++] = 'x';
            message++;
            message += std::strspn(message, "0123456789abcdefABCDEF");
            target[n++] = '?';
        }
    }
    target[n] = '\0';
    return n;
}

// Once: other threads may meet the same assertion before the process is gone.
void write_line(const char * reason) {
    static std::atomic_flag told = ATOMIC_FLAG_INIT;
    if (told.test_and_set()) {
        return;
    }
    char      line[2400];
    const int n = std::snprintf(line, sizeof line, "gme-embed: ggml cannot go on, the process ends: %s; please report this line\n", reason);
    if (n > 0) {
        const auto size = static_cast<size_t>(n) < sizeof line ? static_cast<size_t>(n) : sizeof line - 1;
#if defined(_WIN32)
        (void) _write(2, line, static_cast<unsigned>(size));
#else
        (void) !write(2, line, size);
#endif
    }
}

// ggml tells of every buffer that it cannot get, which the caller learns from an error, and of every tensor that it repacks.
void quiet_log(ggml_log_level level, const char * text, void *) {
    if (current == nullptr && (level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR)) {
        std::fputs(text, stderr);
    }
}

}  // namespace

ggml_scope::ggml_scope(on_failure what) noexcept : outer_(current), what_(what) {
    current = this;
}

ggml_scope::~ggml_scope() {
    current = outer_;
}

const char * ggml_scope::shortage() noexcept {
    const char * what = no_memory_ ? "memory" : no_thread_ ? "threads" : nullptr;
    no_memory_ = no_thread_ = reserve_is_empty_ = false;
    return what;
}

struct ggml_guard {
    static bool raises() { return current != nullptr && current->what_ == ggml_scope::on_failure::raise; }

    // The C library had none. While a graph runs ggml makes an empty context and frees it at once: that works with the reserve too.
    static void * spare_memory(size_t size) {
        if (current == nullptr) {
            return nullptr;
        }
        void * memory              = spare.take(size);
        current->no_memory_        = true;
        current->reserve_is_empty_ = current->reserve_is_empty_ || memory == nullptr;
        return memory;
    }
    static void note_no_memory() {
        if (current != nullptr) {
            current->no_memory_ = true;
        }
    }
    static bool note_no_thread() {
        if (raises()) {
            current->no_thread_ = true;
        }
        return raises();
    }

    // From an assertion. With an empty reserve it may be one about memory, in the middle of something: no exception then.
    static void failed(const char * message) {
        char reason[2048];
        clean(message, reason, sizeof reason);
        if (raises() && !current->reserve_is_empty_) {
            throw ggml_failure(reason);
        }
        write_line(reason);
    }
};

namespace {

// Before ggml's own initialisers, one of which would make every std::terminate of the process start a debugger.
#if defined(__GNUC__) && !defined(__APPLE__)
__attribute__((constructor(101)))
#elif defined(__GNUC__)
__attribute__((constructor))
#endif
void start_guard() {
#if !defined(_WIN32)
    setenv("GGML_NO_BACKTRACE", "1", 0);
#endif
    ggml_set_abort_callback(ggml_guard::failed);
    ggml_log_set(quiet_log, nullptr);
}

#if !defined(__GNUC__)
const bool started = (start_guard(), true);
#endif

void free_graph_memory(ggml_backend_buffer_t buffer) {
    ggml_aligned_free(buffer->context, buffer->size);
}

ggml_backend_buffer_t allocate_graph_memory(ggml_backend_buffer_type_t, size_t size) {
    void * memory = ggml_aligned_malloc(size);
    if (memory == nullptr) {
        return nullptr;
    }
    try {
        ggml_backend_buffer_t buffer = ggml_backend_cpu_buffer_from_ptr(memory, size);
        buffer->iface.free_buffer    = free_graph_memory;
        return buffer;
    } catch (...) {
        ggml_aligned_free(memory, size);
        ggml_guard::note_no_memory();
        return nullptr;
    }
}

}  // namespace

ggml_backend_buffer_type_t graph_memory() {
    static ggml_backend_buffer_type type = [] {
        ggml_backend_buffer_type made = *ggml_backend_cpu_buffer_type();
        made.iface.alloc_buffer       = allocate_graph_memory;
        return made;
    }();
    return &type;
}

}  // namespace gme

#if !defined(_WIN32)

extern "C" {

void * gme_ggml_malloc(size_t size) {
    void * memory = std::malloc(size);
    return memory != nullptr ? memory : gme::ggml_guard::spare_memory(size);
}

void * gme_ggml_calloc(size_t n, size_t size) {
    void * memory = std::calloc(n, size);
    if (memory == nullptr && (size == 0 || n <= SIZE_MAX / size)) {
        memory = gme::ggml_guard::spare_memory(n * size);
        if (memory != nullptr) {
            std::memset(memory, 0, n * size);
        }
    }
    return memory;
}

int gme_ggml_memalign(void ** target, size_t alignment, size_t size) {
    const int failed = posix_memalign(target, alignment, size);
    if (failed != ENOMEM || alignment > 64) {
        return failed;
    }
    *target = gme::ggml_guard::spare_memory(size);
    return *target != nullptr ? 0 : failed;
}

void gme_ggml_free(void * memory) {
    if (gme::spare.holds(memory)) {
        gme::spare.give_back();
    } else {
        std::free(memory);
    }
}

// A thread that could not be started is 0, which is none: ggml clears the place before.
int gme_ggml_thread_create(pthread_t * thread, const pthread_attr_t * attributes, void * (*start)(void *), void * data) {
    const int failed = pthread_create(thread, attributes, start, data);
    if (failed != 0 && gme::ggml_guard::note_no_thread()) {
        std::memset(thread, 0, sizeof *thread);
        return 0;
    }
    return failed;
}

int gme_ggml_thread_join(pthread_t thread, void ** result) {
    static const pthread_t none = {};
    return std::memcmp(&thread, &none, sizeof none) == 0 ? 0 : pthread_join(thread, result);
}

}  // extern "C"

#endif
