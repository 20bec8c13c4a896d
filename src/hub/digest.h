// Digest: the running hash that names a blob. OpenSSL computes it, behind digest.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/file.h"

namespace facet::hub {

class Digest {
 public:
  // For a blob with this id (is_object_id()): 64 digits are the SHA-256 of the bytes, 40 digits are git's SHA-1 over
  // "blob SIZE\0" and the bytes.
  Digest(std::string_view id, int64_t size);
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void update(Bytes bytes);
  // Lower-case hexadecimal. Ends the digest.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace facet::hub
