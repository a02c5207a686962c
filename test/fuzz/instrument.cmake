# How the fuzzers' code is compiled: coverage feedback, AddressSanitizer and UndefinedBehaviorSanitizer, stopping at the first report.
#
# Included before ggml, so that ggml is instrumented too; with GME_FUZZ_GGML a ready build of it is linked instead, which saves
# minutes and still catches what our code hands to it through asserts and through memory that AddressSanitizer owns.
if (NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "GME_FUZZ needs clang: cmake -DCMAKE_C_COMPILER=clang-14 -DCMAKE_CXX_COMPILER=clang++-14")
endif()

set(GME_FUZZ_SANITIZERS address,undefined,float-cast-overflow)
add_compile_options(-fsanitize=fuzzer-no-link,${GME_FUZZ_SANITIZERS} -fno-sanitize-recover=all -fno-omit-frame-pointer -gline-tables-only -O1)
add_link_options(-fsanitize=${GME_FUZZ_SANITIZERS})

# ggml of another build folder, uninstrumented.
function(gme_fuzz_import_ggml target folder)
    find_package(Threads REQUIRED)
    target_include_directories(${target} INTERFACE ${CMAKE_SOURCE_DIR}/vendor/ggml/include ${CMAKE_SOURCE_DIR}/native/ggml-guard)
    foreach(name ggml-cpu ggml-base)
        file(GLOB_RECURSE found ${folder}/*lib${name}.a)
        if (NOT found)
            message(FATAL_ERROR "${folder} holds no lib${name}.a; build it first: node scripts/cmake-build.js")
        endif()
        list(GET found 0 library)
        target_link_libraries(${target} INTERFACE ${library})
    endforeach()
    target_link_libraries(${target} INTERFACE Threads::Threads ${CMAKE_DL_LIBS} m)
endfunction()
