#include "verify/record.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "ops/elementwise.h"

namespace facet::verify {
namespace {

template <class T>
Copied<T> copied(Mat<const T> values) {
  Copied<T> out{.rows = values.rows(), .cols = values.cols(), .values = {}};
  out.values.resize(static_cast<size_t>(values.rows() * values.cols()));
  ops::read(out.values, values);
  return out;
}

template <class T>
void resize(Copied<T>& to, int64_t rows, int64_t cols) {
  to.rows = rows;
  to.cols = cols;
  to.values.resize(static_cast<size_t>(rows * cols));
}

template <class T>
std::span<T> row(Copied<T>& of, int64_t i) {
  return std::span(of.values).subspan(static_cast<size_t>(i * of.cols), static_cast<size_t>(of.cols));
}

// The rows of an input, in every form.
CopiedOperand copied_operand(const ops::LinearInput& input) {
  const ops::Operand& operand = *input.operand;
  const int64_t rows = input.count(), cols = operand.cols();
  const int64_t blocks = (cols + kernels::kBlock - 1) / kernels::kBlock;
  CopiedOperand out;
  resize(out.f32, rows, cols);
  if ((operand.forms() & kernels::kFormQ8) != 0) {
    resize(out.codes, rows, blocks * kernels::kBlock);
    resize(out.scales, rows, blocks);
    resize(out.sums, rows, blocks * (kernels::kBlock / kernels::kSubBlock));
  }
  if ((operand.forms() & kernels::kFormBf16) != 0) resize(out.bf16, rows, (cols + 1) / 2 * 2);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t from = input.index.empty() ? input.first + i : input.index[static_cast<size_t>(i)];
    ops::read({.f32 = row(out.f32, i),
               .codes = row(out.codes, i),
               .scales = row(out.scales, i),
               .sums = row(out.sums, i),
               .bf16 = row(out.bf16, i)},
              operand, from);
  }
  return out;
}

}  // namespace

const Copied<float>& Record::tap(std::string_view name) const {
  const auto found = taps.find(name);
  FACET_CHECK(found != taps.end());
  return found->second;
}

const CopiedLinear& Record::linear(LinearRole role) const {
  const auto found = linears.find(role);
  FACET_CHECK(found != linears.end() && found->second.size() == 1);
  return found->second.front();
}

// What belongs to a layer comes: the embedding is complete.
void Recorder::begin_layers(int layer) {
  if (in_layers_ || layer < 0) return;
  in_layers_ = true;
  finish(-1, record_.tap("embed"));
}

void Recorder::finish(int layer, const Copied<float>& next) {
  complete_(layer, record_);
  Record fresh;
  fresh.h = next;
  fresh.ple = std::move(record_.ple);
  record_ = std::move(fresh);
}

// Per-layer inputs come in two parts.
void Recorder::keep_ple(int first_layer, Mat<float> values) {
  const Copied<float> part = copied(Mat<const float>(values));
  if (record_.ple.values.empty()) resize(record_.ple, part.rows, ple_cols_);
  const int64_t column = ple_cols_ / n_layers_ * first_layer;
  for (int64_t i = 0; i < part.rows; ++i) std::ranges::copy(part.row(i), row(record_.ple, i).begin() + column);
  record_.ple_first_layers.push_back(first_layer);
}

void Recorder::tap(std::string_view name, int layer, Mat<float> values, std::span<const int32_t> rows) {
  if (interfere_ != nullptr) interfere_->tap(name, layer, values, rows);
  if (name == "ple") return keep_ple(layer, values);
  begin_layers(layer);
  record_.taps.insert_or_assign(std::string(name), copied(Mat<const float>(values)));
  if (name == "out") finish(layer, Copied<float>(record_.tap("out")));
  if (name == "logits") {
    complete_(n_layers_, record_);
    record_ = Record();
    in_layers_ = false;
  }
}

void Recorder::tap_ids(std::string_view name, int layer, Mat<int32_t> values, std::span<const int32_t> rows) {
  if (interfere_ != nullptr) interfere_->tap_ids(name, layer, values, rows);
  if (name == "experts") record_.experts = copied(Mat<const int32_t>(values));
}

void Recorder::linear_input(const ops::LinearInput& input) {
  begin_layers(input.id.layer);
  CopiedLinear linear{.group = input.group, .rows = {}, .input = copied_operand(input), .output = {}};
  for (int64_t i = 0; i < input.count() && !input.rows.empty(); ++i) {
    const int64_t from = input.index.empty() ? i : input.index[static_cast<size_t>(i)];
    linear.rows.push_back(input.rows[static_cast<size_t>(from)]);
  }
  record_.linears[input.id.role].push_back(std::move(linear));
}

void Recorder::linear_output(const ops::LinearOutput& output) {
  std::vector<CopiedLinear>& all = record_.linears[output.id.role];
  const auto last = std::ranges::find(all.rbegin(), all.rend(), output.group, &CopiedLinear::group);
  FACET_CHECK(last != all.rend());
  last->output = copied(output.values);
}

}  // namespace facet::verify
