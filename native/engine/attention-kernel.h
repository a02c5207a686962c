// Attention on the CPU in exact f32, without ggml: many segments of queries, each over its own keys and over shared earlier ones.
//
// in:   q, k, v rows; segments that say which queries see which keys; a task counter that all threads share
// path: tasks of (segment, head of keys, block of queries); keys come in blocks, scores never leave the caches
// out:  softmax(q·k * scale)·v per query and head
//
// The keys of a query are counted through its `earlier` ranges and then its own, and every query is reckoned for itself: its numbers
// are the same bits with any number of threads, in any company of other queries or segments, and whether a key counts as earlier or
// as own. They differ in the last bits between instruction sets only.
#pragma once

#include "cpu-level.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gme {

struct row_range {
    int64_t begin = 0, end = 0;
};

// Queries that stand together. Every query sees one key at least.
struct attention_segment {
    row_range              queries;           // rows of q and of the output
    row_range              keys;              // own keys: rows of k and v
    bool                   causal = true;     // query i sees own keys 0 .. query_offset + i; false: all of them
    int64_t                query_offset = 0;  // position of the first query among its own keys, for a later chunk of a sequence
    std::vector<row_range> earlier;           // rows of k and v that all its queries see, in order
};

struct attention_shape {
    int64_t n_embd_head = 0;  // a multiple of 4
    int64_t n_head      = 0;
    int64_t n_head_kv   = 0;  // divides n_head
    float   scale       = 0;  // above 0
};

// Row r of q is q + r * q_stride: [n_head, n_embd_head]; rows of k and v are [n_head_kv, n_embd_head]. Strides count floats.
struct attention_tensors {
    const float * q        = nullptr;
    const float * k        = nullptr;
    const float * v        = nullptr;
    float *       out      = nullptr;
    int64_t       q_stride = 0, k_stride = 0, v_stride = 0, out_stride = 0;
};

// Whether the kernel takes this shape.
bool attention_supports(const attention_shape & shape);

// Floats of working memory per thread; any alignment, any content.
size_t attention_scratch_floats(const attention_shape & shape);

// Called by each of `n_threads` threads with the same arguments but its own scratch; `next` starts at 0. A call returns when no task
// is left; others may still be at theirs. Fewer callers than `n_threads` do all the work too.
// Scores that are not numbers, or keys that hold infinities, make the output of every query that sees them NaN; a value that is not
// finite may reach earlier queries of its segment as well.
void run_attention(cpu_level level, const attention_shape & shape, const std::vector<attention_segment> & segments,
                   const attention_tensors & tensors, int n_threads, std::atomic<int64_t> & next, float * scratch);

// 4 * n_embd_head per query, head and key that it sees: the two products, without the softmax.
double attention_flop(const attention_shape & shape, const std::vector<attention_segment> & segments);

}  // namespace gme
