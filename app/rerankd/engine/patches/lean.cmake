# What install.sh adds to llama.cpp's own CMake project, as CMAKE_PROJECT_llama.cpp_INCLUDE: it leaves out
# what rerankd never loads, and spends the compiler's time where the processor's is spent later.

# The binding asks for llama.cpp's common library, which takes longer to compile than all the rest. It is
# for llama.cpp's own programs: libllama and ggml don't use it, and neither does the multimodal library.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "" FORCE)
set(LLAMA_ALL_WARNINGS OFF CACHE BOOL "" FORCE) # nobody reads them, and looking for them takes time

# Runs when llama.cpp's targets are there.
function(rerankd_compile_less)
    # A helper of the common library.
    foreach(target vendor-hash)
        if(TARGET ${target})
            set_target_properties(${target} PROPERTIES EXCLUDE_FROM_ALL ON)
        endif()
    endforeach()
    # libllama builds graphs: the arithmetic is ggml's, which keeps its flags. What reads texts and fills
    # the inputs of a step is compiled as before; the rest with fewer passes and, like the architectures,
    # many files at once, because most of a file's time goes into the headers that all of them read.
    get_target_property(folder llama SOURCE_DIR)
    set(hot llama-batch.cpp llama-graph.cpp llama-kv-cache.cpp llama-vocab.cpp unicode.cpp)
    list(TRANSFORM hot PREPEND ${folder}/)
    file(GLOB sources ${folder}/*.cpp)
    list(REMOVE_ITEM sources ${hot})
    target_compile_options(llama PRIVATE -O1)
    set_source_files_properties(${hot} TARGET_DIRECTORY llama PROPERTIES COMPILE_OPTIONS -O2)
    set_source_files_properties(${sources} TARGET_DIRECTORY llama PROPERTIES SKIP_UNITY_BUILD_INCLUSION OFF)
    # What reads files and finds backends, and the backend that joins several devices.
    get_target_property(folder ggml-base SOURCE_DIR)
    set_source_files_properties(${folder}/gguf.cpp ${folder}/ggml-opt.cpp ${folder}/ggml-backend-meta.cpp
        TARGET_DIRECTORY ggml-base PROPERTIES COMPILE_OPTIONS -O1)
    target_compile_options(ggml PRIVATE -O1)
endfunction()
cmake_language(DEFER CALL rerankd_compile_less)

# Runs when the multimodal library is there, which the binding adds beside llama.cpp's own targets. Its
# helpers decode audio, video and pictures, and rerankd has its own decoder: no such code is linked. The
# encoders of all models are compiled, few files at once; they build graphs, as libllama does.
function(rerankd_compile_pictures)
    if(NOT TARGET mtmd)
        return()
    endif()
    get_target_property(folder mtmd SOURCE_DIR)
    get_target_property(sources mtmd SOURCES)
    list(FILTER sources EXCLUDE REGEX helper)
    list(TRANSFORM sources PREPEND ${folder}/)
    set(apart ${sources})
    list(FILTER apart EXCLUDE REGEX /models/)
    set_target_properties(mtmd PROPERTIES SOURCES "${sources}" UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 64
        LINK_LIBRARIES "ggml;llama;Threads::Threads" PUBLIC_HEADER "")
    set_source_files_properties(${apart} TARGET_DIRECTORY mtmd PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    target_compile_options(mtmd PRIVATE -O1)
endfunction()
cmake_language(DEFER DIRECTORY ${CMAKE_SOURCE_DIR} CALL rerankd_compile_pictures)
