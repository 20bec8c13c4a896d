// Any bytes as text, by scores of a small vocabulary: what goes in comes out.
#include "tokenizer_promises.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const facet::tokenizer::Tokenizer tokenizer = facet::fuzz::small_tokenizer(true);
  facet::fuzz::check_text(tokenizer, facet::fuzz::text_of(data, size));
  return 0;
}
