// The script of a puppet: what a JSON file says it should answer, validated and turned into tokens. The format is in
// docs/puppet.md. No I/O: whoever names the file reads it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/function_ref.h"
#include "base/json.h"
#include "facet/result.h"
#include "tensor/token.h"

namespace facet::model {

// What a script needs to know of the vocabulary that its words are written in.
struct PuppetVocabulary {
  int64_t size = 0;
  Token end = 1;  // said when an answer is over
  // Text to tokens, control-token strings becoming control tokens. Called while parsing only.
  FunctionRef<std::vector<Token>(std::string_view)> encode;
};

// One row of output: what the puppet predicts at one place of an answer.
struct PuppetStep {
  enum class Broken : uint8_t { no, nan, infinite };
  std::vector<std::pair<Token, float>> logits;  // the others have `rest`
  float rest = -30;
  Broken broken = Broken::no;  // every logit is that
  double extra_ms = 0;         // on top of PuppetScript::token_ms
  std::string error;           // not empty: forward() fails with this
};

struct PuppetAnswer {
  std::vector<Token> after;  // given when the sequence ends with these; empty: always
  std::vector<PuppetStep> steps;
  bool repeat = false;  // from the beginning when over, instead of saying the end token
};

struct PuppetScript {
  static constexpr int64_t kContextMax = int64_t{1} << 24;
  static constexpr int64_t kStepsMax = int64_t{1} << 20;  // over all answers
  static constexpr double kDelayMaxMs = 60000;

  int64_t context = 8192, batch_rows = 512, width = 0;
  int64_t window = 0;      // 0: none; otherwise a length is resumable while the window - 1 rows before it are there
  int64_t cache_rows = 0;  // rows over all sequences; 0: as many as needed
  double prompt_row_ms = 0, token_ms = 0;
  std::vector<PuppetAnswer> answers;  // the first that fits is given
  PuppetStep end;

  // Errors: corrupt or invalid_argument, naming file, member, what was expected and found. Unknown members are refused.
  static Result<PuppetScript> parse(const Json& file, std::string_view where, const PuppetVocabulary& vocabulary);
};

// What has to be loaded before the script can be read.
struct PuppetFiles {
  std::string vocabulary;           // path of a GGUF file, a tokenizer.json or a Hugging Face folder, as written
  std::optional<bool> large_model;  // "size": which family of chat formats it speaks
};
Result<PuppetFiles> puppet_files(const Json& file, std::string_view where);

}  // namespace facet::model
