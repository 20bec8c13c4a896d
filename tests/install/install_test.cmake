# Installs the build into a fresh folder and builds the examples against it, as a stranger would.
#   cmake -DBUILD=… -DSOURCE=… -DWORK=… -P install_test.cmake
file(REMOVE_RECURSE ${WORK})
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGN}\n${output}")
  endif()
endfunction()
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
run(${CMAKE_COMMAND} -S ${SOURCE}/examples -B ${WORK}/examples -G Ninja -DCMAKE_PREFIX_PATH=${WORK}/prefix
    -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_BUILD_TYPE=Release)
run(${CMAKE_COMMAND} --build ${WORK}/examples)
execute_process(COMMAND ${WORK}/examples/generate ${WORK}/no-such-model.gguf text RESULT_VARIABLE result ERROR_VARIABLE message)
if(NOT result EQUAL 1 OR NOT message MATCHES "no-such-model.gguf")
  message(FATAL_ERROR "expected a message about the missing model, found (${result}): ${message}")
endif()
