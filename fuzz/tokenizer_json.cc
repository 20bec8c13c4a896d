// A tokenizer.json: an Error, or a tokenizer that keeps its promises. The many byte tokens need not be in the input:
// the line "BYTES" stands for them.
//
// covers: src/tokenizer/json_vocab.cc src/tokenizer/merge_rules.cc src/tokenizer/tokenizer.cc
#include "tokenizer_promises.h"

using namespace facet;

static std::string with_bytes(std::string text) {
  constexpr std::string_view kPlace = "BYTES";
  const size_t place = text.find(kPlace);
  if (place == text.npos) return text;
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) {
    constexpr const char* kDigits = "0123456789ABCDEF";
    bytes += std::string(byte == 0 ? "" : ",") + "\"<0x" + kDigits[byte / 16] + kDigits[byte % 16] +
             ">\":" + std::to_string(byte);
  }
  return text.replace(place, kPlace.size(), bytes);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string json = with_bytes(std::string(fuzz::text_of(data, size)));
  const Result<tokenizer::Tokenizer> tokenizer = tokenizer::Tokenizer::from_json(json, "tokenizer.json");
  if (!tokenizer.ok()) {
    FACET_CHECK(!tokenizer.error().message().empty());
    return 0;
  }
  fuzz::check_vocabulary(*tokenizer);
  fuzz::check_text(*tokenizer, "<bos>abc  ab\n\naddddd\xE4\xB8<|turn>");
  fuzz::check_text(*tokenizer, json);
  return 0;
}
