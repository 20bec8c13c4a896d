#include "engine/distributions.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/strings.h"
#include "formats/checkpoint_writer.h"
#include "formats/safetensors.h"

namespace facet::engine {
namespace {

constexpr double kSteps = 2048;
constexpr double kMostSteps = 65535;

// log Σ exp(logits).
double log_sum(std::span<const float> logits) {
  const double peak = static_cast<double>(*std::ranges::max_element(logits));
  double sum = 0;
  for (const float value : logits) sum += std::exp(static_cast<double>(value) - peak);
  return peak + std::log(sum);
}

int32_t best_of(std::span<const float> logits) {
  return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
}

std::vector<formats::NewTensor> tensors_of(int64_t positions, int64_t vocab_size) {
  return {{"logprobs", DType::u16, {positions, vocab_size}},
          {"best", DType::i32, {positions}},
          {"tokens", DType::i32, {positions + 1}}};
}

template <class T>
std::vector<T> values_of(const formats::ByteSource& file, const formats::TensorInfo& tensor) {
  std::vector<T> out(static_cast<size_t>(tensor.elements()));
  std::memcpy(out.data(), file.mapped(tensor.offset, tensor.bytes).data(), out.size() * sizeof(T));
  return out;
}

const formats::TensorInfo* named(const std::vector<formats::TensorInfo>& tensors, std::string_view name) {
  const auto found = std::ranges::find(tensors, name, &formats::TensorInfo::name);
  return found == tensors.end() ? nullptr : &*found;
}

}  // namespace

Result<DistributionWriter> DistributionWriter::create(const std::filesystem::path& path,
                                                      std::span<const int32_t> tokens, int64_t vocab_size) {
  FACET_CHECK(!tokens.empty());
  const std::vector<formats::NewTensor> tensors = tensors_of(static_cast<int64_t>(tokens.size()) - 1, vocab_size);
  const std::vector<std::byte> header = formats::safetensors_header(tensors);
  uint64_t bytes = header.size();
  for (const formats::NewTensor& tensor : tensors) bytes += static_cast<uint64_t>(tensor.bytes());
  FACET_TRY(NewFile file, NewFile::create(path, bytes));
  FACET_TRY_VOID(file.write(header));
  return DistributionWriter(std::move(file), tokens, vocab_size);
}

Result<void> DistributionWriter::add(std::span<const float> logits) {
  FACET_CHECK(logits.size() == row_.size());
  const double sum = log_sum(logits);
  for (size_t i = 0; i < row_.size(); ++i)
    row_[i] =
        static_cast<uint16_t>(std::clamp(std::round((sum - static_cast<double>(logits[i])) * kSteps), 0.0, kMostSteps));
  best_.push_back(best_of(logits));
  return file_.write(std::as_bytes(std::span(row_)));
}

Result<void> DistributionWriter::finish() {
  FACET_CHECK(best_.size() + 1 == tokens_.size());
  FACET_TRY_VOID(file_.write(std::as_bytes(std::span(best_))));
  FACET_TRY_VOID(file_.write(std::as_bytes(std::span(tokens_))));
  return file_.commit();
}

Result<DistributionComparison> DistributionComparison::open(const std::filesystem::path& path, int64_t vocab_size) {
  DistributionComparison out;
  FACET_TRY(out.file_, formats::open_mapped(path));
  FACET_TRY(const std::vector<formats::TensorInfo> tensors, formats::read_safetensors(*out.file_));
  const formats::TensorInfo *rows = named(tensors, "logprobs"), *best = named(tensors, "best"),
                            *tokens = named(tensors, "tokens");
  const bool whole = rows != nullptr && best != nullptr && tokens != nullptr && rows->type == DType::u16 &&
                     rows->shape.size() == 2 && best->type == DType::i32 && tokens->type == DType::i32 &&
                     best->elements() == rows->shape[0] && tokens->elements() == rows->shape[0] + 1;
  if (!whole)
    return Error{.code = ErrorCode::corrupt,
                 .what = "is no file of distributions",
                 .where = path.string(),
                 .expected = "tensors logprobs, best and tokens that fit each other",
                 .found = cat(tensors.size(), " tensors")};
  if (rows->shape[1] != vocab_size)
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "distributions are of a model with another vocabulary",
                 .where = path.string(),
                 .expected = cat(vocab_size, " tokens"),
                 .found = cat(rows->shape[1])};
  out.rows_ = out.file_->mapped(rows->offset, rows->bytes).data();
  out.vocab_size_ = vocab_size;
  out.best_ = values_of<int32_t>(*out.file_, *best);
  out.tokens_ = values_of<int32_t>(*out.file_, *tokens);
  for (const int32_t token : out.tokens_)
    if (token < 0 || token >= vocab_size)
      return Error{.code = ErrorCode::corrupt,
                   .what = "token lies outside the vocabulary",
                   .where = path.string(),
                   .expected = cat("0 to ", vocab_size - 1),
                   .found = cat(token)};
  return out;
}

void DistributionComparison::add(std::span<const float> logits) {
  const size_t position = divergences_.size();
  FACET_CHECK(position < best_.size() && static_cast<int64_t>(logits.size()) == vocab_size_);
  std::vector<uint16_t> steps(logits.size());
  const size_t bytes = steps.size() * sizeof(uint16_t);
  std::memcpy(steps.data(), rows_ + position * bytes, bytes);
  double base_sum = 0;
  for (const uint16_t step : steps) base_sum += std::exp(-static_cast<double>(step) / kSteps);
  const double base_shift = std::log(base_sum), sum = log_sum(logits);
  double divergence = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    const double base = -static_cast<double>(steps[i]) / kSteps - base_shift;
    divergence += std::exp(base) * (base - (static_cast<double>(logits[i]) - sum));
  }
  divergences_.push_back(std::max(0.0, divergence));
  same_best_ += best_of(logits) == best_[position] ? 1 : 0;
  const auto truth = static_cast<size_t>(tokens_[position + 1]);
  const double base = -static_cast<double>(steps[truth]) / kSteps - base_shift,
               ours = static_cast<double>(logits[truth]) - sum;
  nll_base_ -= base;
  nll_ -= ours;
  probability_squares_ += std::pow(std::exp(base) - std::exp(ours), 2);
}

Divergence DistributionComparison::result() const {
  Divergence out{.positions = static_cast<int64_t>(divergences_.size())};
  if (divergences_.empty()) return out;
  std::vector<double> sorted = divergences_;
  std::ranges::sort(sorted);
  const double n = static_cast<double>(sorted.size());
  const auto at = [&](double share) { return sorted[static_cast<size_t>(share * (n - 1))]; };
  for (const double value : sorted) out.mean += value / n;
  out.median = at(0.5);
  out.percentile_99 = at(0.99);
  out.largest = sorted.back();
  out.same_best = static_cast<double>(same_best_) / n;
  out.perplexity_base = std::exp(nll_base_ / n);
  out.perplexity = std::exp(nll_ / n);
  out.probability_rms = std::sqrt(probability_squares_ / n);
  return out;
}

}  // namespace facet::engine
