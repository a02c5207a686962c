// cpu-level: the processor's own word, and the operating system's, on which of our kernels it runs.
//
//   CPUID, XGETBV -> AVX2, FMA, F16C -> AVX-512 F, BW, VL, DQ -> VNNI
//
// Asked for here, since __builtin_cpu_supports answers from a table that not every compiler's run-time library fills.

#include "cpu-level.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif

namespace gme {

#if defined(__x86_64__) && defined(__GNUC__)

namespace {

struct cpuid_leaf {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

cpuid_leaf read_leaf(unsigned number) {
    cpuid_leaf leaf;
    __get_cpuid_count(number, 0, &leaf.eax, &leaf.ebx, &leaf.ecx, &leaf.edx);  // zeros where the processor has none
    return leaf;
}

constexpr bool has_bits(unsigned word, unsigned bits) {
    return (word & bits) == bits;
}

// Which registers the operating system saves at a switch of threads: XCR0.
unsigned saved_registers() {
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

}  // namespace

cpu_features detect_cpu() {
    constexpr unsigned fma = 1u << 12, xgetbv = 1u << 27, avx = 1u << 28, f16c = 1u << 29;  // leaf 1, ECX
    constexpr unsigned avx2 = 1u << 5, avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // leaf 7, EBX: F, DQ, BW, VL
    constexpr unsigned vnni = 1u << 11;                                                     // leaf 7, ECX
    constexpr unsigned ymm = 0x06, zmm = 0xe6;                                              // XCR0

    cpu_features found;
    const cpuid_leaf base = read_leaf(1), more = read_leaf(7);
    if (!has_bits(base.ecx, fma | xgetbv | avx | f16c) || !has_bits(more.ebx, avx2) || !has_bits(saved_registers(), ymm)) {
        return found;
    }
    found.level = cpu_level::avx2;
    if (has_bits(more.ebx, avx512) && has_bits(saved_registers(), zmm)) {
        found.level       = cpu_level::avx512;
        found.avx512_vnni = has_bits(more.ecx, vnni);
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
