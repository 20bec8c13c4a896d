# Compiler settings and the few functions that the build files of facet are written in.

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

set(FACET_SANITIZE "" CACHE STRING "sanitizers for everything, for example address,undefined or thread")
option(FACET_FUZZ "build the fuzz targets (clang only)" OFF)
option(FACET_COVERAGE "record line coverage (clang only)" OFF)
option(FACET_BENCH "build the benchmarks" ON)
set(FACET_UNITY 8 CACHE STRING "how many sources of a folder are compiled at a time, which halves the time of a build; 1: each alone, so that a missing #include is found")

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

if(NOT FACET_UNITY MATCHES "^[0-9]+$")
  message(FATAL_ERROR "FACET_UNITY: expected a number of sources, found '${FACET_UNITY}'; a folder that was configured before starts anew with cmake --fresh")
endif()
if(NOT CMAKE_BUILD_TYPE)  # CMake drops every setting where a folder's compiler changes
  message(FATAL_ERROR "CMAKE_BUILD_TYPE is empty: expected a preset, as in cmake --fresh --preset release (CMakePresets.json)")
endif()

# -ffp-contract=off: a multiplication and an addition are fused only where the source says so, or two inlined copies of
# one function could round differently (the row law, docs/row-law.md).
add_compile_options(-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Werror -ffp-contract=off -fno-strict-aliasing)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports these inside its own <string> and <vector> when it inlines them.
  add_compile_options(-Wno-restrict -Wno-stringop-overflow -Wno-array-bounds -Wno-maybe-uninitialized -Wno-psabi)
  if(FACET_UNITY GREATER 1)  # a class of a source that holds one of its anonymous namespace: here every source is an #include
    add_compile_options(-Wno-subobject-linkage)
  endif()
endif()
if(FACET_SANITIZE)
  add_compile_options(-fsanitize=${FACET_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  if(FACET_SANITIZE MATCHES undefined)
    # A third of the build, for little: a use of null or of a pointer that wrapped around ends in the address sanitizer's
    # report where it is outside of memory, object sizes are its own subject, and nothing here casts down a hierarchy.
    add_compile_options(-fno-sanitize=null,object-size,pointer-overflow,vptr)
  endif()
  add_link_options(-fsanitize=${FACET_SANITIZE})
endif()
if(FACET_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(FACET_COVERAGE)
  add_compile_options(-fprofile-instr-generate -fcoverage-mapping)
  add_link_options(-fprofile-instr-generate)
endif()

# facet_unity(TARGET): most of the time of a source is its headers', so several share them. Names in anonymous namespaces
# are therefore told apart within a folder; where one would be the same function twice, it has a header.
function(facet_unity target)
  if(FACET_UNITY GREATER 1)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${FACET_UNITY})
  endif()
endfunction()

# facet_library(NAME [DEPS folder ...]): the folder src/NAME as the library facet_NAME.
function(facet_library name)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cc)
  list(FILTER sources EXCLUDE REGEX "/src/cli/main\\.cc$")
  if(sources)
    add_library(facet_${name} STATIC ${sources})
    set(scope PUBLIC)
  else()
    add_library(facet_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(facet_${name} ${scope}
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
  foreach(dep ${ARG_DEPS})
    target_link_libraries(facet_${name} ${scope} facet_${dep})
  endforeach()
  if(sources AND NOT name STREQUAL "kernels")  # whose sources choose their instruction sets by pragma
    facet_unity(facet_${name})
  endif()
  set_property(GLOBAL APPEND PROPERTY FACET_LIBRARIES facet_${name})
endfunction()

# For sources that are not what is tested: they stay in their memory, and nothing else is watched.
set(FACET_MEMORY_ONLY)
if(FACET_SANITIZE MATCHES undefined)
  list(APPEND FACET_MEMORY_ONLY -fno-sanitize=undefined)
endif()
if(FACET_FUZZ)
  list(APPEND FACET_MEMORY_ONLY -fno-sanitize=fuzzer-no-link)
endif()

# What the tests' own sources are compiled with: they are a third of all lines, and their speed is nobody's. The libraries
# that they call are checked; of inline functions only what those or a fuzzer use.
set(FACET_TEST_OPTIONS -O1 ${FACET_MEMORY_ONLY})

# facet_test(FOLDER LIBS library ...): all of tests/FOLDER as one program; one CTest entry, since a start costs more than most tests.
function(facet_test folder)
  cmake_parse_arguments(ARG "" "" "LIBS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${folder}/*.cc)
  if(NOT sources)
    return()
  endif()
  add_executable(${folder}_test ${sources})
  target_include_directories(${folder}_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  if(NOT folder STREQUAL "perf")
    target_compile_options(${folder}_test PRIVATE ${FACET_TEST_OPTIONS})
  endif()
  facet_unity(${folder}_test)
  target_link_libraries(${folder}_test PRIVATE ${ARG_LIBS} facet_testing GTest::gtest_main)
  add_test(NAME ${folder} COMMAND ${folder}_test WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
endfunction()

# facet_fuzzer(NAME LIBS library ...): fuzz/NAME.cc. With FACET_FUZZ a libFuzzer program; otherwise a replay of its corpus as a test.
function(facet_fuzzer name)
  cmake_parse_arguments(ARG "" "" "LIBS" ${ARGN})
  if(FACET_FUZZ)
    add_executable(fuzz_${name} ${PROJECT_SOURCE_DIR}/fuzz/${name}.cc)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    if(NOT TARGET facet_replay)
      add_library(facet_replay STATIC ${PROJECT_SOURCE_DIR}/fuzz/replay_main.cc)
    endif()
    add_executable(fuzz_${name} ${PROJECT_SOURCE_DIR}/fuzz/${name}.cc)
    target_link_libraries(fuzz_${name} PRIVATE facet_replay)
    add_test(NAME fuzz_replay_${name} COMMAND fuzz_${name} ${PROJECT_SOURCE_DIR}/fuzz/corpus/${name})
  endif()
  target_include_directories(fuzz_${name} PRIVATE ${PROJECT_SOURCE_DIR}/fuzz ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(fuzz_${name} PRIVATE ${ARG_LIBS})
endfunction()
