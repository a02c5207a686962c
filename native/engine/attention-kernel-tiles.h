// The attention kernel itself, written once over `lanes` and compiled once per instruction set: the including file defines
// GME_LANES (the target attribute and inlining of small functions), GME_TARGET (the target attribute) and struct lanes first.
//
//   rows (a query of one head each) side by side in the lanes of registers, so that the softmax needs nothing across lanes
//     -> per step of up to 96 keys: keys and values packed into strips of 8
//     -> per panel of up to 3 registers of rows: scores = keys·queries, weights = exp2, outputs += values·weights
//     -> outputs / sums, turned back
//
// Both products are one tile: 8 (or 4) numbers of a strip, broadcast, times the registers of a panel. The maximum of a row runs
// along; what was summed under an older one is scaled down. No row's arithmetic depends on its neighbours.

#include "attention-kernel-block.h"

#include <cmath>
#include <cstring>

namespace gme {

namespace {

using vec = lanes::vec;

constexpr int width = lanes::width;

struct block_memory {
    float *   queries;  // panels [n_embd_head][lanes of the panel]
    float *   outputs;  // like queries
    float *   keys;     // [attention_keys/8][n_embd_head][8]
    float *   values;   // [n_embd_head/8][attention_keys][8]
    float *   scores;   // [attention_keys][lanes of the panel]
    float *   maxima;   // per row, of the scores before `scale`
    float *   sums;     // per row, of the weights
    float *   tops;     // the next maxima of a panel
    float *   corrections;
    int32_t * limits;   // last key that a row sees

    block_memory(float * at, int64_t n_embd_head);
};

block_memory::block_memory(float * at, int64_t n_embd_head) {
    const auto take = [&at](int64_t n) {
        float * taken = at;
        at += n;
        return taken;
    };
    queries     = take(n_embd_head * attention_rows_max);
    outputs     = take(n_embd_head * attention_rows_max);
    keys        = take(attention_keys * n_embd_head);
    values      = take(attention_keys * (n_embd_head + 4));
    scores      = take(attention_keys * attention_panel);
    maxima      = take(attention_rows_max);
    sums        = take(attention_rows_max);
    tops        = take(attention_rows_max);
    corrections = take(attention_rows_max);
    limits      = reinterpret_cast<int32_t *>(take(attention_rows_max));
}

// strip [n][8] (its first n_rows), panel [n][n_vectors * width] -> [n_rows][n_vectors]
template <int n_rows, int n_vectors>
GME_LANES void multiply(const float * strip, const float * panel, int64_t n, vec (&sums)[n_rows][n_vectors]) {
    for (int m = 0; m < n_rows; m++) {
        for (int v = 0; v < n_vectors; v++) {
            sums[m][v] = lanes::set(0.0f);
        }
    }
    for (int64_t i = 0; i < n; i++, strip += attention_strip, panel += n_vectors * width) {
        vec row[n_vectors];
        for (int v = 0; v < n_vectors; v++) {
            row[v] = lanes::load(panel + v * width);
        }
        for (int m = 0; m < n_rows; m++) {
            const vec number = lanes::set(strip[m]);
            for (int v = 0; v < n_vectors; v++) {
                sums[m][v] = lanes::fma(number, row[v], sums[m][v]);
            }
        }
    }
}

// Scores of n_rows keys, the first of which is number `key`; a masked tile hides those behind the limit of their row.
template <int n_rows, int n_vectors, bool masked>
GME_TARGET void score_tile(const float * strip, const float * queries, int64_t n_embd_head, const int32_t * limits, int64_t key,
                           float * scores, float * tops) {
    vec sums[n_rows][n_vectors];
    multiply<n_rows, n_vectors>(strip, queries, n_embd_head, sums);
    for (int v = 0; v < n_vectors; v++) {
        vec top = lanes::load(tops + v * width);
        for (int m = 0; m < n_rows; m++) {
            if constexpr (masked) {
                sums[m][v] = lanes::hide_behind(limits + v * width, static_cast<int32_t>(key) + m, sums[m][v]);
            }
            lanes::store(scores + (m * n_vectors + v) * width, sums[m][v]);
            top = lanes::max(sums[m][v], top);
        }
        lanes::store(tops + v * width, top);
    }
}

// outputs [n_rows][n_vectors * width] = outputs * corrections + values·weights
template <int n_rows, int n_vectors>
GME_TARGET void value_tile(const float * strip, const float * weights, int64_t n_keys, const float * corrections, bool first, float * outputs) {
    vec sums[n_rows][n_vectors];
    multiply<n_rows, n_vectors>(strip, weights, n_keys, sums);
    for (int v = 0; v < n_vectors; v++) {
        const vec correction = lanes::load(corrections + v * width);
        for (int m = 0; m < n_rows; m++) {
            float * to = outputs + (m * n_vectors + v) * width;
            lanes::store(to, first ? sums[m][v] : lanes::fma(lanes::load(to), correction, sums[m][v]));
        }
    }
}

// The next maxima, and scores -> weights 2^(factor * (score - maximum)), factor = log2(e) * scale. The difference comes first: it is
// exact where it matters, and 0 where nothing changed.
template <int n_vectors>
GME_TARGET void weigh(float * scores, int64_t n_keys, float factor, float * maxima, const float * tops, float * sums, float * corrections) {
    const vec factors = lanes::set(factor);
    vec       top[n_vectors], totals[n_vectors];
    for (int v = 0; v < n_vectors; v++) {
        top[v]    = lanes::load(tops + v * width);
        totals[v] = lanes::set(0.0f);
        lanes::store(corrections + v * width, lanes::exp2(lanes::sub(lanes::load(maxima + v * width), top[v]), factors));
        lanes::store(maxima + v * width, top[v]);
    }
    for (int64_t i = 0; i < n_keys; i++, scores += n_vectors * width) {
        for (int v = 0; v < n_vectors; v++) {
            const vec weight = lanes::exp2(lanes::sub(lanes::load(scores + v * width), top[v]), factors);
            totals[v]        = lanes::add(totals[v], weight);
            lanes::store(scores + v * width, weight);
        }
    }
    for (int v = 0; v < n_vectors; v++) {
        lanes::store(sums + v * width, lanes::fma(lanes::load(sums + v * width), lanes::load(corrections + v * width), totals[v]));
    }
}

template <int n_vectors>
GME_TARGET void score_panel(const block_memory & memory, int64_t n_embd_head, int64_t lane, int64_t first_key, int64_t n_keys) {
    constexpr int   n_rows  = lanes::tile_rows(n_vectors);
    const float *   queries = memory.queries + lane * n_embd_head;
    const int32_t * limits  = memory.limits + lane;
    const int64_t   n_free  = limits[0] + 1 - first_key;  // keys that no row of the panel needs a mask for
    for (int64_t key = 0; key < n_keys; key += n_rows) {
        const float * strip  = memory.keys + key / attention_strip * attention_strip * n_embd_head + key % attention_strip;
        float *       scores = memory.scores + key * n_vectors * width;
        if (key + n_rows <= n_free) {
            score_tile<n_rows, n_vectors, false>(strip, queries, n_embd_head, limits, first_key + key, scores, memory.tops);
        } else {
            score_tile<n_rows, n_vectors, true>(strip, queries, n_embd_head, limits, first_key + key, scores, memory.tops);
        }
    }
}

template <int n_vectors>
GME_TARGET void value_panel(const block_memory & memory, int64_t n_embd_head, int64_t lane, int64_t n_keys, bool first) {
    constexpr int n_rows  = lanes::tile_rows(n_vectors);
    float *       outputs = memory.outputs + lane * n_embd_head;
    int64_t       column  = 0;
    for (; column + n_rows <= n_embd_head; column += n_rows) {
        const float * strip = memory.values + column / attention_strip * attention_strip * attention_keys + column % attention_strip;
        value_tile<n_rows, n_vectors>(strip, memory.scores, n_keys, memory.corrections, first, outputs + column * n_vectors * width);
    }
    if (n_rows > 4 && column < n_embd_head) {  // the width is a multiple of 4
        const float * strip = memory.values + column * attention_keys;
        value_tile<4, n_vectors>(strip, memory.scores, n_keys, memory.corrections, first, outputs + column * n_vectors * width);
    }
}

// One step of keys [first_key, last_key) for the panel of rows that begins at `lane`.
template <int n_vectors>
GME_TARGET void attend_panel(const block_memory & memory, const attention_shape & shape, int64_t lane, int64_t first_key, int64_t last_key) {
    const int64_t seen   = memory.limits[lane + n_vectors * width - 1] + int64_t(1);  // by the last row, which sees the most
    const int64_t n_keys = (seen < last_key ? seen : last_key) - first_key;
    if (n_keys <= 0) {
        return;
    }
    const float factor = static_cast<float>(1.4426950408889634 * shape.scale);
    std::memcpy(memory.tops, memory.maxima + lane, n_vectors * width * sizeof(float));
    score_panel<n_vectors>(memory, shape.n_embd_head, lane, first_key, n_keys);
    weigh<n_vectors>(memory.scores, n_keys, factor, memory.maxima + lane, memory.tops, memory.sums + lane, memory.corrections);
    value_panel<n_vectors>(memory, shape.n_embd_head, lane, n_keys, first_key == 0);
}

// Calls `work` with the lane each panel begins at and its registers, as even as they can be.
template <typename F> void for_each_panel(int64_t n_rows, const F & work) {
    int64_t n_vectors = (n_rows + width - 1) / width;
    int64_t n_panels  = (n_vectors + lanes::panel_vectors - 1) / lanes::panel_vectors;
    for (int64_t lane = 0; n_panels > 0; n_panels--) {
        const int64_t n = (n_vectors + n_panels - 1) / n_panels;
        work(lane, static_cast<int>(n));
        lane += n * width;
        n_vectors -= n;
    }
}

// Row of the block that lane `lane` stands for: lanes past the end repeat the last row, which then is written more than once.
int64_t row_of(const attention_block & block, int64_t lane) {
    const int64_t row = block.rows.begin + lane;
    return row < block.rows.end ? row : block.rows.end - 1;
}

int64_t count_earlier(const attention_segment & segment) {
    int64_t n = 0;
    for (const row_range & range : segment.earlier) {
        n += range.end - range.begin;
    }
    return n;
}

// Registers of a panel that begins at `panel`: where lane `lane` has its first number in a panel [n_embd_head][n_vectors * width].
int64_t place_of(int64_t panel, int64_t lane, int64_t n_embd_head) {
    return panel * n_embd_head + (lane - panel);
}

// Rows [n_embd_head] of `width` lanes -> their place in the panel; limits, maxima and sums of the rows.
GME_TARGET void load_queries(const attention_block & block, const block_memory & memory, int64_t panel, int64_t lane, int n_vectors) {
    const int64_t n_embd_head = block.shape.n_embd_head;
    const int64_t group       = block.group();
    const auto &  segment     = block.segment;
    const int64_t n_earlier   = count_earlier(segment);
    const int64_t n_keys      = n_earlier + segment.keys.end - segment.keys.begin;
    const float * from[width];
    for (int i = 0; i < width; i++) {
        const int64_t row       = row_of(block, lane + i);
        const int64_t query     = row / group;
        const int64_t limit     = segment.causal ? n_earlier + segment.query_offset + query : n_keys;
        from[i]                 = block.tensors.q + (segment.queries.begin + query) * block.tensors.q_stride + (block.head_kv * group + row % group) * n_embd_head;
        memory.limits[lane + i] = static_cast<int32_t>(limit < n_keys ? limit : n_keys - 1);
        memory.maxima[lane + i] = -INFINITY;
        memory.sums[lane + i]   = 0;
    }
    float * to = memory.queries + place_of(panel, lane, n_embd_head);
    for (int64_t column = 0; column < n_embd_head; column += 4, to += 4 * n_vectors * width) {
        vec columns[4];
        lanes::load_columns(from, column, columns);
        for (int i = 0; i < 4; i++) {
            lanes::store(to + i * n_vectors * width, columns[i]);
        }
    }
}

GME_TARGET void store_outputs(const attention_block & block, const block_memory & memory, int64_t panel, int64_t lane, int n_vectors) {
    const int64_t n_embd_head = block.shape.n_embd_head;
    const int64_t group       = block.group();
    float *       to[width];
    for (int i = 0; i < width; i++) {
        const int64_t row   = row_of(block, lane + i);
        const int64_t query = block.segment.queries.begin + row / group;
        to[i]               = block.tensors.out + query * block.tensors.out_stride + (block.head_kv * group + row % group) * n_embd_head;
    }
    const vec     share = lanes::div(lanes::set(1.0f), lanes::load(memory.sums + lane));
    const float * from  = memory.outputs + place_of(panel, lane, n_embd_head);
    for (int64_t column = 0; column < n_embd_head; column += 4, from += 4 * n_vectors * width) {
        vec columns[4];
        for (int i = 0; i < 4; i++) {
            columns[i] = lanes::mul(lanes::load(from + i * n_vectors * width), share);
        }
        lanes::store_columns(to, column, columns);
    }
}

// Rows of k and v of the keys [first, first + n), counted through the earlier ranges and the own one. Filled up with the last one to
// a whole number of registers.
void find_key_rows(const attention_segment & segment, int64_t first, int64_t n, int64_t * rows) {
    int64_t    found = 0, before = 0;
    const auto take  = [&](const row_range & range) {
        const int64_t size = range.end - range.begin;
        for (int64_t i = first + found - before; i < size && found < n; i++) {
            rows[found++] = range.begin + i;
        }
        before += size;
    };
    for (const row_range & range : segment.earlier) {
        take(range);
    }
    take(segment.keys);
    for (; found % 16 != 0; found++) {
        rows[found] = rows[found - 1];
    }
}

// [n, n_embd_head] -> strips [n/8][n_embd_head][8]. A key with an infinity gets a NaN: its score of -inf would look like a hidden one.
GME_TARGET void pack_keys(const attention_block & block, const block_memory & memory, const int64_t * rows, int64_t n) {
    const int64_t n_embd_head = block.shape.n_embd_head;
    const float * k           = block.tensors.k + block.head_kv * n_embd_head;
    for (int64_t key = 0; key < n; key += width) {
        const float * from[width];
        for (int i = 0; i < width; i++) {
            from[i] = k + rows[key + i] * block.tensors.k_stride;
        }
        float * to     = memory.keys + key / attention_strip * attention_strip * n_embd_head + key % attention_strip;
        vec     poison = lanes::set(0.0f);
        for (int64_t column = 0; column < n_embd_head; column += 4) {
            vec columns[4];
            lanes::load_columns(from, column, columns);
            for (int i = 0; i < 4; i++) {
                poison = lanes::fma(columns[i], lanes::set(0.0f), poison);
            }
            if (column + 4 == n_embd_head) {
                columns[3] = lanes::add(columns[3], poison);
            }
            for (int i = 0; i < 4; i++) {
                lanes::store_strips(to + (column + i) * attention_strip, attention_strip * n_embd_head, columns[i]);
            }
        }
    }
}

// [n, n_embd_head] -> strips [n_embd_head/8][attention_keys][8]; the last may be half full.
GME_TARGET void pack_values(const attention_block & block, const block_memory & memory, const int64_t * rows, int64_t n) {
    const int64_t n_embd_head = block.shape.n_embd_head;
    for (int64_t key = 0; key < n; key++) {
        const float * from = block.tensors.v + rows[key] * block.tensors.v_stride + block.head_kv * n_embd_head;
        float *       to   = memory.values + key * attention_strip;
        int64_t       column = 0;
        for (; column + attention_strip <= n_embd_head; column += attention_strip) {
            std::memcpy(to + column * attention_keys, from + column, attention_strip * sizeof(float));
        }
        if (column < n_embd_head) {
            std::memcpy(to + column * attention_keys, from + column, 4 * sizeof(float));
        }
    }
}

GME_TARGET void attend_block(const attention_block & block) {
    const block_memory memory(block.scratch, block.shape.n_embd_head);
    const int64_t      n_rows = block.rows.end - block.rows.begin;
    for_each_panel(n_rows, [&](int64_t panel, int n_vectors) {
        for (int v = 0; v < n_vectors; v++) {
            load_queries(block, memory, panel, panel + v * width, n_vectors);
        }
    });
    const int64_t n_seen = memory.limits[n_rows - 1] + int64_t(1);
    for (int64_t first = 0; first < n_seen; first += attention_keys) {
        const int64_t last = n_seen - first < attention_keys ? n_seen : first + attention_keys;
        int64_t       rows[attention_keys];
        find_key_rows(block.segment, first, last - first, rows);
        pack_keys(block, memory, rows, last - first);
        pack_values(block, memory, rows, last - first);
        for_each_panel(n_rows, [&](int64_t lane, int n_vectors) {
            if (n_vectors == 1) {
                attend_panel<1>(memory, block.shape, lane, first, last);
            } else if (n_vectors == 2) {
                attend_panel<2>(memory, block.shape, lane, first, last);
            } else {
                attend_panel<3>(memory, block.shape, lane, first, last);
            }
        });
    }
    for_each_panel(n_rows, [&](int64_t panel, int n_vectors) {
        for (int v = 0; v < n_vectors; v++) {
            store_outputs(block, memory, panel, panel + v * width, n_vectors);
        }
    });
}

}  // namespace

}  // namespace gme
