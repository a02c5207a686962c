// An open regular file: its size and identity at opening, positioned reads, and a mapping of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace gme {

class file_handle {
  public:
    // Errors: GME_IO_ERROR with the system's reason (a missing file, a folder, a pipe, no permission).
    explicit file_handle(const std::string & path);
    ~file_handle();
    file_handle(const file_handle &)             = delete;
    file_handle & operator=(const file_handle &) = delete;

    const std::string & path() const { return path_; }
    uint64_t            size() const { return size_; }

    // Reads exactly `size` bytes at `offset`. Errors: GME_IO_ERROR, GME_CHANGED_WHILE_OPEN when the file became shorter.
    void read(uint64_t offset, void * target, size_t size) const;

    // Errors: GME_CHANGED_WHILE_OPEN when size, time or identity differ from those at opening.
    void check_unchanged() const;

    // The same of the open file's bytes only, cheap enough for every call: its name may be gone or another's. Errors: as above.
    void check_bytes_unchanged() const;

  private:
    friend class file_mapping;

    std::string path_;
    int         descriptor_ = -1;
    uint64_t    size_       = 0;
    uint64_t    device_ = 0, inode_ = 0;
    int64_t     modified_ns_ = 0;
};

// The whole file as read-only memory, shared with the page cache.
class file_mapping {
  public:
    explicit file_mapping(const file_handle & file);  // GME_IO_ERROR, GME_OUT_OF_MEMORY
    ~file_mapping();
    file_mapping(const file_mapping &)             = delete;
    file_mapping & operator=(const file_mapping &) = delete;

    void * data() const { return data_; }
    size_t size() const { return size_; }

  private:
    void * data_ = nullptr;
    size_t size_ = 0;
};

}  // namespace gme
