// One sequence from prompt to end: reads the prompt in chunks, then samples and runs one token at a time. Token world
// only; stop strings and text are the engine's.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/function_ref.h"
#include "model/language_model.h"
#include "runtime/constraint.h"
#include "runtime/sampler.h"

namespace facet::runtime {

// How far in front of a prompt's end the fork that a Sequence keeps there stays resumable: the next prompt often leaves
// the last few tokens of this one (an opened turn, an empty thought channel) out or writes them differently.
inline constexpr int64_t kForkRewindRows = 64;

enum class Finish : uint8_t { stop_token, length, cancelled };

// What happened: prompt rows were read, or a token was chosen. Returning false cancels.
struct Event {
  int64_t prompt_done = 0, prompt_total = 0;
  const Sampled* sampled = nullptr;
};

struct GenerateOptions {
  std::vector<Token> stop_tokens;  // end the sequence; the stop token itself is reported but not run
  int64_t max_tokens = -1;         // -1: until the context is full; 0: only read the prompt
  bool skip_work = true;
  std::span<const RowSpan> bidirectional = {};  // prompt spans that a chunk may not cut, ascending
  Constraint* constraint = nullptr;             // told of every token that is kept
};

struct Generated {
  std::vector<Token> tokens;  // chosen tokens, the stop token (if any) last
  Finish finish = Finish::length;
  int64_t cached_tokens = 0;  // prompt tokens that were already in the cache
  double prompt_seconds = 0, generate_seconds = 0;
};

// A live sequence: knows the tokens whose keys the model holds. Move-only; releases its cache on destruction; the model
// must outlive it. Between calls it also keeps a fork at the end of the last prompt, so that the next prompt can resume
// there when the answer has pushed those keys out of the sliding window (docs/sampling.md, "Reusing a prefix").
class Sequence {
 public:
  static Result<Sequence> create(model::LanguageModel& model);
  Sequence(Sequence&& other) noexcept;
  Sequence& operator=(Sequence&& other) noexcept;
  ~Sequence();

  std::span<const Token> tokens() const { return tokens_; }

  // Continues with a whole prompt (not a difference): keeps the longest common prefix that can be resumed, reads the
  // rest, writes until done. On an Error or a cancellation the sequence holds a valid prefix and can be used again;
  // after non_finite that prefix is empty, since a damaged cache must not be reused.
  // Errors: invalid_argument (empty prompt, token out of range, a span that no chunk can hold), exhausted (prompt
  // longer than the context), non_finite (naming the position), and what the model reports.
  Result<Generated> generate(std::span<const Token> prompt, const GenerateOptions& options, Sampler& sampler,
                             FunctionRef<bool(const Event&)> on_event);

 private:
  explicit Sequence(model::LanguageModel& model, SeqId id) : model_(&model), id_(id) {}
  Result<void> check_prompt(std::span<const Token> prompt, const GenerateOptions& options) const;
  int64_t resume(std::span<const Token> prompt, std::span<const RowSpan> spans);
  Result<bool> read_prompt(std::span<const Token> prompt, const GenerateOptions& options, ResultSink& sink,
                           FunctionRef<bool(const Event&)> on_event);
  Result<void> write(const GenerateOptions& options, FunctionRef<Result<Sampled>()> choose, ResultSink& sink,
                     FunctionRef<bool(const Event&)> on_event, Generated& out);
  Result<void> run(std::span<const Token> rows, std::span<const RowSpan> spans, const OutputRow* output, Skip skip,
                   ResultSink& sink);
  void relieve(int step);
  void keep_fork();
  void drop_fork();
  void forget();

  model::LanguageModel* model_ = nullptr;  // nullptr: moved from
  SeqId id_ = -1;
  std::vector<Token> tokens_;
  std::vector<int32_t> positions_;  // scratch: of the rows that run
  SeqId fork_ = -1;                 // holds the first fork_length_ of tokens_; -1: none
  int64_t fork_length_ = 0;
};

}  // namespace facet::runtime
