// cpu-level: the processor's own word, and the operating system's, on which of our kernels it runs.
//
//   CPUID -> AVX2, FMA, F16C -> AVX-512 F, BW, VL, DQ -> VNNI

#include "cpu-level.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif

namespace gme {

#if defined(__x86_64__) && defined(__GNUC__)

// The compilers do not agree on which name __builtin_cpu_supports takes for this one. It works on AVX registers, whose use the
// builtin has already checked with the operating system when it says AVX2.
static bool has_f16c() {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & (1u << 29)) != 0;
}

cpu_features detect_cpu() {
    cpu_features found;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c()) {
        return found;
    }
    found.level = cpu_level::avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq")) {
        found.level       = cpu_level::avx512;
        found.avx512_vnni = __builtin_cpu_supports("avx512vnni");
    }
    return found;
}

#else

cpu_features detect_cpu() {
    return {};
}

#endif

cpu_features limit_cpu(cpu_features found, cpu_level most) {
    if (most < found.level) {
        found.level       = most;
        found.avx512_vnni = false;
    }
    return found;
}

const char * cpu_level_name(const cpu_features & cpu) {
    switch (cpu.level) {
        case cpu_level::avx512: return cpu.avx512_vnni ? "avx512-vnni" : "avx512";
        case cpu_level::avx2: return "avx2";
        default: return "portable";
    }
}

}  // namespace gme
