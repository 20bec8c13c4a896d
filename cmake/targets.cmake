# What is built from the libraries: the program, tests, fuzzers, benchmarks.

enable_testing()

if(EXISTS ${PROJECT_SOURCE_DIR}/src/cli/main.cc)
  add_executable(facet_program ${PROJECT_SOURCE_DIR}/src/cli/main.cc)
  set_target_properties(facet_program PROPERTIES OUTPUT_NAME facet RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
  target_link_libraries(facet_program PRIVATE facet_cli)
endif()

find_package(GTest REQUIRED)
file(GLOB testing_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/support/*.cc)
add_library(facet_testing STATIC ${testing_sources})
target_include_directories(facet_testing PUBLIC ${PROJECT_SOURCE_DIR}/tests)
target_compile_definitions(facet_testing PRIVATE FACET_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
target_link_libraries(facet_testing PUBLIC facet_base facet_tensor facet_formats facet_kernels GTest::gtest GTest::gmock)

# The AVX-512 tier once more, in portable code (SIMDe), so that tests run it on every machine; see docs/kernels.md.
# Not with the thread sanitizer: no test of threads calls that tier.
find_path(SIMDE_INCLUDE simde/x86/avx512.h)
if(SIMDE_INCLUDE AND NOT FACET_SANITIZE MATCHES thread)
  file(GLOB emulated_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/kernels/avx512_*.cc)
  add_library(facet_kernels_emulated STATIC ${emulated_sources})
  target_include_directories(facet_kernels_emulated PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_options(facet_kernels_emulated PRIVATE $<$<CONFIG:Release>:-O2> -Wno-ignored-attributes -Wno-psabi ${FACET_MEMORY_ONLY} -include ${PROJECT_SOURCE_DIR}/tests/support/emulate_avx512.h)
  target_link_libraries(facet_kernels_emulated PUBLIC facet_kernels)
  target_compile_definitions(facet_testing PRIVATE FACET_HAVE_EMULATED_AVX512)
  target_link_libraries(facet_testing PUBLIC facet_kernels_emulated)
endif()

foreach(folder base tensor kernels formats ops tokenizer model runtime chat convert hub engine verify cli)
  facet_test(${folder} LIBS facet_${folder})
endforeach()
if(TARGET cli_test AND TARGET facet_program)  # runs the program
  add_dependencies(cli_test facet_program)
  target_compile_definitions(cli_test PRIVATE FACET_PROGRAM="$<TARGET_FILE:facet_program>")
endif()
facet_test(golden LIBS facet_engine facet_convert)         # whole models against the reference
facet_test(golden_slow LIBS facet_engine facet_convert)    # the same with data beside the repository, in every way
if(TEST golden_slow)
  set_tests_properties(golden_slow PROPERTIES LABELS slow COST 1000)  # starts first, so that it runs beside the others
endif()

if(NOT FACET_SANITIZE AND NOT FACET_COVERAGE AND CMAKE_BUILD_TYPE STREQUAL "Release")
  facet_test(perf LIBS facet_kernels)  # speed as a share of what the processor can do
  if(TEST perf)
    set_tests_properties(perf PROPERTIES LABELS perf RUN_SERIAL ON)
  endif()
endif()

# No fuzzer searches the kernels; following their large generated loops would cost minutes.
if(FACET_FUZZ)
  target_compile_options(facet_kernels PRIVATE -fno-sanitize=fuzzer-no-link)
endif()
if(FACET_COVERAGE)
  target_compile_options(facet_kernels PRIVATE -fno-coverage-mapping -fno-profile-instr-generate)
endif()
file(GLOB fuzzers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/fuzz/*.cc)
foreach(source ${fuzzers})
  get_filename_component(name ${source} NAME_WE)
  if(NOT name STREQUAL "replay_main")
    facet_fuzzer(${name} LIBS facet_engine facet_convert facet_hub)
  endif()
endforeach()

facet_test(peer LIBS facet_engine facet_convert)           # the same files in llama.cpp, where tools/peer.sh has built it
if(TEST peer)
  set_tests_properties(peer PROPERTIES LABELS slow COST 500)
endif()
if(FACET_SANITIZE)  # `./test` leaves the slow ones to the release build; ninja builds them here when they are named
  set_target_properties(golden_slow_test peer_test PROPERTIES EXCLUDE_FROM_ALL ON)
endif()

find_package(Python3 QUIET COMPONENTS Interpreter)
if(Python3_FOUND)
  add_test(NAME tools_fetch COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tests/tools/fetch_test.py)
  add_test(NAME tools_versus COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tests/tools/versus_test.py)
  set_tests_properties(tools_fetch tools_versus PROPERTIES LABELS tools)
  if(TARGET facet_program AND NOT FACET_COVERAGE)  # downloads, against a server on this machine
    add_test(NAME hub_pull COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tests/hub/pull_test.py)
    add_test(NAME convert_kill COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tests/convert/kill_test.py)
    add_test(NAME packs COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tests/cli/pack_test.py)
    set_tests_properties(hub_pull convert_kill packs PROPERTIES ENVIRONMENT FACET_PROGRAM=$<TARGET_FILE:facet_program>)
    set_tests_properties(convert_kill packs PROPERTIES LABELS slow RUN_SERIAL ON)  # its moments are shares of a run's time
    if(NOT FACET_SANITIZE)  # which take memory of their own
      add_test(NAME engine_plan COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tests/engine/plan_test.py)
      set_tests_properties(engine_plan PROPERTIES ENVIRONMENT FACET_PROGRAM=$<TARGET_FILE:facet_program>
                           LABELS slow COST 400)
    endif()
  endif()
endif()

if(NOT FACET_COVERAGE)  # whose fuzzers alone have what they link
  add_executable(example_generate ${PROJECT_SOURCE_DIR}/examples/generate.cc)
  target_link_libraries(example_generate PRIVATE facet_engine)
endif()

if(FACET_BENCH)
  find_package(benchmark QUIET)
  file(GLOB benches CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/*.cc)
  foreach(source ${benches})
    get_filename_component(name ${source} NAME_WE)
    if(benchmark_FOUND)
      add_executable(bench_${name} ${source})
      target_link_libraries(bench_${name} PRIVATE facet_engine facet_testing benchmark::benchmark)
    endif()
  endforeach()
endif()

include(cmake/install.cmake)
if(NOT FACET_SANITIZE AND NOT FACET_COVERAGE)
  add_test(NAME install COMMAND ${CMAKE_COMMAND} -DBUILD=${PROJECT_BINARY_DIR} -DSOURCE=${PROJECT_SOURCE_DIR}
           -DWORK=${PROJECT_BINARY_DIR}/install-test -DCOMPILER=${CMAKE_CXX_COMPILER}
           -P ${PROJECT_SOURCE_DIR}/tests/install/install_test.cmake)
endif()
