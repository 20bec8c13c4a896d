// A GGUF file as a vocabulary: an Error, or a tokenizer that keeps its promises.
//
// covers: src/tokenizer/gguf_vocab.cc src/tokenizer/merge_rules.cc src/tokenizer/tokenizer.cc
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "formats/checkpoint.h"
#include "tokenizer_promises.h"

using namespace facet;

// The input as a file without a name, so that it takes the way of a user's file.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = fuzz::text_of(data, size);
  const int file = ::memfd_create("fuzz.gguf", MFD_CLOEXEC);
  FACET_CHECK(file >= 0 && ::write(file, data, size) == static_cast<ssize_t>(size));
  const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open("/proc/self/fd/" + std::to_string(file));
  ::close(file);
  if (!checkpoint.ok()) return 0;
  const Result<tokenizer::Tokenizer> tokenizer = tokenizer::Tokenizer::open(*checkpoint);
  if (!tokenizer.ok()) {
    FACET_CHECK(!tokenizer.error().message().empty());
    return 0;
  }
  fuzz::check_vocabulary(*tokenizer);
  fuzz::check_text(*tokenizer, "<bos>abc  ab\n\naddddd\xE4\xB8<|turn>");
  fuzz::check_text(*tokenizer, bytes.substr(bytes.size() / 2));
  return 0;
}
