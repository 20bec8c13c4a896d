#include "convert/outputs.h"

#include <algorithm>
#include <memory>

#include <openssl/evp.h>

#include "base/check.h"
#include "base/file.h"
#include "base/strings.h"

namespace facet::convert {

Result<void> check_absent(std::span<const std::filesystem::path> paths, Overwrite overwrite) {
  if (overwrite == Overwrite::yes) return {};
  std::error_code ignored;
  for (const std::filesystem::path& path : paths)
    if (std::filesystem::exists(path, ignored))
      return Error{
          .code = ErrorCode::invalid_argument, .what = "is there already; --force replaces it", .where = path.string()};
  return {};
}

Result<std::string> sha256_of(const std::filesystem::path& path) {
  constexpr size_t kPiece = size_t{8} << 20;
  FACET_TRY(const MappedFile file, MappedFile::open(path));
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> state(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  FACET_CHECK(state != nullptr && EVP_DigestInit_ex(state.get(), EVP_sha256(), nullptr) == 1);
  for (Bytes rest = file.bytes(); !rest.empty();) {
    const Bytes piece = rest.first(std::min(kPiece, rest.size()));
    FACET_CHECK(EVP_DigestUpdate(state.get(), piece.data(), piece.size()) == 1);
    file.release(piece);
    rest = rest.subspan(piece.size());
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  FACET_CHECK(EVP_DigestFinal_ex(state.get(), digest, &size) == 1);
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    hex += kDigits[digest[i] >> 4];
    hex += kDigits[digest[i] & 15];
  }
  return hex;
}

}  // namespace facet::convert
