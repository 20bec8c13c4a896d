// Drafter: the small model that proposes tokens for a large one (multi-token prediction; text-decoder.md 4). It reads
// the large model's cache and hidden states, keeps nothing of its own, and is wrong at no cost but time: what it
// proposes is verified.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/gemma.h"
#include "ops/cluster_head.h"

namespace facet::model {

struct DrafterOptions {
  int64_t max_sequences = 1;  // that draft together
  // Rotation of a draft's queries (4.2, "disagreement on p"): the position that the hidden state belongs to, or the
  // next one. It changes how often drafts are right, never the result.
  enum class Position : uint8_t { of_hidden, next } position = Position::of_hidden;
  Progress* progress = nullptr;
};

class Drafter {
 public:
  // checkpoint and target must outlive the drafter, which works with the target's context. Errors: unsupported (a
  // checkpoint that is no drafter), corrupt, invalid_argument (a drafter for a target of another shape: which dimension
  // differs), exhausted.
  static Result<std::unique_ptr<Drafter>> load(const formats::Checkpoint& checkpoint, Gemma& target,
                                               const DrafterOptions& options = {});

  // What load() would take with such a target beside it, found by the same steps without reading a tensor. ctx: of the
  // target. context: its positions. Errors: those of load(), but for the target's shape.
  static Result<ModelBytes> bytes_needed(const formats::Checkpoint& checkpoint, const Context& ctx, int64_t context,
                                         const DrafterOptions& options = {});

  const Config& config() const { return text_.config(); }
  // B: width of the target's hidden states.
  int64_t target_width() const { return config().drafter->target_width; }
  int64_t packed_bytes() const { return store_.packed_bytes(); }
  std::span<const std::string> remarks() const { return text_.weights().remarks; }

  // One step for each sequence, whose stored keys the draft sees: the token that stands behind them (or the one drafted
  // last), and the state h that its logits came from. hidden: (sequences, B), replaced by h of the next step. The sink
  // is given the logits of each sequence. Errors: invalid_argument (unknown token, empty sequence), io.
  Result<void> step(std::span<const SeqId> sequences, std::span<const Token> tokens, std::span<float> hidden,
                    ResultSink& sink);

  // The same with the tokens' scaled embeddings given, (sequences, B).
  Result<void> step(std::span<const SeqId> sequences, std::span<const float> embeddings, std::span<float> hidden,
                    ResultSink& sink);

  // Tests: listens to the layers ("out", "final_norm").
  void set_observer(ops::Observer* observer) { ctx_.observer = observer; }

 private:
  struct Parts {
    formats::WeightStore store;
    DrafterWeights weights;  // decoder moved into text
    TextModel text;
  };
  static Result<Parts> load_parts(const formats::Checkpoint& checkpoint, const Config& config, const Context& ctx,
                                  int64_t context, const DrafterOptions& options, formats::Packing packing);
  // Around the decoder: T sequences that draft together, B the target's width, C clusters.
  struct Buffers {
    static Result<Buffers> allocate(const Context& ctx, const Config& config, const DrafterWeights& weights,
                                    int64_t sequences);
    int64_t bytes() const;

    Matrix<float> both;    // (T, 2 B): embedding, hidden
    Matrix<float> x;       // (T, D)
    Matrix<float> next;    // (T, B)
    Matrix<float> scores;  // (T, C)
    Matrix<float> logits;  // (T, V)
    ops::Operand input;    // (T, 2 B)
    ops::ClusterScratch cluster;
  };

  Drafter(Context ctx, Gemma& target, Parts parts, Buffers buffers, int64_t sequences);
  Result<void> check(std::span<const SeqId> sequences, size_t tokens, std::span<const float> hidden) const;
  Result<void> run(std::span<const SeqId> sequences, std::span<float> hidden, ResultSink& sink);
  Result<void> head(int64_t n);

  Context ctx_;
  Gemma& target_;
  formats::WeightStore store_;
  TextModel text_;
  DrafterWeights weights_;  // decoder moved into text_
  std::vector<int> donors_;
  DrafterOptions::Position position_ = DrafterOptions::Position::of_hidden;
  Buffers b_;
  std::vector<SeqRange> ranges_;
  std::vector<int32_t> positions_, rows_;
  std::vector<float> row_;
};

}  // namespace facet::model
