#include "engine/distributions.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "support/checkpoint_builder.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::engine {
namespace {

constexpr int64_t kVocab = 300;

std::vector<std::vector<float>> rows(int seed, double noise) {
  std::mt19937 random(7), other(static_cast<unsigned>(seed));
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> out(40, std::vector<float>(kVocab));
  for (auto& row : out)
    for (float& value : row) value = 4 * normal(random) + static_cast<float>(noise) * normal(other);
  return out;
}

std::vector<int32_t> tokens() {
  std::vector<int32_t> out;
  for (int32_t i = 0; i < 41; ++i) out.push_back(i * 37 % kVocab);
  return out;
}

// The same in plain formulas.
double divergence(const std::vector<float>& p, const std::vector<float>& q) {
  double sum_p = 0, sum_q = 0, out = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    sum_p += std::exp(static_cast<double>(p[i]));
    sum_q += std::exp(static_cast<double>(q[i]));
  }
  for (size_t i = 0; i < p.size(); ++i) {
    const double a = std::exp(static_cast<double>(p[i])) / sum_p, b = std::exp(static_cast<double>(q[i])) / sum_q;
    out += a * std::log(a / b);
  }
  return out;
}

class Distributions : public ::testing::Test {
 protected:
  void write(const std::vector<std::vector<float>>& logits) {
    Result<DistributionWriter> writer = DistributionWriter::create(path_, tokens(), kVocab);
    ASSERT_OK(writer);
    for (const auto& row : logits) ASSERT_OK(writer->add(row));
    EXPECT_FALSE(std::filesystem::exists(path_));
    ASSERT_OK(writer->finish());
  }
  Divergence compare(const std::vector<std::vector<float>>& logits) {
    Result<DistributionComparison> comparison = DistributionComparison::open(path_, kVocab);
    EXPECT_OK(comparison);
    EXPECT_TRUE(std::ranges::equal(comparison->tokens(), tokens()));
    for (const auto& row : logits) comparison->add(row);
    return comparison->result();
  }

  testing::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "base.kl";
};

TEST_F(Distributions, AreNoDistanceFromThemselves) {
  write(rows(1, 0));
  const Divergence d = compare(rows(1, 0));
  EXPECT_EQ(d.positions, 40);
  EXPECT_LT(d.mean, 1e-7);
  EXPECT_EQ(d.same_best, 1);
  EXPECT_NEAR(d.perplexity, d.perplexity_base, 1e-3 * d.perplexity);
}

TEST_F(Distributions, AreAsFarFromOthersAsTheFormulaSays) {
  const auto base = rows(1, 0), other = rows(2, 0.5);
  write(base);
  const Divergence d = compare(other);
  double mean = 0, nll = 0, same = 0, largest = 0;
  for (size_t i = 0; i < base.size(); ++i) {
    const double one = divergence(base[i], other[i]);
    mean += one / 40;
    largest = std::max(largest, one);
    double sum = 0;
    for (const float value : other[i]) sum += std::exp(static_cast<double>(value));
    nll += (std::log(sum) - static_cast<double>(other[i][static_cast<size_t>(tokens()[i + 1])])) / 40;
    same += (std::max_element(base[i].begin(), base[i].end()) - base[i].begin() ==
             std::max_element(other[i].begin(), other[i].end()) - other[i].begin())
                ? 1
                : 0;
  }
  EXPECT_NEAR(d.mean, mean, 2e-3 * mean);
  EXPECT_NEAR(d.largest, largest, 5e-3 * largest);
  EXPECT_NEAR(std::log(d.perplexity), nll, 1e-9);
  EXPECT_EQ(d.same_best, same / 40);
  EXPECT_LE(d.median, d.percentile_99);
  EXPECT_LE(d.percentile_99, d.largest);
  EXPECT_GT(d.probability_rms, 0);
}

TEST_F(Distributions, OtherFilesAreRefused) {
  write(rows(1, 0));
  EXPECT_EQ(DistributionComparison::open(path_, kVocab + 1).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(DistributionComparison::open(folder_.path() / "none", kVocab).error().code, ErrorCode::not_found);
  testing::SafetensorsBuilder file;
  file.floats("logprobs", {1, 2}, std::vector<float>{1, 2});
  testing::write_bytes(folder_.path() / "other", file.bytes());
  EXPECT_EQ(DistributionComparison::open(folder_.path() / "other", kVocab).error().code, ErrorCode::corrupt);
  testing::write_bytes(folder_.path() / "text", testing::as_vector("hello, world"));
  EXPECT_EQ(DistributionComparison::open(folder_.path() / "text", kVocab).error().code, ErrorCode::corrupt);
}

}  // namespace
}  // namespace facet::engine
