// decoder-pass: sequences -> a tree of segments.
//
//   sequences in the order of their ids -> groups that begin with the same opening -> groups that go on with the same tokens -> ends
//
// Tokens are shared up to a sequence's picture, whose rows are its own, and never up to a sequence's end.

#include "decoder-pass.h"

#include <algorithm>
#include <numeric>

namespace gme {

std::shared_ptr<const opening_state> opening_cache::find(const int32_t * ids, size_t n) {
    for (size_t i = 0; i < states_.size(); i++) {
        if (states_[i]->ids.size() == n && std::equal(ids, ids + n, states_[i]->ids.begin())) {
            std::rotate(states_.begin(), states_.begin() + static_cast<std::ptrdiff_t>(i), states_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
            return states_.front();
        }
    }
    return nullptr;
}

void opening_cache::keep(std::shared_ptr<const opening_state> state) {
    states_.insert(states_.begin(), std::move(state));
    if (states_.size() > n_max) {
        states_.pop_back();
    }
}

size_t opening_cache::bytes() const {
    size_t n = 0;
    for (const auto & state : states_) {
        n += state->keys_values.size() * sizeof(float);
    }
    return n;
}

namespace {

class pass_planner {
  public:
    explicit pass_planner(const std::vector<decoder_sequence> & sequences) : sequences_(sequences) { pass_.ends.resize(sequences.size()); }

    decoder_pass share(opening_cache & cache) {
        std::vector<int32_t> order(sequences_.size());
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return ids(a) < ids(b); });
        add_openings(order, cache);
        return std::move(pass_);
    }

    decoder_pass separate() {
        for (size_t i = 0; i < sequences_.size(); i++) {
            add_end(static_cast<int32_t>(i), 0, -1);
        }
        return std::move(pass_);
    }

  private:
    using group = std::vector<int32_t>;  // sequences in the order of their ids

    const std::vector<int32_t> & ids(int32_t sequence) const { return sequences_[static_cast<size_t>(sequence)].ids; }

    // Leading tokens that others may have in common with this sequence.
    int32_t shareable(int32_t sequence) const {
        const auto & of = sequences_[static_cast<size_t>(sequence)];
        const auto   n  = static_cast<int32_t>(of.ids.size()) - 1;
        return of.image.n > 0 ? std::min(n, of.image.begin) : n;
    }

    int32_t opening_of(int32_t sequence) const {
        return std::min(sequences_[static_cast<size_t>(sequence)].n_opening, shareable(sequence));
    }

    int32_t add_segment(int32_t sequence, int32_t first, int32_t n, int32_t parent) {
        decoder_segment segment;
        segment.parent   = parent;
        segment.sequence = sequence;
        segment.first    = first;
        segment.n        = n;
        pass_.segments.push_back(std::move(segment));
        return static_cast<int32_t>(pass_.segments.size()) - 1;
    }

    void add_end(int32_t sequence, int32_t first, int32_t parent) {
        pass_.ends[static_cast<size_t>(sequence)] = add_segment(sequence, first, static_cast<int32_t>(ids(sequence).size()) - first, parent);
    }

    void add_openings(const group & order, opening_cache & cache) {
        for (size_t begin = 0; begin < order.size();) {
            const int32_t n   = opening_of(order[begin]);
            size_t        end = begin + 1;
            while (end < order.size() && opening_of(order[end]) == n && std::equal(ids(order[begin]).begin(), ids(order[begin]).begin() + n, ids(order[end]).begin())) {
                end++;
            }
            const group   part(order.begin() + static_cast<std::ptrdiff_t>(begin), order.begin() + static_cast<std::ptrdiff_t>(end));
            const int32_t parent = n > 0 ? add_segment(order[begin], 0, n, -1) : -1;
            if (n > 0) {
                pass_.segments.back().known = cache.find(ids(order[begin]).data(), static_cast<size_t>(n));
            }
            add_group(part, n, parent);
            begin = end;
        }
    }

    // Sequences that agree in their first `depth` tokens.
    void add_group(group part, int32_t depth, int32_t parent) {
        const auto own = std::stable_partition(part.begin(), part.end(), [&](int32_t sequence) { return shareable(sequence) > depth; });
        for (auto at = own; at != part.end(); at++) {
            add_end(*at, depth, parent);
        }
        for (auto begin = part.begin(); begin != own;) {
            const int32_t token = ids(*begin)[static_cast<size_t>(depth)];
            const auto    end   = std::find_if(begin, own, [&](int32_t sequence) { return ids(sequence)[static_cast<size_t>(depth)] != token; });
            if (end - begin == 1) {
                add_end(*begin, depth, parent);
            } else {
                add_common(group(begin, end), depth, parent);
            }
            begin = end;
        }
    }

    // Two or more sequences that agree in at least one token beyond `depth`.
    void add_common(const group & part, int32_t depth, int32_t parent) {
        int32_t limit = shareable(part[0]);
        for (const int32_t sequence : part) {
            limit = std::min(limit, shareable(sequence));
        }
        const auto & low    = ids(part.front());  // in the order of ids the first and the last differ first
        const auto & high   = ids(part.back());
        int32_t      common = depth + 1;
        while (common < limit && low[static_cast<size_t>(common)] == high[static_cast<size_t>(common)]) {
            common++;
        }
        add_group(part, common, add_segment(part[0], depth, common - depth, parent));
    }

    const std::vector<decoder_sequence> & sequences_;
    decoder_pass                          pass_;
};

}  // namespace

decoder_pass plan_decoder_pass(const std::vector<decoder_sequence> & sequences, opening_cache & cache) {
    return pass_planner(sequences).share(cache);
}

decoder_pass plan_separate_pass(const std::vector<decoder_sequence> & sequences) {
    return pass_planner(sequences).separate();
}

decoder_pass plan_opening_pass(const decoder_sequence & opening) {
    decoder_pass pass = plan_separate_pass({ opening });
    pass.segments[0].wanted      = std::make_shared<opening_state>();
    pass.segments[0].wanted->ids = opening.ids;
    return pass;
}

}  // namespace gme
