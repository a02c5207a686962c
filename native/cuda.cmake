# ggml's CUDA back end as a library of its own, libgme-ggml-cuda, beside the portable build (GME_CUDA).
#
# It links libgme-engine, which the process has loaded before it: no search path leads there. CUDA's runtime is linked in, cuBLAS is the
# user's (libcublas.so.13): it is too large, and not ours to pass on. Without ggml's own use of virtual memory nothing of the driver is
# linked either, so the library loads, and says that it finds no device, where there is none.

# What a toolkit without cuBLAS is given: headers and the library to link against, from GME_CUBLAS_ROOT (include/, lib/).
macro(gme_cuda_prepare)
    if (NOT GME_PORTABLE)
        message(FATAL_ERROR "GME_CUDA makes a library to be loaded: it needs GME_PORTABLE")
    endif()
    set(CMAKE_CUDA_ARCHITECTURES ${GME_CUDA_ARCHITECTURES})
    if (GME_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
        set(CMAKE_CUDA_COMPILER_LAUNCHER ${GME_CCACHE})
    endif()
    set(GGML_CUDA        ON)
    set(GGML_CUDA_FA     ON)
    set(GGML_CUDA_NCCL   OFF)
    set(GGML_CUDA_NO_VMM ON)
    # Keys and values are f32, which flash attention rounds to f16: kernels for quantised ones are never asked for.
    set(GGML_CUDA_FA_QUANTS "f16-f16")
    if (GME_CUBLAS_ROOT AND NOT TARGET CUDA::cublas)
        file(GLOB cublas ${GME_CUBLAS_ROOT}/lib/libcublas.so.*)
        if (NOT cublas OR NOT EXISTS ${GME_CUBLAS_ROOT}/include/cublas_v2.h)
            message(FATAL_ERROR "GME_CUBLAS_ROOT=${GME_CUBLAS_ROOT} holds no include/cublas_v2.h and lib/libcublas.so.*")
        endif()
        list(GET cublas 0 cublas)
        add_library(CUDA::cublas SHARED IMPORTED GLOBAL)
        set_target_properties(CUDA::cublas PROPERTIES IMPORTED_LOCATION ${cublas} INTERFACE_INCLUDE_DIRECTORIES ${GME_CUBLAS_ROOT}/include)
    endif()
endmacro()

function(gme_cuda_finish)
    get_target_property(libraries ggml-cuda LINK_LIBRARIES)
    list(TRANSFORM libraries REPLACE "^CUDA::cudart$" "CUDA::cudart_static")
    # Beside the CPU libraries it would find the engine by the search path; in a package of its own it must not look for a copy there.
    set_target_properties(ggml-cuda PROPERTIES LINK_LIBRARIES "${libraries}" CUDA_RUNTIME_LIBRARY Static OUTPUT_NAME gme-ggml-cuda INSTALL_RPATH "")
    if (NOT MSVC)
        # The runtime's own names stay inside, and libcublasLt is found by libcublas, not by us.
        target_link_options(ggml-cuda PRIVATE -Wl,--version-script=${CMAKE_BINARY_DIR}/gme_ggml.map -Wl,--exclude-libs,ALL
            -Wl,--allow-shlib-undefined -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack $<$<CONFIG:Release>:-s>)
    endif()
endfunction()
