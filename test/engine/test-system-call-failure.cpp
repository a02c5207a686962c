// Every pthread_create, mmap, open, pread, fstat and stat of the engine fails once, with each reason that the system has for it.
//
// The linker leads these calls here (CMakeLists.txt: --wrap); libstdc++ is linked statically, so that std::thread comes too. Each time the
// call must end with the error that stands beside the reason, leave no thread and no file open, and another model's vectors as they were.
#include "checks.h"
#include "engine-model.h"
#include "seeded-picture.h"

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <functional>

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using checks::check;

namespace {

enum call { thread_create, map, open_file, read_file, file_status, path_status, n_calls };

constexpr int shorter = -1, one_byte = -2;  // reasons of pread that are no errors

call              failing = n_calls;
int               reason  = 0;
std::atomic<long> n_seen{ 0 }, fail_at{ 0 }, n_failed{ 0 };

bool fails(call which) {
    if (which != failing || ++n_seen != fail_at) {
        return false;
    }
    n_failed++;
    errno = reason;
    return true;
}

}  // namespace

extern "C" {

int     __real_pthread_create(pthread_t * thread, const pthread_attr_t * attributes, void * (*start)(void *), void * data);
void *  __real_mmap(void * at, size_t size, int protection, int flags, int file, off_t offset);
int     __real_open(const char * path, int flags, ...);
ssize_t __real_pread(int file, void * target, size_t size, off_t offset);
int     __real_fstat(int file, struct stat * status);
int     __real_stat(const char * path, struct stat * status);

int __wrap_pthread_create(pthread_t * thread, const pthread_attr_t * attributes, void * (*start)(void *), void * data) {
    return fails(thread_create) ? reason : __real_pthread_create(thread, attributes, start, data);
}

void * __wrap_mmap(void * at, size_t size, int protection, int flags, int file, off_t offset) {
    return fails(map) ? MAP_FAILED : __real_mmap(at, size, protection, flags, file, offset);
}

int __wrap_open(const char * path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    const int mode = (flags & O_CREAT) != 0 ? va_arg(list, int) : 0;
    va_end(list);
    return fails(open_file) ? -1 : __real_open(path, flags, mode);
}

ssize_t __wrap_pread(int file, void * target, size_t size, off_t offset) {
    if (!fails(read_file)) {
        return __real_pread(file, target, size, offset);
    }
    return reason == shorter ? 0 : reason == one_byte ? __real_pread(file, target, 1, offset) : -1;
}

int __wrap_fstat(int file, struct stat * status) {
    return fails(file_status) ? -1 : __real_fstat(file, status);
}

int __wrap_stat(const char * path, struct stat * status) {
    return fails(path_status) ? -1 : __real_stat(path, status);
}

}  // extern "C"

namespace {

long n_entries(const char * folder) {
    long n = 0;
    for (const auto & entry : std::filesystem::directory_iterator(folder)) {
        n += !entry.path().empty();
    }
    return n;
}

struct scenario {
    const char *                 name;
    std::function<std::string()> run;  // the code of its error, "" when it succeeds
};

struct fault {
    call         which;
    int          reason;
    const char * name;
    const char * expected;  // "": the call succeeds all the same
};

const fault faults[] = {
    { thread_create, EAGAIN, "pthread_create EAGAIN", "GME_OUT_OF_MEMORY" }, { map, ENOMEM, "mmap ENOMEM", "GME_OUT_OF_MEMORY" },
    { map, EAGAIN, "mmap EAGAIN", "GME_IO_ERROR" },                          { map, ENODEV, "mmap ENODEV", "GME_IO_ERROR" },
    { open_file, EMFILE, "open EMFILE", "GME_IO_ERROR" },                    { open_file, EACCES, "open EACCES", "GME_IO_ERROR" },
    { open_file, EINTR, "open EINTR", "" },                                  { read_file, EIO, "pread EIO", "GME_IO_ERROR" },
    { read_file, EINTR, "pread EINTR", "" },                                 { read_file, shorter, "pread 0 bytes", "GME_CHANGED_WHILE_OPEN" },
    { read_file, one_byte, "pread 1 byte", "" },                             { file_status, EIO, "fstat EIO", "GME_IO_ERROR" },
    { path_status, EACCES, "stat EACCES", "" },
};

std::string decoder, tower;

std::string load(bool use_mmap, gme_model ** to, int32_t n_threads = 4) {
    gme_load_params params = gme_load_params_default();
    params.n_threads       = n_threads;
    params.use_mmap        = use_mmap;
    params.mmproj          = tower.c_str();
    gme_error * error      = nullptr;
    gme_model_load(decoder.c_str(), &params, to, &error);
    const std::string code = error == nullptr ? "" : error->code;
    gme_error_free(error);
    return code;
}

std::string load_and_embed(bool use_mmap) {
    gme_model * model = nullptr;
    std::string code  = load(use_mmap, &model);
    if (model != nullptr) {
        const gme_item     item  = engine::text_item(decoder);
        const auto         with  = gme_embed_params_default();
        gme_error *        error = nullptr;
        std::vector<float> to(static_cast<size_t>(gme_model_dimensions(model)));
        gme_embed(model, &item, 1, &with, to.data(), &error);
        code = error == nullptr ? "" : error->code;
        gme_error_free(error);
        gme_model_free(model);
    }
    return code;
}

std::string roofline() {
    gme_roofline measured = {};
    gme_error *  error    = nullptr;
    gme_roofline_measure("f16", nullptr, 4, 0, nullptr, nullptr, &measured, &error);
    const std::string code = error == nullptr ? "" : error->code;
    gme_error_free(error);
    return code;
}

std::string quantize() {
    static const std::vector<float> rows(256 * 256, 0.5f);
    static std::vector<char>        to(256 * gme_row_size("q8_0", 256));
    gme_error *                     error = nullptr;
    gme_quantize_rows("f32", rows.data(), 256, 256, "q8_0", 4, to.data(), &error);
    const std::string code = error == nullptr ? "" : error->code;
    gme_error_free(error);
    return code;
}

// Every call of one kind, or every step-th, for one reason.
void fail_each(const scenario & what, const fault & with, bool may_do_without, long step, const std::function<bool()> & intact) {
    long n = 0, n_expected = 0, n_without = 0, n_left = 0, n_changed = 0;
    for (long at = 1 + time(nullptr) % step;; at += step, n++) {
        const long threads = n_entries("/proc/self/task"), files = n_entries("/proc/self/fd");
        n_seen = n_failed = 0;
        fail_at           = at;
        failing           = with.which;
        reason            = with.reason;
        const std::string code = what.run();
        failing                = n_calls;
        if (n_failed == 0) {
            break;
        }
        n_expected += code == with.expected;
        n_without += may_do_without && code.empty() && with.expected[0] != '\0';
        if (code != with.expected && !(may_do_without && code.empty())) {
            std::printf("# %s, %s number %ld: %s\n", what.name, with.name, at, code.c_str());
        }
        n_left += n_entries("/proc/self/task") != threads || n_entries("/proc/self/fd") != files;
        n_changed += !intact();
    }
    if (n > 0) {
        check(n_expected + n_without == n, std::string("L18 ") + what.name + ": whichever call fails with " + with.name + ", it ends with " +
                                               (with.expected[0] == '\0' ? "success" : with.expected) + (n_without > 0 ? " or does without" : ""));
        check(n_left == 0 && n_changed == 0, std::string("L18 ") + what.name + ", " + with.name + ": no thread and no file stays, vectors stay the same bits");
        std::printf("# L18: %s: %s at each of %ld calls%s: %ld as expected, %ld done without, 0 crashes, %ld threads or files left\n", what.name, with.name, n,
                    step == 1 ? "" : " of many", n_expected, n_without, n_left);
    }
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string folder = argc > 1 ? argv[1] : "test/fixtures";
    decoder                  = folder + "/gguf/tiny-a-f32.gguf";
    tower                    = folder + "/gguf/mmproj-tiny-a-f32.gguf";
    engine::model model(decoder, tower);
    const auto    items  = std::vector<gme_item>{ engine::text_item(decoder) };
    const auto    golden = model.embed(items);
    const auto    intact = [&] { return model.embed(items) == golden; };
    const scenario scenarios[] = {
        { "loading and embedding, mapped", [] { return load_and_embed(true); } },
        { "loading and embedding, owned", [] { return load_and_embed(false); } },
    };
    const bool whole   = std::getenv("GME_TEST_LONG") != nullptr;  // every read, not every 29th
    long       n_kinds = 0;
    for (const auto & what : scenarios) {
        for (const auto & with : faults) {
            const auto before = checks::n_failed;
            fail_each(what, with, false, with.which == read_file && !whole ? 29 : 1, intact);
            n_kinds += before == checks::n_failed;
        }
    }
    check(n_kinds == 2 * static_cast<long>(std::size(faults)), "L18 every kind of failure was tried");
    // These go on with fewer threads. The pool of a roofline cannot.
    fail_each({ "quantising rows", quantize }, faults[0], true, 1, intact);
    fail_each({ "measuring the roofline", roofline }, faults[0], true, whole ? 1 : 6, intact);
    return checks::result();
}
