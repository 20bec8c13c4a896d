// What the tests of downloads and of the model cache share: names of commits and of a blob, a waiter that gives up.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

namespace facet::hub {

inline const std::string kFirst(40, '1'), kSecond(40, '2');
inline const std::string kBlob =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";  // SHA-256 of "abc"
inline const auto kStop = [] { return false; };

inline void write(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace facet::hub
