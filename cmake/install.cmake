# cmake --install: the program, the public headers, the libraries behind them, and what find_package(facet) needs.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(installed_libraries base tensor kernels formats ops tokenizer model runtime chat convert engine)
foreach(folder ${installed_libraries})
  set_target_properties(facet_${folder} PROPERTIES EXPORT_NAME ${folder})
  install(TARGETS facet_${folder} EXPORT facet ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endforeach()
if(TARGET facet_program)
  install(TARGETS facet_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/facet DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/facet)
install(EXPORT facet NAMESPACE facet:: FILE facet-targets.cmake DESTINATION ${package_folder})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/facet-config.cmake.in ${PROJECT_BINARY_DIR}/facet-config.cmake
                              INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/facet-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/facet-config.cmake ${PROJECT_BINARY_DIR}/facet-config-version.cmake
        DESTINATION ${package_folder})
