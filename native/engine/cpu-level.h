// Which of our own kernels this processor can run, asked once per model and handed to them.
#pragma once

namespace gme {

// avx2: AVX2, FMA and F16C. avx512: AVX-512 F, BW, VL and DQ besides. Everything else, ARM among it, is portable.
enum class cpu_level { portable, avx2, avx512 };

struct cpu_features {
    cpu_level level       = cpu_level::portable;
    bool      avx512_vnni = false;  // products of bytes in 512 bits; only with level avx512
};

cpu_features detect_cpu();

// No more than `most` of what was found.
cpu_features limit_cpu(cpu_features found, cpu_level most);

const char * cpu_level_name(const cpu_features & cpu);  // "avx512-vnni", "avx512", "avx2", "portable"

}  // namespace gme
