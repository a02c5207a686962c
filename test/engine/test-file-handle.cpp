// Model files on a disk that fails, and files that change while they are loaded.
//
// The system calls of file-handle.cpp end in this program's own definitions, which fail, read little, are interrupted or lie on demand.
#include "checks.h"
#include "engine-model.h"
#include "gguf-file.h"

#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

using checks::check;
using checks::failure_of;

namespace fs = std::filesystem;

#ifdef __linux__

namespace {

struct disk {
    int  interruptions = 0;   // how often each call fails with EINTR before it is made
    bool reads_little  = false;
    int  bad_read      = -1;  // number of the read that fails with `error`, or comes back as 0xFF where that is 0
    int  error         = 0;
    int  lie_at        = -1;  // the byte of the file that the bad read answers with 14, where not all of it is 0xFF
    int  bad_stat      = -1;  // number of the fstat that fails with EIO
    int  map_error     = 0;
    int  n_reads = 0, n_stats = 0, n_writable = 0, interrupted = 0;
};
disk faults;

bool interrupt() {
    if (faults.interrupted < faults.interruptions) {
        faults.interrupted++;
        errno = EINTR;
        return true;
    }
    faults.interrupted = 0;
    return false;
}

}  // namespace

// The names are the C library's; other names here keep its headers' inline versions out of the way.
extern "C" {
int     disk_open(const char * path, int flags, ...) __asm__("open");
ssize_t disk_pread(int descriptor, void * target, size_t size, off_t at) __asm__("pread");
int     disk_fstat(int descriptor, struct stat * status) __asm__("fstat");
void *  disk_mmap(void * address, size_t size, int protection, int flags, int descriptor, off_t at) __asm__("mmap");

int disk_open(const char * path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const int mode = (flags & O_CREAT) != 0 ? va_arg(more, int) : 0;
    va_end(more);
    if (interrupt()) {
        return -1;
    }
    faults.n_writable += (flags & O_ACCMODE) != O_RDONLY;
    return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

ssize_t disk_pread(int descriptor, void * target, size_t size, off_t at) {
    if (interrupt()) {
        return -1;
    }
    const bool bad = faults.n_reads++ == faults.bad_read;
    if (bad && faults.error != 0) {
        errno = faults.error;
        return -1;
    }
    const size_t  n    = faults.reads_little ? (size + 6) / 7 : size;
    const ssize_t read = syscall(SYS_pread64, descriptor, target, n, at);
    if (bad && read > 0 && faults.lie_at < 0) {
        std::memset(target, 0xFF, static_cast<size_t>(read));
    } else if (bad && read > faults.lie_at) {
        static_cast<char *>(target)[faults.lie_at] = 14;
    }
    return read;
}

int disk_fstat(int descriptor, struct stat * status) {
    if (faults.n_stats++ == faults.bad_stat) {
        errno = EIO;
        return -1;
    }
    return static_cast<int>(syscall(SYS_fstat, descriptor, status));
}

void * disk_mmap(void * address, size_t size, int protection, int flags, int descriptor, off_t at) {
    if (descriptor >= 0 && faults.map_error != 0) {
        errno = faults.map_error;
        return MAP_FAILED;
    }
    return reinterpret_cast<void *>(syscall(SYS_mmap, address, size, protection, flags, descriptor, at));
}
}

namespace {

struct pair_of_files {
    fs::path    folder;
    std::string decoder, mmproj;
};

pair_of_files copy_pair(const std::string & fixtures, const fs::path & folder) {
    const pair_of_files copies = { folder, (folder / "decoder.gguf").string(), (folder / "tower.gguf").string() };
    fs::remove(copies.decoder);
    fs::remove(copies.mmproj);
    fs::copy_file(fixtures + "/gguf/tiny-a-f32.gguf", copies.decoder);
    fs::copy_file(fixtures + "/gguf/mmproj-tiny-a-f32.gguf", copies.mmproj);
    for (const auto & path : { copies.decoder, copies.mmproj }) {
        // In the past, so that each change shows in the time, however coarse the system's clock.
        fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(1));
    }
    return copies;
}

gme_load_params params_of(bool use_mmap) {
    gme_load_params params = gme_load_params_default();
    params.use_mmap        = use_mmap;
    return params;
}

int open_files() {
    int n = 0;
    for (const auto & entry : fs::directory_iterator("/proc/self/fd")) {
        n += entry.path().empty() ? 0 : 1;
    }
    return n;
}

// Loads with `disk` in force; the code and field of its failure, or "" and the vector of a text.
std::string load_on(const disk & how, const pair_of_files & files, bool use_mmap, std::vector<float> * vector = nullptr) {
    faults = how;
    engine::model model(files.decoder, files.mmproj, 1, params_of(use_mmap));
    const std::string failure = model.failure;
    if (failure.empty() && vector != nullptr) {
        *vector = model.embed({ engine::text_item("a photo") });
    }
    return failure;
}

void check_slow_disks(const pair_of_files & files, const std::vector<float> & golden) {
    for (const bool use_mmap : { true, false }) {
        const std::string  how = use_mmap ? " (mapped)" : " (read)";
        std::vector<float> vector;
        disk               slow;
        slow.reads_little = true;
        check(load_on(slow, files, use_mmap, &vector).empty() && vector == golden, "G109 short reads give the same vector" + how);
        slow.interruptions = 5;
        check(load_on(slow, files, use_mmap, &vector).empty() && vector == golden, "G109 reads that are interrupted five times each give the same vector" + how);
        check(faults.n_writable == 0 && faults.n_reads > 10, "G109 nothing is opened for writing" + how);
    }
}

// Every single read fails, or comes back as something else.
void check_each_read(const pair_of_files & files, bool use_mmap) {
    load_on({}, files, use_mmap);
    const int n_reads  = faults.n_reads;
    const int n_before = open_files();
    int       n_failed = 0, n_typed = 0, n_loaded = 0;
    for (int i = 0; i < n_reads; i++) {
        disk broken;
        broken.bad_read = i;
        broken.error    = EIO;
        n_failed += load_on(broken, files, use_mmap) == "GME_IO_ERROR errno";
        broken.error              = 0;
        const std::string failure = load_on(broken, files, use_mmap);
        n_loaded += failure.empty();
        n_typed += failure.rfind("GME_", 0) == 0 && failure.rfind("GME_INTERNAL", 0) != 0;
    }
    const std::string how = use_mmap ? " (mapped)" : " (read)";
    check(n_reads > 10 && n_failed == n_reads, "G109 each of " + std::to_string(n_reads) + " reads that fails is GME_IO_ERROR" + how);
    check(n_typed + n_loaded == n_reads, "G109 each read that comes back as something else is a typed error or other weights" + how);
    check(open_files() == n_before, "G109 no file stays open" + how);
    std::printf("# G109: %d reads failed one by one%s: GME_IO_ERROR each; the same reads answered with 0xFF: %d typed errors, %d loads with other weights\n",
                n_reads, how.c_str(), n_typed, n_loaded);
}

void check_other_calls(const pair_of_files & files) {
    disk broken;
    broken.bad_stat = 0;
    check(load_on(broken, files, true) == "GME_IO_ERROR errno", "G109 a file that cannot be examined");
    int n_stats = 0;
    for (int i = 1; i < 10 && n_stats == 0; i++) {
        broken.bad_stat           = i;
        const std::string failure = load_on(broken, files, true);
        if (failure.empty()) {
            n_stats = i;
        } else {
            check(failure == "GME_IO_ERROR errno", "G109 fstat number " + std::to_string(i) + " fails");
        }
    }
    check(n_stats >= 4, "G110 both files are examined at the beginning and at the end");
    disk narrow;
    narrow.map_error = ENOMEM;
    check(load_on(narrow, files, true) == "GME_OUT_OF_MEMORY ", "G109 no address space");
    narrow.map_error = ENODEV;
    check(load_on(narrow, files, true) == "GME_IO_ERROR errno", "G109 a file system that maps nothing");
    check(load_on(narrow, files, false).empty(), "G109 … and reading works there");
    disk full;
    full.bad_read = 0;
    full.error    = 12345;
    check(load_on(full, files, true) == "GME_IO_ERROR errno", "G109 an error without a name");
    faults = {};
}

// The header is read twice: while it is checked, and to keep it. What has changed in between must not be believed.
void check_second_reading(const pair_of_files & files) {
    const std::string path  = (files.folder / "strings.gguf").string();
    const auto        write = [&](const std::string & bytes) { std::ofstream(path, std::ios::binary) << bytes; };
    const std::string head("GGUF\3\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0a\11\0\0\0\10\0\0\0\2\0\0\0\0\0\0\0", 49);
    write(head + std::string("\12\0\0\0\0\0\0\0aaaaaaaaaa\0\0\0\0\0\0\0\0", 26));
    faults          = {};
    faults.bad_read = 1;
    faults.lie_at   = 49;  // the first string's length becomes 14: the second one's begins 4 bytes before the end
    const gme::gguf_file shorter(path);
    check(failure_of([&] { shorter.find_strings("a"); }) == "GME_CHANGED_WHILE_OPEN ", "G110 a string that grew between two readings");
    faults          = {};
    faults.bad_read = 1;
    const gme::gguf_file nonsense(path);
    check(failure_of([&] { nonsense.find_strings("a"); }) == "GME_CHANGED_WHILE_OPEN " && failure_of([&] { nonsense.value_json(*nonsense.find_key("a")); }) == "GME_CHANGED_WHILE_OPEN ",
          "G110 strings whose lengths became nonsense between two readings");
    faults = {};
}

std::string value_of(const std::string & path) {
    gme::error thrown("", "");
    return checks::code_of([&] { gme::gguf_file file(path); }, &thrown) + " " + thrown.value;
}

void check_paths(const pair_of_files & files) {
    faults                  = {};
    const fs::path & folder = files.folder;
    const auto       at     = [&](const char * name) { return (folder / name).string(); };
    mkfifo(at("fifo").c_str(), 0600);
    fs::create_symlink("loop", folder / "loop");
    sockaddr_un address = {};
    address.sun_family  = AF_UNIX;
    std::strncpy(address.sun_path, at("socket").c_str(), sizeof address.sun_path - 1);
    const int socket_descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(socket_descriptor, reinterpret_cast<const sockaddr *>(&address), sizeof address);
    const std::pair<std::string, const char *> cases[] = {
        { at("missing"), "ENOENT" }, { folder.string(), "EISDIR" }, { at("fifo"), "EINVAL" }, { at("socket"), "ENXIO" }, { "/dev/zero", "EINVAL" },
        { "/dev/full", "EINVAL" }, { "/dev/null", "EINVAL" }, { at("loop"), "ELOOP" }, { std::string(5000, 'x'), "ENAMETOOLONG" }, { at("decoder.gguf/x"), "ENOTDIR" },
        { at("caf\xff"), "ENOENT" }, { "", "ENOENT" },
    };
    for (const auto & [path, reason] : cases) {
        const std::string found = value_of(path);
        check(found == std::string("GME_IO_ERROR ") + reason, "G108 " + path.substr(0, 60) + ": " + found);
    }
    close(socket_descriptor);
    const std::string odd = at("caf\xff.gguf");
    fs::copy_file(files.decoder, odd);
    check(value_of(odd) == " ", "G108 a name that is not UTF-8 is a name");
    fs::permissions(odd, fs::perms::none);
    const bool is_root = geteuid() == 0;
    // Root may read everything: nobody's rights for a moment.
    if (is_root && (chmod(folder.c_str(), 0755) != 0 || seteuid(65534) != 0)) {
        check(false, "G109 root gives up its rights");
    }
    const std::string denied = value_of(odd);
    check((!is_root || seteuid(0) == 0) && denied == "GME_IO_ERROR EACCES", "G109 a file that may not be read: " + denied);
}

// --- G110: what changes between the header and the end of loading ---

struct change {
    const char *                             title;
    std::function<void(const std::string &)> apply;
    std::string                              failure;
};

struct moment {
    int                   countdown;
    std::function<void()> action;
};

// Loading asks this between its steps; at the chosen one the file changes.
bool act(void * data) {
    auto * when = static_cast<moment *>(data);
    if (when->countdown-- == 0) {
        when->action();
    }
    return false;
}

std::vector<change> changes() {
    const std::string changed = "GME_CHANGED_WHILE_OPEN";
    const auto        write   = [](const std::string & path, std::ios::openmode mode) {
        std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out | mode);
        file.seekp(0, (mode & std::ios::ate) != 0 ? std::ios::end : std::ios::beg);
        file << "GGUFGGUF";
    };
    return {
        { "cut to half", [](const std::string & path) { fs::resize_file(path, fs::file_size(path) / 2); }, changed },
        { "emptied", [](const std::string & path) { fs::resize_file(path, 0); }, changed },
        { "longer", [=](const std::string & path) { write(path, std::ios::ate); }, changed },
        { "written over", [=](const std::string & path) { write(path, {}); }, changed },
        { "touched", [](const std::string & path) { fs::last_write_time(path, fs::file_time_type::clock::now()); }, changed },
        { "replaced", [](const std::string & path) { fs::copy_file(path, path + ".new"); fs::rename(path + ".new", path); }, changed },
        { "a link to another file system", [](const std::string & path) {
             const std::string other = "/dev/shm/gme-test-files-" + std::to_string(getpid());
             fs::copy_file(path, other, fs::copy_options::overwrite_existing);
             fs::remove(path);
             fs::create_symlink(other, path);
         }, changed },
        { "removed", [](const std::string & path) { fs::remove(path); }, "" },
    };
}

int check_changes(const std::string & fixtures, const fs::path & folder, bool use_mmap, bool tower) {
    const int step      = use_mmap ? 1 : 12;  // reading asks once per tensor
    int       n_checked = 0;
    for (const auto & what : changes()) {
        std::string wrong;
        int         n_moments = 0;
        for (bool acted = true; acted; n_moments++) {
            const auto  files = copy_pair(fixtures, folder);
            moment      when  = { n_moments * step, [&] { what.apply(tower ? files.mmproj : files.decoder); } };
            auto        params = params_of(use_mmap);
            params.abort       = act;
            params.abort_data  = &when;
            engine::model model(files.decoder, files.mmproj, 1, params);
            acted                   = when.countdown < 0;
            const std::string found = model.failure.substr(0, model.failure.find(' '));
            if (acted && found != what.failure) {
                wrong += " " + std::to_string(n_moments * step) + ": " + model.failure;
            }
        }
        n_checked += n_moments - 1;
        check(n_moments > 3 && wrong.empty(), std::string("G110 the ") + (tower ? "tower" : "decoder") + " is " + what.title +
              (use_mmap ? " (mapped)" : " (read)") + " at " + std::to_string(n_moments - 1) + " moments of loading" + wrong);
    }
    return n_checked;
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string fixtures = argc > 1 ? argv[1] : "test/fixtures";
    const fs::path    folder   = fs::temp_directory_path() / ("gme-test-files-" + std::to_string(getpid()));
    fs::create_directory(folder);
    const auto         files = copy_pair(fixtures, folder);
    std::vector<float> golden;
    check(load_on({}, files, true, &golden).empty() && !golden.empty(), "the pair loads");
    check_slow_disks(files, golden);
    check_each_read(files, true);
    check_each_read(files, false);
    check_other_calls(files);
    check_second_reading(files);
    int n_changes = 0;
    for (const bool use_mmap : { true, false }) {
        for (const bool tower : { false, true }) {
            n_changes += check_changes(fixtures, folder, use_mmap, tower);
        }
    }
    std::printf("# G110: %d changes of a file between its header and the end of loading: GME_CHANGED_WHILE_OPEN, or the whole model where only the name went\n", n_changes);
    check_paths(copy_pair(fixtures, folder));
    fs::remove_all(folder);
    fs::remove("/dev/shm/gme-test-files-" + std::to_string(getpid()));
    return checks::result();
}

#else

int main() {
    check(true, "the system calls of this test are Linux's");
    return checks::result();
}

#endif
