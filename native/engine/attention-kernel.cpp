// attention-kernel: cuts the work into tasks and runs those the counter gives.
//
//   segments -> per segment and head of keys: blocks of rows (a query of one head each) -> the code of the instruction set
//
// Nothing is stored between threads: each walks over the segments on its own and finds the same cuts.

#include "attention-kernel.h"

#include <algorithm>

#include "attention-kernel-block.h"

namespace gme {

namespace {

constexpr int64_t rows_step = 16;  // blocks are whole registers of every instruction set

int64_t round_up(int64_t n, int64_t step) {
    return (n + step - 1) / step * step;
}

int64_t rows_of(const attention_shape & shape, const attention_segment & segment) {
    return (segment.queries.end - segment.queries.begin) * (shape.n_head / shape.n_head_kv);
}

// Most rows of a block: as many as fit the caches, fewer when that leaves threads without work.
int64_t choose_block_rows(const attention_shape & shape, const std::vector<attention_segment> & segments, int n_threads) {
    if (n_threads <= 1) {
        return attention_rows_max;
    }
    int64_t n_rows = 0;
    for (const auto & segment : segments) {
        n_rows += rows_of(shape, segment) * shape.n_head_kv;
    }
    constexpr int64_t tasks_per_thread = 6;
    return std::clamp(round_up(n_rows / (tasks_per_thread * n_threads), rows_step), attention_panel, attention_rows_max);
}

struct segment_cut {
    int64_t n_rows     = 0;
    int64_t block_rows = 0;
    int64_t n_blocks   = 0;

    segment_cut(const attention_shape & shape, const attention_segment & segment, int64_t block_rows_max) : n_rows(rows_of(shape, segment)) {
        const int64_t n = std::max<int64_t>(1, (n_rows + block_rows_max - 1) / block_rows_max);
        block_rows      = std::max(rows_step, round_up((n_rows + n - 1) / n, rows_step));
        n_blocks        = (n_rows + block_rows - 1) / block_rows;
    }
};

void run_block(cpu_level level, const attention_block & block) {
    switch (level) {
        case cpu_level::avx512: return attend_block_avx512(block);
        case cpu_level::avx2: return attend_block_avx2(block);
        case cpu_level::portable: return attend_block_portable(block);
    }
}

}  // namespace

bool attention_supports(const attention_shape & shape) {
    return shape.n_embd_head > 0 && shape.n_embd_head % 4 == 0 && shape.n_head_kv > 0 && shape.n_head > 0 && shape.n_head % shape.n_head_kv == 0 &&
           shape.scale > 0;
}

size_t attention_scratch_floats(const attention_shape & shape) {
    return static_cast<size_t>(attention_block_floats(shape.n_embd_head)) + 16;
}

void run_attention(cpu_level level, const attention_shape & shape, const std::vector<attention_segment> & segments,
                   const attention_tensors & tensors, int n_threads, std::atomic<int64_t> & next, float * scratch) {
    const auto unaligned = reinterpret_cast<uintptr_t>(scratch) % 64;
    scratch += unaligned == 0 ? 0 : (64 - unaligned) / sizeof(float);
    const int64_t block_rows_max = choose_block_rows(shape, segments, n_threads);
    int64_t       task           = next.fetch_add(1, std::memory_order_relaxed);
    int64_t       first_task     = 0;
    for (const auto & segment : segments) {
        const segment_cut cut(shape, segment, block_rows_max);
        const int64_t     n_tasks = cut.n_blocks * shape.n_head_kv;
        for (; task < first_task + n_tasks; task = next.fetch_add(1, std::memory_order_relaxed)) {
            const int64_t at    = task - first_task;
            const int64_t begin = (cut.n_blocks - 1 - at % cut.n_blocks) * cut.block_rows;  // the longest of a causal segment first
            run_block(level, { shape, segment, tensors, at / cut.n_blocks, { begin, std::min(begin + cut.block_rows, cut.n_rows) }, scratch });
        }
        first_task += n_tasks;
    }
}

double attention_flop(const attention_shape & shape, const std::vector<attention_segment> & segments) {
    double n_seen = 0;
    for (const auto & segment : segments) {
        const auto n_queries = static_cast<double>(segment.queries.end - segment.queries.begin);
        const auto n_own     = segment.keys.end - segment.keys.begin;
        for (const auto & range : segment.earlier) {
            n_seen += n_queries * static_cast<double>(range.end - range.begin);
        }
        if (!segment.causal) {
            n_seen += n_queries * static_cast<double>(n_own);
        } else {
            for (int64_t i = 0; i < segment.queries.end - segment.queries.begin; i++) {
                n_seen += static_cast<double>(std::min(segment.query_offset + i + 1, n_own));
            }
        }
    }
    return 4.0 * static_cast<double>(shape.n_embd_head * shape.n_head) * n_seen;
}

}  // namespace gme
