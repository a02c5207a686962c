// What the modes of gme-tool share.
#pragma once

#include <string>

#include "gme.h"

namespace tool {

// Prints the error and ends the process with 1.
[[noreturn]] void fail(gme_error * error);
[[noreturn]] void fail(const std::string & message);

// Vectors of many items: a list in, floats out (cases.cpp).
void run_cases(gme_model * model, const std::string & list, const std::string & target);

// Items per second at growing batches (bench.cpp).
struct bench_options {
    std::string works = "texts,pictures-256";  // texts, pictures-<image tokens>
    std::string batches = "1,4,16,64";
    double      seconds = 2;                   // of measuring, for each work and batch
};
void run_bench(gme_model * model, const bench_options & options);

}  // namespace tool
