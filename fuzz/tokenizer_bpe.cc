// Any bytes as text, by ranked merges of a small vocabulary: what goes in comes out.
//
// covers: src/tokenizer/merge_rules.cc src/tokenizer/run_cutter.cc src/tokenizer/special_tokens.cc
// covers: src/tokenizer/stream_decoder.cc src/tokenizer/tokenizer.cc
#include "tokenizer_promises.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const facet::tokenizer::Tokenizer tokenizer = facet::fuzz::small_tokenizer(false);
  facet::fuzz::check_text(tokenizer, facet::fuzz::text_of(data, size));
  return 0;
}
