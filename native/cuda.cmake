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

# ggml's file with the matrix products, changed where it computes; a text that is not found ends the configuration.
function(gme_cuda_products result)
    set(source ${CMAKE_SOURCE_DIR}/vendor/ggml/src/ggml-cuda/ggml-cuda.cu)
    file(READ ${source} text)
    # f16 products: sums and results in f32 on every NVIDIA card, not on Volta alone. ggml would sum in f16.
    set(from_1 "prefer_f32_output = cc == GGML_CUDA_CC_VOLTA ||")
    set(to_1   "prefer_f32_output = GGML_CUDA_CC_IS_NVIDIA(cc) ||")
    # Sums in f32 are then no reason to turn f16 weights into f32 for each product, at half the speed: only rows that must not be rounded
    # to f16 are one (GGML_PREC_F32 of source 1), and weights that f16 does not hold.
    set(from_2 "if (dst->op_params[0] == GGML_PREC_F32) {")
    set(to_2   "if (dst->op_params[0] == GGML_PREC_F32 && (dst->op_params[3] == GGML_PREC_F32 || (src0->type != GGML_TYPE_F16 && !ggml_is_quantized(src0->type)))) {")
    foreach(change 1 2)
        string(FIND "${text}" "${from_${change}}" first)
        string(FIND "${text}" "${from_${change}}" last REVERSE)
        if (first EQUAL -1 OR NOT first EQUAL last)
            message(FATAL_ERROR "${source} does not hold once: ${from_${change}}")
        endif()
        string(REPLACE "${from_${change}}" "${to_${change}}" text "${text}")
    endforeach()
    set(changed ${CMAKE_BINARY_DIR}/ggml-cuda/ggml-cuda.cu)
    file(CONFIGURE OUTPUT ${changed} CONTENT "${text}" @ONLY)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
    set(${result} ${changed} PARENT_SCOPE)
endfunction()

function(gme_cuda_finish)
    get_target_property(sources ggml-cuda SOURCES)
    list(FILTER sources EXCLUDE REGEX "/ggml-cuda\\.cu$|^ggml-cuda\\.cu$")
    gme_cuda_products(products)
    set_source_files_properties(${products} TARGET_DIRECTORY ggml-cuda PROPERTIES LANGUAGE CUDA)
    set_target_properties(ggml-cuda PROPERTIES SOURCES "${sources};${products}")
    target_include_directories(ggml-cuda PRIVATE ${CMAKE_SOURCE_DIR}/vendor/ggml/src/ggml-cuda)
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
