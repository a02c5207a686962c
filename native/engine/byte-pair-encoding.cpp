// Byte-pair encoding of one piece, with work bounded by n log n.
//
// In: the piece's byte tokens.
//   short pieces: ranks of neighbours in an array, the smallest found by scanning
//   long pieces: a linked list of symbols and a heap of (rank, position); an entry whose pair has changed meanwhile is skipped
// Out: the tokens that no merge joins any more. Both ways give the same tokens; a piece of a megabyte is normal input.
#include "byte-pair-encoding.h"

#include <algorithm>
#include <functional>

namespace gme {

namespace {

constexpr uint32_t no_rank = UINT32_MAX;
constexpr uint32_t no_symbol = UINT32_MAX;
constexpr size_t   n_short_max = 48;

}  // namespace

byte_pair_encoding::byte_pair_encoding(size_t n_merges) {
    size_t n_slots = 16;
    while (n_slots < n_merges + n_merges / 2) {
        n_slots *= 2;
    }
    slots.assign(n_slots, slot{0, no_rank});
    results.reserve(n_merges);
    mask = n_slots - 1;
}

size_t byte_pair_encoding::position(uint64_t pair) const {
    uint64_t hash = pair * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
    size_t i = hash & mask;
    while (slots[i].rank != no_rank && slots[i].pair != pair) {
        i = (i + 1) & mask;
    }
    return i;
}

bool byte_pair_encoding::add_merge(int32_t left, int32_t right, int32_t result) {
    const uint64_t pair = static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
    slot & cur = slots[position(pair)];
    if (cur.rank != no_rank) {
        return false;
    }
    cur = {pair, static_cast<uint32_t>(results.size())};
    results.push_back(static_cast<uint32_t>(result));
    return true;
}

uint32_t byte_pair_encoding::rank_of(uint32_t left, uint32_t right) const {
    return slots[position(static_cast<uint64_t>(left) << 32 | right)].rank;
}

void byte_pair_encoding::merge(scratch & memory) const {
    if (memory.id.size() > n_short_max) {
        merge_long(memory);
    } else if (memory.id.size() > 1) {
        merge_short(memory);
    }
}

void byte_pair_encoding::merge_short(scratch & memory) const {
    uint32_t * id = memory.id.data();
    size_t     n = memory.id.size();
    uint32_t   rank[n_short_max];  // [n - 1]
    for (size_t i = 0; i + 1 < n; ++i) {
        rank[i] = rank_of(id[i], id[i + 1]);
    }
    while (n > 1) {
        const size_t i = static_cast<size_t>(std::min_element(rank, rank + n - 1) - rank);
        if (rank[i] == no_rank) {
            break;
        }
        id[i] = results[rank[i]];
        std::copy(id + i + 2, id + n, id + i + 1);
        std::copy(rank + i + 1, rank + n - 1, rank + i);
        --n;
        if (i > 0) {
            rank[i - 1] = rank_of(id[i - 1], id[i]);
        }
        if (i + 1 < n) {
            rank[i] = rank_of(id[i], id[i + 1]);
        }
    }
    memory.id.resize(n);
}

void byte_pair_encoding::merge_long(scratch & memory) const {
    const auto n = static_cast<uint32_t>(memory.id.size());
    auto & id = memory.id;
    auto & rank = memory.rank;
    auto & previous = memory.previous;
    auto & next = memory.next;
    auto & heap = memory.heap;
    const auto later = std::greater<uint64_t>();
    rank.assign(n, no_rank);
    previous.resize(n);
    next.resize(n);
    heap.clear();
    for (uint32_t i = 0; i < n; ++i) {
        previous[i] = i == 0 ? no_symbol : i - 1;
        next[i] = i + 1 == n ? no_symbol : i + 1;
        rank[i] = i + 1 == n ? no_rank : rank_of(id[i], id[i + 1]);
        if (rank[i] != no_rank) {
            heap.push_back(static_cast<uint64_t>(rank[i]) << 32 | i);
        }
    }
    std::make_heap(heap.begin(), heap.end(), later);
    const auto rank_again = [&](uint32_t i) {
        rank[i] = next[i] == no_symbol ? no_rank : rank_of(id[i], id[next[i]]);
        if (rank[i] != no_rank) {
            heap.push_back(static_cast<uint64_t>(rank[i]) << 32 | i);
            std::push_heap(heap.begin(), heap.end(), later);
        }
    };
    while (!heap.empty()) {
        std::pop_heap(heap.begin(), heap.end(), later);
        const uint64_t entry = heap.back();
        heap.pop_back();
        const auto i = static_cast<uint32_t>(entry);
        if (rank[i] != entry >> 32) {
            continue;  // one of its two symbols has been merged since
        }
        const uint32_t gone = next[i];
        id[i] = results[rank[i]];
        next[i] = next[gone];
        rank[gone] = no_rank;
        if (next[i] != no_symbol) {
            previous[next[i]] = i;
        }
        rank_again(i);
        if (previous[i] != no_symbol) {
            rank_again(previous[i]);
        }
    }
    uint32_t n_out = 0;
    for (uint32_t i = 0; i != no_symbol; i = next[i]) {
        id[n_out++] = id[i];
    }
    id.resize(n_out);
}

}  // namespace gme
