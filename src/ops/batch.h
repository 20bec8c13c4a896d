// Batch: the rows of one forward call, ragged over sequences, and what is wanted back. Spans borrow; they must live
// until forward() returns.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/logits.h"
#include "tensor/token.h"
#include "tensor/view.h"

namespace facet {

using SeqId = int32_t;
using AdapterId = int32_t;  // -1: none

// Consecutive batch rows of one sequence, in the order of their positions.
struct SeqRange {
  SeqId sequence;
  int32_t first_row, rows;
  AdapterId adapter = -1;
};

// Rows whose embedding is given (image, audio, video features) instead of looked up; not scaled.
struct SoftRows {
  int32_t first_row;
  Mat<const float> values;  // (rows, D)
};

// Batch rows first_row … first_row + rows - 1 that see each other in sliding layers: one image or video frame run.
// Rows of one sequence; never cut by the batch.
struct RowSpan {
  int32_t first_row, rows;
};

enum class Want : uint8_t {
  logits,   // (V), after the softcap
  hidden,   // (D), after the final norm
  logprob,  // log-probability of `token`
  both,     // logits and hidden
};

struct OutputRow {
  int32_t row;
  Want want = Want::logits;
  Token token = 0;  // for logprob
};

// Exact work skipping: rows without outputs stop after the last layer that stores keys. Never changes a bit of the
// result.
enum class Skip : uint8_t { on, off };

struct Batch {
  std::span<const Token> tokens;       // (T); the pad id on soft rows
  std::span<const int32_t> positions;  // (T); storing rows: cache length + index
  std::span<const SeqRange> sequences;
  std::span<const SoftRows> soft;
  std::span<const RowSpan> bidirectional;
  std::span<const OutputRow> outputs;  // ascending rows; several outputs of one row allowed
  Skip skip = Skip::on;
};

// Receives what was asked for, in the order of Batch::outputs. Values are borrowed for the call.
class ResultSink {
 public:
  virtual ~ResultSink() = default;
  virtual void logits(int32_t output, std::span<const float> values) = 0;
  // The same row while its values are still to be made: whoever chooses a token looks at a few of them.
  virtual void logit_row(int32_t output, Logits& row) { logits(output, row.values()); }
  virtual void hidden(int32_t output, std::span<const float> values) = 0;
  virtual void logprob(int32_t output, float value) = 0;
};

// For passes that are run for what they leave in the cache, or show to an observer.
class NoResults : public ResultSink {
 public:
  void logits(int32_t, std::span<const float>) override {}
  void logit_row(int32_t, Logits&) override {}
  void hidden(int32_t, std::span<const float>) override {}
  void logprob(int32_t, float) override {}
};

}  // namespace facet
