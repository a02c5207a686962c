// file-handle: what the system knows of a model file.
//
//   path -> open (never blocks on pipes or devices) -> regular file, size, identity
//        -> positioned reads for the header, one mapping for the weights
//
// The identity is compared again after loading, so that a file replaced meanwhile is an error and not a mixture.

#include "file-handle.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

namespace gme {

namespace {

// The name under which Node knows it, too.
std::string errno_name(int number) {
    static const std::pair<int, const char *> names[] = {
        { EACCES, "EACCES" }, { EINVAL, "EINVAL" }, { EIO, "EIO" }, { EISDIR, "EISDIR" }, { ELOOP, "ELOOP" }, { EMFILE, "EMFILE" },
        { ENAMETOOLONG, "ENAMETOOLONG" }, { ENFILE, "ENFILE" }, { ENODEV, "ENODEV" }, { ENOENT, "ENOENT" }, { ENOMEM, "ENOMEM" },
        { ENOTDIR, "ENOTDIR" }, { ENXIO, "ENXIO" }, { EOVERFLOW, "EOVERFLOW" }, { EPERM, "EPERM" }, { ESTALE, "ESTALE" },
    };
    for (const auto & [known, name] : names) {
        if (known == number) {
            return name;
        }
    }
    return "E" + std::to_string(number);
}

error io_error(const std::string & path, const char * action, int number) {
    const std::string name = errno_name(number);
    return error("GME_IO_ERROR", std::string("cannot ") + action + " " + printable(path) + ": " + std::strerror(number) + " (" + name + ")")
        .in_file(path).at_field("errno").found(name).wanted("a readable regular file");
}

int64_t modified_ns(const struct stat & status) {
#ifdef __APPLE__
    return status.st_mtimespec.tv_sec * 1000000000LL + status.st_mtimespec.tv_nsec;
#else
    return status.st_mtim.tv_sec * 1000000000LL + status.st_mtim.tv_nsec;
#endif
}

}  // namespace

file_handle::file_handle(const std::string & path) : path_(path) {
    // O_NONBLOCK: opening a pipe without a writer must not hang.
    do {
        descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    } while (descriptor_ < 0 && errno == EINTR);
    if (descriptor_ < 0) {
        throw io_error(path, "open", errno);
    }
    struct stat status;
    const bool  known = fstat(descriptor_, &status) == 0;
    if (!known || !S_ISREG(status.st_mode)) {
        const int number = known ? (S_ISDIR(status.st_mode) ? EISDIR : EINVAL) : errno;
        close(descriptor_);
        throw io_error(path, "use", number).wanted("a regular file");
    }
    size_        = static_cast<uint64_t>(status.st_size);
    device_      = static_cast<uint64_t>(status.st_dev);
    inode_       = static_cast<uint64_t>(status.st_ino);
    modified_ns_ = modified_ns(status);
}

file_handle::~file_handle() {
    close(descriptor_);
}

void file_handle::read(uint64_t offset, void * target, size_t size) const {
    char * to = static_cast<char *>(target);
    while (size > 0) {
        const ssize_t n = pread(descriptor_, to, size, static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            throw io_error(path_, "read", errno).at_offset(static_cast<int64_t>(offset));
        }
        if (n == 0) {
            throw error("GME_CHANGED_WHILE_OPEN", printable(path_) + " became shorter while it was read")
                .in_file(path_).at_offset(static_cast<int64_t>(offset)).wanted(std::to_string(size_) + " bytes");
        }
        to += n;
        offset += static_cast<uint64_t>(n);
        size -= static_cast<size_t>(n);
    }
}

void file_handle::check_bytes_unchanged() const {
    struct stat status;
    if (fstat(descriptor_, &status) != 0) {
        throw io_error(path_, "examine", errno);
    }
    if (static_cast<uint64_t>(status.st_size) != size_ || modified_ns(status) != modified_ns_) {
        const bool resized = static_cast<uint64_t>(status.st_size) != size_;
        throw error("GME_CHANGED_WHILE_OPEN", printable(path_) + " changed while it was loaded")
            .in_file(path_).at_field(resized ? "size" : "modified").found(static_cast<int64_t>(status.st_size)).wanted(std::to_string(size_) + " bytes, unchanged");
    }
}

void file_handle::check_unchanged() const {
    check_bytes_unchanged();
    struct stat named;
    if (stat(path_.c_str(), &named) == 0 &&
        (static_cast<uint64_t>(named.st_dev) != device_ || static_cast<uint64_t>(named.st_ino) != inode_)) {
        throw error("GME_CHANGED_WHILE_OPEN", printable(path_) + " was replaced while it was loaded").in_file(path_).at_field("inode");
    }
}

file_mapping::file_mapping(const file_handle & file) : size_(static_cast<size_t>(file.size())) {
    data_ = mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.descriptor_, 0);
    if (data_ == MAP_FAILED) {
        if (errno == ENOMEM) {
            throw error("GME_OUT_OF_MEMORY", "no address space to map " + printable(file.path()))
                .in_file(file.path()).found(static_cast<int64_t>(size_));
        }
        throw io_error(file.path(), "map", errno);
    }
}

file_mapping::~file_mapping() {
    munmap(data_, size_);
}

}  // namespace gme
