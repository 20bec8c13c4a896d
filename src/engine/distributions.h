// Files of whole distributions: what a model gives every token at every position of a text, so that another form of the
// model can be compared with it (Kullback-Leibler divergence, best token, perplexity).
//
// A safetensors file: logprobs U16 [positions, vocabulary], -log p in steps of 1/2048 (32 and more: 65535); best I32
// [positions]; tokens I32 [positions + 1]. Readers normalise, so that steps cost second order only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "base/file.h"
#include "facet/result.h"
#include "formats/checkpoint.h"

namespace facet::engine {

class DistributionWriter {
 public:
  // Room on the disk is taken at once. Errors: exhausted, io.
  static Result<DistributionWriter> create(const std::filesystem::path& path, std::span<const int32_t> tokens,
                                           int64_t vocab_size);
  // The next position, in order.
  Result<void> add(std::span<const float> logits);
  Result<void> finish();

 private:
  DistributionWriter(NewFile file, std::span<const int32_t> tokens, int64_t vocab_size)
      : file_(std::move(file)), tokens_(tokens.begin(), tokens.end()), row_(static_cast<size_t>(vocab_size)) {}

  NewFile file_;
  std::vector<int32_t> tokens_, best_;
  std::vector<uint16_t> row_;
};

struct Divergence {
  int64_t positions = 0;
  double mean = 0, median = 0, percentile_99 = 0, largest = 0;  // of KL(base || this), natural units
  double same_best = 0;                                         // share of positions with the same best token
  double perplexity_base = 0, perplexity = 0;
  double probability_rms = 0;  // root mean square of the change of the true token's probability
};

class DistributionComparison {
 public:
  // Errors: not_found, corrupt, io; invalid_argument (another vocabulary).
  static Result<DistributionComparison> open(const std::filesystem::path& path, int64_t vocab_size);
  std::span<const int32_t> tokens() const { return tokens_; }
  // The next position, in order. Requires fewer positions so far than there are.
  void add(std::span<const float> logits);
  Divergence result() const;

 private:
  DistributionComparison() = default;

  std::shared_ptr<const formats::ByteSource> file_;
  std::vector<int32_t> tokens_, best_;
  int64_t vocab_size_ = 0;
  const std::byte* rows_ = nullptr;
  std::vector<double> divergences_;
  double nll_base_ = 0, nll_ = 0, probability_squares_ = 0;
  int64_t same_best_ = 0;
};

}  // namespace facet::engine
