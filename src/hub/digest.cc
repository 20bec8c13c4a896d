#include "hub/digest.h"

#include <openssl/evp.h>

#include "base/check.h"
#include "base/strings.h"

namespace facet::hub {

struct Digest::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MD_CTX_free(context); }
};

Digest::Digest(std::string_view id, int64_t size) : state_(std::make_unique<State>()) {
  const bool git = id.size() == 40;
  // Both hashes are in every build of OpenSSL; only memory can be lacking.
  FACET_CHECK(state_->context != nullptr);
  FACET_CHECK(EVP_DigestInit_ex(state_->context, git ? EVP_sha1() : EVP_sha256(), nullptr) == 1);
  if (!git) return;
  update(as_bytes(cat("blob ", size)));
  update(Bytes{std::as_bytes(std::span("", 1))});
}

Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(Bytes bytes) { FACET_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1); }

std::string Digest::finish() {
  unsigned char raw[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  FACET_CHECK(EVP_DigestFinal_ex(state_->context, raw, &length) == 1);
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned i = 0; i < length; ++i) {
    text += kDigits[raw[i] >> 4];
    text += kDigits[raw[i] & 15];
  }
  return text;
}

}  // namespace facet::hub
