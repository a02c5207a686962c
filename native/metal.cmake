# Metal: ggml's driver of Apple's graphics, as a library beside the engine in what is passed on for Apple silicon. It cannot be built or
# run on other systems: test/package/metal.test.ts checks this configuration, nothing more.

set(GGML_METAL OFF)
set(GME_SYSTEM_PROCESSOR ${CMAKE_SYSTEM_PROCESSOR})
if (CMAKE_OSX_ARCHITECTURES)
    set(GME_SYSTEM_PROCESSOR ${CMAKE_OSX_ARCHITECTURES})
endif()
if (APPLE AND GME_PORTABLE AND GME_SYSTEM_PROCESSOR STREQUAL "arm64")
    set(GGML_METAL               ON)
    set(GGML_METAL_EMBED_LIBRARY ON)  # the kernels' source lies in the library, not in a file that could be elsewhere
    set(GGML_METAL_NDEBUG        ON)
endif()

# Objective-C knows a class by its name in the whole process: another copy of ggml would bring one of the same name.
set(GME_METAL_CLASSES GGMLMetalClass)

function(gme_metal_finish)
    foreach(class ${GME_METAL_CLASSES})
        target_compile_definitions(ggml-metal PRIVATE ${class}=GmeEmbed${class})
    endforeach()
    # As for ggml's other libraries: no plain asserts, exceptions pass, a file name of our own.
    target_compile_definitions(ggml-metal PRIVATE NDEBUG)
    target_compile_options(ggml-metal PRIVATE -fexceptions)
    set_target_properties(ggml-metal PROPERTIES OUTPUT_NAME gme-ggml-metal)
endfunction()
