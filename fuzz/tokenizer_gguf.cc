// A GGUF file as a vocabulary: an Error, or a tokenizer that keeps its promises. Its tokenizer.json opens or is
// refused, and what opens becomes keys of a GGUF file again.
//
// covers: src/tokenizer/gguf_vocab.cc src/tokenizer/merge_rules.cc src/tokenizer/tokenizer.cc
// covers: src/convert/vocabulary_json.cc src/convert/vocabulary_pairs.cc src/formats/gguf_pairs.cc
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "convert/vocabulary.h"
#include "formats/checkpoint.h"
#include "tokenizer_promises.h"

using namespace facet;

static void convert_there_and_back(const formats::GgufMetadata& metadata, int64_t tokens) {
  const Result<tokenizer::VocabFile> file = tokenizer::read_gguf_vocab(metadata, "fuzz.gguf");
  FACET_CHECK(file.ok());
  for (const model::Family family : {model::Family::gemma4, model::Family::gemma3}) {
    model::Config config;
    config.family = family;
    config.vocab_size = tokens;
    FACET_CHECK(!convert::tokenizer_config_json(*file, config).is_null());
    const Result<std::string> json = convert::tokenizer_json(*file, family);
    if (!json.ok()) continue;
    tokenizer::JsonVocab vocab;
    if (!vocab.read(*json, "tokenizer.json").ok()) continue;
    formats::GgufPairs pairs;
    std::string remark;
    const Result<void> added = convert::add_vocabulary(vocab.file(), config, pairs, remark);
    FACET_CHECK(added.ok() == (pairs.size() > 0));
  }
}

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
  convert_there_and_back(checkpoint->metadata(), tokenizer->size());
  return 0;
}
