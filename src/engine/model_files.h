// ModelFiles: everything that a model's files say before any weight is read: configuration, vocabulary, chat format.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/chat_format.h"
#include "facet/engine.h"
#include "formats/checkpoint.h"
#include "model/config.h"
#include "model/puppet_script.h"
#include "tokenizer/tokenizer.h"

namespace facet::engine {

// Whether a model without a vocabulary is an error.
enum class Vocabulary : uint8_t { required, optional };

struct ModelFiles {
  std::string path;
  std::optional<formats::Checkpoint> checkpoint;  // none: a puppet
  std::optional<Json> puppet;                     // its script
  model::Config config;                           // of a puppet: only what it says
  std::optional<tokenizer::Tokenizer> tokenizer;  // there unless open() was told that it is optional
  std::optional<chat::ChatFormat> chat;           // none: a base model, which continues raw text
  std::vector<std::string> remarks;

  // path: a GGUF file, a Hugging Face folder, or puppet:FILE. On the heap, since parts point to each other.
  // Errors: not_found, corrupt, unsupported, io.
  static Result<std::unique_ptr<ModelFiles>> open(const std::string& path,
                                                  Vocabulary vocabulary = Vocabulary::required);
  // The same in two steps: all but vocabulary and chat format, then those. A puppet is whole after the first.
  static Result<std::unique_ptr<ModelFiles>> open_weights(const std::string& path);
  Result<void> open_vocabulary(Vocabulary vocabulary = Vocabulary::required);

  // The rest needs the vocabulary, but for info().
  // Tokens that end an answer: those of config.json and generation_config.json or the GGUF keys, those that the
  // vocabulary calls end tokens, those of the chat format (text-decoder.md 1.4).
  std::vector<Token> stop_tokens() const;
  // Tokens that are never sampled: suppress_tokens always; reserved ones unless allowed.
  std::vector<Token> banned_tokens(bool allow_reserved) const;
  // The text as tokens, with BOS in front where the model wants it and the text has none.
  std::vector<Token> encode(std::string_view text, tokenizer::Markers markers, bool add_bos) const;
  // What can be said without weights.
  ModelInfo info() const;
};

}  // namespace facet::engine
