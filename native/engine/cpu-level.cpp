// cpu-level: the processor's own word, and the operating system's, on which of our kernels it runs.
//
//   CPUID -> AVX2, FMA, F16C -> AVX-512 F, BW, VL, DQ -> VNNI

#include "cpu-level.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif

namespace gme {

#if defined(__x86_64__) && defined(__GNUC__)

namespace {

struct cpuid_words {
    unsigned a = 0, b = 0, c = 0, d = 0;
};

// By hand: __builtin_cpu_supports is a question to the compiler's library, and that of zig, which the published builds for Linux are
// linked with, answers no to everything.
cpuid_words cpuid(unsigned leaf) {
    cpuid_words words;
    __get_cpuid_count(leaf, 0, &words.a, &words.b, &words.c, &words.d);  // words stay 0 where there is no such leaf
    return words;
}

bool has(unsigned word, int bit) {
    return (word >> bit & 1) != 0;
}

// Registers that the operating system keeps when it switches threads: bits 1 and 2 those of AVX, 5 to 7 those of AVX-512.
unsigned kept_registers() {
    unsigned low = 0, high = 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

}  // namespace

cpu_features detect_cpu() {
    cpu_features      found;
    const cpuid_words basic = cpuid(1), extended = cpuid(7);
    const bool        xgetbv = has(basic.c, 27);
    const unsigned    kept   = xgetbv ? kept_registers() : 0;
    const bool        fma = has(basic.c, 12), avx = has(basic.c, 28), f16c = has(basic.c, 29), avx2 = has(extended.b, 5);
    if ((kept & 0x06) != 0x06 || !avx || !avx2 || !fma || !f16c) {
        return found;
    }
    found.level = cpu_level::avx2;
    const bool f = has(extended.b, 16), dq = has(extended.b, 17), bw = has(extended.b, 30), vl = has(extended.b, 31);
    if ((kept & 0xe6) == 0xe6 && f && dq && bw && vl) {
        found.level       = cpu_level::avx512;
        found.avx512_vnni = has(extended.c, 11);
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
