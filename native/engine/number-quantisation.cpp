// number-quantisation: rows of a weight in f32, f16 or bf16 -> the same rows in any type, block types among them.
//
//   rows [n_rows, n_columns] -> ranges of whole rows, one per thread
//   row -> f32 (number-conversion) -> ggml's own quantiser, without an importance matrix
//
// A quantiser sees one row at a time, so the bytes do not depend on the number of threads. Each thread needs one row of f32. A block has
// no representation of infinity or NaN: such a weight is an error, not a block of garbage.

#include "number-quantisation.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <thread>
#include <vector>

#include "error.h"
#include "ggml.h"
#include "number-conversion.h"
#include "tensor-types.h"

namespace gme {

namespace {

struct row_job {
    std::string  from;
    std::string  to;
    ggml_type    type;
    const char * rows;
    char *       target;
    int64_t      n_columns;
    size_t       row_bytes_in;
    size_t       row_bytes_out;
    bool         is_block_type;
};

bool is_finite_row(const std::vector<float> & row) {
    float zero = 0.0f;  // 0 times a number is 0, 0 times infinity or NaN is NaN
    for (const float value : row) {
        zero += 0.0f * value;
    }
    return std::isfinite(zero);
}

void quantize_range(const row_job & job, int64_t begin, int64_t end) {
    std::vector<float> row(job.is_block_type ? static_cast<size_t>(job.n_columns) : 0);  // [n_columns]
    for (int64_t i = begin; i < end; i++) {
        const char * in  = job.rows + static_cast<size_t>(i) * job.row_bytes_in;
        char *       out = job.target + static_cast<size_t>(i) * job.row_bytes_out;
        if (!job.is_block_type) {
            convert_numbers(job.from, in, job.to, out, static_cast<size_t>(job.n_columns));
            continue;
        }
        convert_numbers(job.from, in, "f32", row.data(), row.size());
        if (!is_finite_row(row)) {
            throw error("GME_NON_FINITE", "a weight is not finite in row " + std::to_string(i) + " of this piece");
        }
        ggml_quantize_chunk(job.type, row.data(), out, 0, 1, job.n_columns, nullptr);
    }
}

}  // namespace

size_t row_size(const std::string & type, int64_t n_columns) {
    const auto * found = find_tensor_type(type);
    if (found == nullptr || n_columns <= 0 || n_columns % found->block_rows != 0) {
        return 0;
    }
    return static_cast<size_t>(n_columns / found->block_rows) * found->block_size;
}

void quantize_rows(const std::string & from, const void * rows, int64_t n_rows, int64_t n_columns, const std::string & to, int32_t n_threads,
                   void * target) {
    const auto * type = find_tensor_type(to);
    if (type == nullptr || row_size(to, n_columns) == 0 || ggml_quantize_requires_imatrix(static_cast<ggml_type>(type->id))) {
        throw error("GME_OPTION_INVALID", "rows of " + std::to_string(n_columns) + " numbers cannot become " + printable(to))
            .at_field("to").found(printable(to)).wanted("a type whose blocks divide a row");
    }
    const row_job job = { from, to, static_cast<ggml_type>(type->id), static_cast<const char *>(rows), static_cast<char *>(target), n_columns,
                          row_size(from, n_columns), row_size(to, n_columns), type->block_rows > 1 };
    const int64_t n_workers = std::clamp<int64_t>(n_threads, 1, std::max<int64_t>(1, n_rows));
    std::vector<std::exception_ptr> failures(static_cast<size_t>(n_workers));
    const auto run = [&](int64_t worker) noexcept {
        try {
            quantize_range(job, n_rows * worker / n_workers, n_rows * (worker + 1) / n_workers);
        } catch (...) {
            failures[static_cast<size_t>(worker)] = std::current_exception();
        }
    };
    std::vector<std::thread> threads;
    int64_t                  n_started = 1;  // the first range is the caller's own
    try {
        for (; n_started < n_workers; n_started++) {
            threads.emplace_back(run, n_started);
        }
    } catch (const std::exception &) {
        // No more threads are to be had: the caller does the ranges that are left.
    }
    run(0);
    for (int64_t worker = n_started; worker < n_workers; worker++) {
        run(worker);
    }
    for (auto & thread : threads) {
        thread.join();
    }
    for (const auto & failure : failures) {
        if (failure) {
            std::rethrow_exception(failure);
        }
    }
}

}  // namespace gme
