// required-cpu: what ggml's kernels were compiled for, asked of the processor that they are to run on.
//
// This file is compiled with ggml's flags, which let the compiler use these instructions anywhere: without them the first graph would
// end the process. It is asked before any of it runs, and does no arithmetic itself.

#include "ggml-guard.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif

namespace gme {

#if defined(__x86_64__) && defined(__GNUC__)

namespace {

// Bits of CPUID leaf 1, which not every compiler's builtin has a name for.
[[maybe_unused]] bool has_leaf_1(unsigned bit) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & (1u << bit)) != 0;
}

}  // namespace

#define GME_REQUIRE(condition, name) \
    if (!(condition)) {              \
        return name;                 \
    }

const char * missing_instructions() noexcept {
    __builtin_cpu_init();
#ifdef __SSE4_2__
    GME_REQUIRE(__builtin_cpu_supports("sse4.2"), "SSE4.2")
#endif
#ifdef __POPCNT__
    GME_REQUIRE(__builtin_cpu_supports("popcnt"), "POPCNT")
#endif
#ifdef __AVX__
    GME_REQUIRE(__builtin_cpu_supports("avx"), "AVX")
#endif
#ifdef __F16C__
    GME_REQUIRE(has_leaf_1(29), "F16C")
#endif
#ifdef __FMA__
    GME_REQUIRE(__builtin_cpu_supports("fma"), "FMA")
#endif
#ifdef __AVX2__
    GME_REQUIRE(__builtin_cpu_supports("avx2"), "AVX2")
#endif
#ifdef __BMI__
    GME_REQUIRE(__builtin_cpu_supports("bmi"), "BMI")
#endif
#ifdef __BMI2__
    GME_REQUIRE(__builtin_cpu_supports("bmi2"), "BMI2")
#endif
#ifdef __AVX512F__
    GME_REQUIRE(__builtin_cpu_supports("avx512f"), "AVX-512 F")
#endif
#ifdef __AVX512BW__
    GME_REQUIRE(__builtin_cpu_supports("avx512bw"), "AVX-512 BW")
#endif
#ifdef __AVX512DQ__
    GME_REQUIRE(__builtin_cpu_supports("avx512dq"), "AVX-512 DQ")
#endif
#ifdef __AVX512VL__
    GME_REQUIRE(__builtin_cpu_supports("avx512vl"), "AVX-512 VL")
#endif
#ifdef __AVX512VBMI__
    GME_REQUIRE(__builtin_cpu_supports("avx512vbmi"), "AVX-512 VBMI")
#endif
#ifdef __AVX512VNNI__
    GME_REQUIRE(__builtin_cpu_supports("avx512vnni"), "AVX-512 VNNI")
#endif
#ifdef __AVX512BF16__
    GME_REQUIRE(__builtin_cpu_supports("avx512bf16"), "AVX-512 BF16")
#endif
    return nullptr;
}

#undef GME_REQUIRE

#else

const char * missing_instructions() noexcept {
    return nullptr;
}

#endif

}  // namespace gme
