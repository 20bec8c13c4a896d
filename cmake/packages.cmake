# Which folder links which Debian package (design: well-kept libraries, none vendored).

find_package(Threads REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(simdjson REQUIRED)
find_package(CLI11 REQUIRED)
find_package(CURL 7.85 REQUIRED)
find_package(OpenSSL 3 REQUIRED COMPONENTS Crypto)
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBEDIT REQUIRED IMPORTED_TARGET libedit)

# facet_link(FOLDER library ...): a package that only this folder's own sources use.
function(facet_link name)
  get_target_property(type facet_${name} TYPE)
  if(NOT type STREQUAL "INTERFACE_LIBRARY")
    target_link_libraries(facet_${name} PRIVATE ${ARGN})
  endif()
endfunction()

target_link_libraries(facet_base PUBLIC Threads::Threads)
facet_link(base      nlohmann_json::nlohmann_json fmt::fmt spdlog::spdlog)
facet_link(tokenizer simdjson::simdjson)
facet_link(convert   OpenSSL::Crypto)
facet_link(hub       CURL::libcurl OpenSSL::Crypto)
facet_link(cli       CLI11::CLI11 PkgConfig::LIBEDIT fmt::fmt)
