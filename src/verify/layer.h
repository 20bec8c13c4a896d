// The float64 path of one part of a model, step by step as model/text.cc has them, each started from what the fast path
// had before it (record.h) and compared with what it made of it.
#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "ops/batch.h"
#include "ops/context.h"
#include "verify/attention.h"
#include "verify/record.h"
#include "verify/report.h"
#include "verify/source.h"
#include "verify/steps.h"

namespace facet::verify {

// Which output rows of a linear are computed in double. Sampled: of each packed panel of 16 rows one, all 16 places in
// turn, so that every panel, hence every block of work, and every place of a panel is met; all rows of small linears.
enum class Rows : uint8_t { sampled, all };
std::vector<int64_t> rows_to_check(int64_t rows, int64_t cols, Rows which);

// What all parts share. The config is the file's own, not the running model's.
struct Setup {
  const SourceWeights& source;
  const model::Config& config;
  const kernels::Table& kernels;
  Arithmetic arithmetic;
  model::KvOptions kv;
  const model::KvCache& cache;
  ThreadPool& pool;
  Rows rows = Rows::sampled;
};

// The rows of the forward call.
struct BatchRows {
  std::span<const Token> tokens;
  std::span<const int32_t> positions;
  std::span<const SeqRange> sequences;
};

class PartCheck {
 public:
  PartCheck(const Setup& setup, const BatchRows& batch, const Record& record, Part& part)
      : setup_(setup), config_(setup.config), batch_(batch), record_(record), part_(part) {}

  void embedding();
  void layer(int index);
  void head();

 private:
  using Name = model::TensorName;

  // Parts of a layer.
  void attention(int index);
  void keys_and_values(int index);
  void stored(int index);
  void attend(int index);
  StoredKv read_stored(int index, const SeqRange& range, int64_t kv_head, int64_t begin) const;
  DType k_type(int index) const;
  DType v_type(int index) const;
  AttentionForms attention_forms(int index) const;
  void feed_forward(int index);
  void route(int index);
  void experts(int index);
  void expert_sums(int index);
  void per_layer_input(int index);
  void layer_output(int index);
  void per_layer_inputs();

  // Steps.
  void expect_norm(std::string_view step, const Copied<float>& y, const Copied<float>& x, std::span<const double> w);
  void expect_same(std::string_view step, const Copied<float>& y, const Copied<float>& x);
  void expect_heads(std::string_view step, const Copied<float>& y, const Copied<float>& x, std::span<const double> w,
                    bool normed, const std::vector<double>* frequencies, int64_t head_dim);
  void expect_joined(std::string_view step, const Copied<float>& y, const Copied<float>& h, const Copied<float>& x,
                     std::span<const double> w, double scale, double scale_error);
  void expect_gelu(std::string_view step, const CopiedOperand& y, const Copied<float>& gate, const Copied<float>& up,
                   int64_t up_column, std::span<const int32_t> rows);
  void expect_forms(std::string_view step, const CopiedOperand& operand, std::span<const int32_t> rows = {});
  void expect_product(std::string_view step, const SourceMatrix& w, const CopiedLinear& linear, int64_t first_row = 0);
  void expect_product(LinearRole role, std::string_view step, int layer);

  kernels::Form form_of(DType type) const;
  Place place(int64_t row, int64_t column = 0) const;
  std::vector<double> frequencies(int index) const;

  const Setup& setup_;
  const model::Config& config_;
  const BatchRows& batch_;
  const Record& record_;
  Part& part_;
};

}  // namespace facet::verify
