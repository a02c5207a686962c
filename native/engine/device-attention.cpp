// device-attention: segments of a chunk -> groups -> keys and masks.
//
//   causal segments one after the other -> groups of some hundred queries -> the runs of keys that they see, joined -> mask
//
// A batch of texts that begin alike sees a few runs that lie far apart: common beginnings, and what is its own. Only these are read.

#include "device-attention.h"

#include <algorithm>
#include <cmath>

namespace gme {

namespace {

constexpr int64_t queries_max  = 512;       // of a group of several segments
constexpr size_t  unmasked_max = 8;         // segments that see all of their keys and have an attention each
constexpr size_t  runs_max     = 4;         // of keys: each is a copy
constexpr int64_t gap_min      = 64;        // keys in vain that cost less than another run
constexpr int64_t kept_max     = 16 << 20;  // numbers of masks that stay on the device

bool same_range(const row_range & a, const row_range & b) {
    return a.begin == b.begin && a.end == b.end;
}

bool same_segment(const attention_segment & a, const attention_segment & b) {
    return same_range(a.queries, b.queries) && same_range(a.keys, b.keys) && a.causal == b.causal && a.query_offset == b.query_offset &&
           std::equal(a.earlier.begin(), a.earlier.end(), b.earlier.begin(), b.earlier.end(), same_range);
}

// Runs in order, those joined that touch or nearly do; of too many, the nearest.
std::vector<row_range> join_runs(std::vector<row_range> ranges) {
    std::sort(ranges.begin(), ranges.end(), [](const row_range & a, const row_range & b) { return a.begin < b.begin; });
    std::vector<row_range> runs;
    for (const auto & range : ranges) {
        if (!runs.empty() && range.begin <= runs.back().end + gap_min) {
            runs.back().end = std::max(runs.back().end, range.end);
        } else {
            runs.push_back(range);
        }
    }
    while (runs.size() > runs_max) {
        size_t nearest = 1;
        for (size_t i = 2; i < runs.size(); i++) {
            nearest = runs[i].begin - runs[i - 1].end < runs[nearest].begin - runs[nearest - 1].end ? i : nearest;
        }
        runs[nearest - 1].end = runs[nearest].end;
        runs.erase(runs.begin() + static_cast<std::ptrdiff_t>(nearest));
    }
    return runs;
}

// The column of a mask that stands for a row of keys.
int64_t column_of(const attention_group & group, int64_t row) {
    int64_t column = 0;
    for (const auto & run : group.keys) {
        if (row < run.end) {
            return column + row - run.begin;
        }
        column += run.end - run.begin;
    }
    return column;
}

}  // namespace

int64_t attention_group::n_keys() const {
    int64_t n = 0;
    for (const auto & run : keys) {
        n += run.end - run.begin;
    }
    return n;
}

std::vector<attention_group> group_segments(const std::vector<attention_segment> & segments) {
    std::vector<attention_group> groups;
    for (const auto & segment : segments) {
        const bool masked = segment.causal || !segment.earlier.empty() || segments.size() > unmasked_max;
        const bool joins  = masked && !groups.empty() && groups.back().masked && segment.queries.end - groups.back().queries.begin <= queries_max;
        if (!joins) {
            groups.push_back({ {}, segment.queries, {}, masked });
        }
        attention_group & group = groups.back();
        group.segments.push_back(segment);
        group.queries.end = segment.queries.end;
        group.keys.push_back(segment.keys);
        group.keys.insert(group.keys.end(), segment.earlier.begin(), segment.earlier.end());
    }
    for (auto & group : groups) {
        group.keys = join_runs(std::move(group.keys));
    }
    return groups;
}

std::vector<ggml_fp16_t> make_mask(const attention_group & group) {
    const int64_t            n_keys = group.n_keys();
    const ggml_fp16_t        seen   = ggml_fp32_to_fp16(0.0f);
    std::vector<ggml_fp16_t> mask(static_cast<size_t>(n_keys * group.n_queries()), ggml_fp32_to_fp16(-INFINITY));
    for (const auto & segment : group.segments) {
        const int64_t own = column_of(group, segment.keys.begin);
        for (int64_t query = segment.queries.begin; query < segment.queries.end; query++) {
            const auto row = mask.begin() + (query - group.queries.begin) * n_keys;
            for (const auto & range : segment.earlier) {
                const int64_t column = column_of(group, range.begin);
                std::fill(row + column, row + column + range.end - range.begin, seen);
            }
            const int64_t n_own  = segment.keys.end - segment.keys.begin;
            const int64_t n_seen = segment.query_offset + (query - segment.queries.begin) + 1;
            std::fill(row + own, row + own + (segment.causal ? std::min(n_seen, n_own) : n_own), seen);
        }
    }
    return mask;
}

const std::vector<attention_masks::masked_group> & attention_masks::find(const backend & where, const std::vector<attention_segment> & segments) {
    for (const auto & known : chunks_) {
        if (std::equal(known.segments.begin(), known.segments.end(), segments.begin(), segments.end(), same_segment)) {
            return known.groups;
        }
    }
    chunk   made;
    int64_t n = 0;
    made.segments = segments;
    for (auto & group : group_segments(segments)) {
        n += group.masked ? group.n_keys() * group.n_queries() : 0;
        made.groups.push_back({ std::move(group), nullptr });
    }
    if (n > 0 && n_kept_ + n <= kept_max) {
        made.memory = std::make_unique<state_memory>(made.groups.size());
        for (auto & [group, mask] : made.groups) {
            mask = group.masked ? made.memory->add("mask", group.n_keys(), group.n_queries(), GGML_TYPE_F16) : nullptr;
        }
        made.memory->allocate(where);
        for (auto & [group, mask] : made.groups) {
            if (mask != nullptr) {
                const auto numbers = make_mask(group);
                ggml_backend_tensor_set(mask, numbers.data(), 0, numbers.size() * sizeof(ggml_fp16_t));
            }
        }
        n_kept_ += n;
    }
    chunks_.push_back(std::move(made));
    return chunks_.back().groups;
}

}  // namespace gme
