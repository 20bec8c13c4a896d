// Bytes of a file's head being put together, little-endian as this machine.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/file.h"

namespace facet::formats {

inline void append(std::vector<std::byte>& out, Bytes bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

template <class T>
void append_number(std::vector<std::byte>& out, T value) {
  append(out, std::as_bytes(std::span(&value, 1)));
}

}  // namespace facet::formats
