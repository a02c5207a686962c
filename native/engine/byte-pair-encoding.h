// Byte-pair encoding of one piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace gme {

// Merges by rank: of all neighbouring pairs the one with the lowest rank, leftmost first, is joined, until none is left.
class byte_pair_encoding {
  public:
    explicit byte_pair_encoding(size_t n_merges);

    // Ranks count up in the order of the calls; false: the pair has a rank already.
    bool add_merge(int32_t left, int32_t right, int32_t result);

    // Memory of encode(), kept from piece to piece.
    struct scratch {
        std::vector<uint32_t> id, rank, previous, next;  // per symbol; rank is that of the symbol and its successor
        std::vector<uint64_t> heap;                      // rank << 32 | position
    };

    // Appends the ids of `symbols`, the byte tokens of one piece, n < 2^32. O(n log n) time, 40 bytes per symbol.
    template <typename byte_to_id>
    void encode(std::string_view piece, const byte_to_id & id_of, scratch & memory, std::vector<int32_t> & ids) const {
        memory.id.clear();
        for (const char byte : piece) {
            memory.id.push_back(static_cast<uint32_t>(id_of(static_cast<uint8_t>(byte))));
        }
        merge(memory);
        ids.insert(ids.end(), memory.id.begin(), memory.id.end());
    }

  private:
    struct slot { uint64_t pair; uint32_t rank; };
    std::vector<slot>     slots;
    std::vector<uint32_t> results;  // [n_merges], the token a merge makes
    size_t mask;

    size_t   position(uint64_t pair) const;
    uint32_t rank_of(uint32_t left, uint32_t right) const;
    void merge(scratch & memory) const;        // memory.id: byte tokens -> final tokens
    void merge_short(scratch & memory) const;  // by scanning
    void merge_long(scratch & memory) const;   // with a heap
};

}  // namespace gme
