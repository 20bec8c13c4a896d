// What an Engine holds. Private to engine/.
#pragma once

#include <memory>
#include <optional>

#include "engine/model_files.h"
#include "engine/packed_weights.h"
#include "facet/engine.h"
#include "model/language_model.h"
#include "runtime/generate.h"

namespace facet {

struct Engine::State {
  LoadOptions options;
  ModelInfo info;
  std::unique_ptr<engine::ModelFiles> files;
  std::unique_ptr<ThreadPool> pool;
  std::optional<engine::PackedWeights> packed;
  std::unique_ptr<model::LanguageModel> model;  // after what it points to
  std::optional<runtime::Sequence> sequence;    // of the last generate(); keeps its prefix for the next

  Result<std::vector<Token>> render(std::span<const Message> messages, Thinking thinking) const;
  Result<std::vector<Token>> prompt_of(const Request& request) const;
  Result<Answer> generate(const Request& request, const ChunkCallback& on_chunk);
  Result<Score> score(std::span<const int32_t> tokens, const ProgressCallback& progress);
  Result<void> logits(std::span<const int32_t> tokens, const LogitsCallback& on_logits,
                      const ProgressCallback& progress);
  Result<Embedding> embed(std::span<const int32_t> tokens);
  Result<void> check(std::span<const int32_t> tokens) const;
  // Runs the tokens in a sequence of their own and asks for the same thing at each row; the last row's logprob is not
  // asked for. Needs the whole cache, so the kept sequence is given up.
  Result<void> run_all(std::span<const int32_t> tokens, Want want, ResultSink& sink, const ProgressCallback& progress);
};

}  // namespace facet
