// A GGUF file as a vocabulary: an Error, or a tokenizer that keeps its promises.
//
// covers: src/tokenizer/gguf_vocab.cc src/tokenizer/merge_rules.cc src/tokenizer/tokenizer.cc
#include "tokenizer_promises.h"

using namespace facet;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = fuzz::text_of(data, size);
  const auto source = formats::memory_source("fuzz.gguf", as_bytes(bytes));
  const Result<formats::GgufFile> file = formats::read_gguf(*source);
  if (!file.ok()) return 0;
  const Result<tokenizer::Tokenizer> tokenizer = tokenizer::Tokenizer::from_gguf(file->metadata, "fuzz.gguf");
  if (!tokenizer.ok()) {
    FACET_CHECK(!tokenizer.error().message().empty());
    return 0;
  }
  fuzz::check_vocabulary(*tokenizer);
  fuzz::check_text(*tokenizer, "<bos>abc  ab\n\naddddd\xE4\xB8<|turn>");
  fuzz::check_text(*tokenizer, bytes.substr(bytes.size() / 2));
  return 0;
}
