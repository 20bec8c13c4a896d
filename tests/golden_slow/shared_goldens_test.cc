// Every golden model beside the repository, in every way: tiers, chunks, threads, work skipping.
#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "support/golden_models.h"

namespace facet::testing {
namespace {

TEST(SharedGoldens, EveryModelIsExactInEveryWay) {
  const auto shared = shared_path("golden");
  const std::vector<GoldenModel> models = golden_models(shared ? *shared : own_goldens());
  EXPECT_GE(models.size(), shared ? 17u : 7u);
  for (const char* wide : {"wide", "wide-e", "wide-moe"})  // true head widths; rows of whole 256s
    EXPECT_EQ(std::ranges::count(models, wide, &GoldenModel::name), shared ? 1 : 0) << wide;
  for (const GoldenModel& golden : models) expect_golden_in_every_way(golden);
}

TEST(SharedGoldens, TheRepositoryHoldsCopiesOfThem) {
  FACET_SHARED_OR_SKIP(root, "golden");
  const auto bytes = [](const std::filesystem::path& path) {
    const Result<MappedFile> file = MappedFile::open(path);
    return file.ok() ? std::string(as_text(file->bytes())) : "cannot be read";
  };
  for (const auto& entry : std::filesystem::recursive_directory_iterator(own_goldens())) {
    const std::filesystem::path relative = std::filesystem::relative(entry.path(), own_goldens());
    if (!entry.is_regular_file() || relative.filename() == "logits.safetensors" || relative == "README.md") continue;
    EXPECT_TRUE(bytes(entry.path()) == bytes(root / relative)) << relative;
  }
}

// The logits of the GGUF files are a selection.
TEST(SharedGoldens, TheRepositoryHoldsTheSameLogits) {
  FACET_SHARED_OR_SKIP(root, "golden");
  const auto ours = engine::read_golden_cases(own_goldens() / "gguf" / "logits.safetensors");
  const auto theirs = engine::read_golden_cases(root / "gguf" / "logits.safetensors");
  ASSERT_OK(ours);
  ASSERT_OK(theirs);
  for (const engine::GoldenCase& golden : *ours) {
    const auto found = std::ranges::find(*theirs, golden.name, &engine::GoldenCase::name);
    ASSERT_NE(found, theirs->end()) << golden.name;
    ASSERT_EQ(golden.tensors.size(), found->tensors.size());
    for (const auto& [name, tensor] : golden.tensors) {
      EXPECT_EQ(tensor.floats, found->tensors.at(name).floats) << name;
      EXPECT_EQ(tensor.integers, found->tensors.at(name).integers) << name;
    }
  }
}

struct Distance {
  double mean_kl = 0;    // KL(truth || ours), nats
  double same_best = 0;  // share of positions with the same best token
};

Distance distance(const engine::GoldenTensor& truth, const engine::GoldenTensor& ours) {
  const size_t vocabulary = static_cast<size_t>(truth.cols()), rows = static_cast<size_t>(truth.rows());
  const size_t skipped = static_cast<size_t>(ours.size() - truth.size());
  Distance sum;
  for (size_t i = 0; i < rows; ++i) {
    const std::span p = std::span(truth.floats).subspan(i * vocabulary, vocabulary);
    const std::span q = std::span(ours.floats).subspan(skipped + i * vocabulary, vocabulary);
    double p_sum = 0, q_sum = 0;
    for (size_t k = 0; k < vocabulary; ++k) {
      p_sum += std::exp(static_cast<double>(p[k]));
      q_sum += std::exp(static_cast<double>(q[k]));
    }
    for (size_t k = 0; k < vocabulary; ++k) {
      const double log_p = static_cast<double>(p[k]) - std::log(p_sum),
                   log_q = static_cast<double>(q[k]) - std::log(q_sum);
      sum.mean_kl += std::exp(log_p) * (log_p - log_q);
    }
    sum.same_best += std::ranges::max_element(p) - p.begin() == std::ranges::max_element(q) - q.begin();
  }
  return {.mean_kl = sum.mean_kl / static_cast<double>(rows), .same_best = sum.same_best / static_cast<double>(rows)};
}

// What 8-bit activations may cost on random weights (README of golden/gguf): mean KL at most twice the peer's, and the
// same best token at three positions of four.
TEST(SharedGoldens, FastArithmeticStaysAsNearAsThePeer) {
  FACET_SHARED_OR_SKIP(root, "golden");
  const Result<std::string> text = read_file(root / "gguf" / "distances.json", 1 << 20);
  ASSERT_OK(text);
  const Result<Json> distances = Json::parse(*text, "distances.json");
  ASSERT_OK(distances);
  const Result<std::vector<engine::GoldenCase>> cases = engine::read_golden_cases(root / "gguf" / "logits.safetensors");
  ASSERT_OK(cases);
  for (const GoldenModel& golden : golden_models(root)) {
    if (golden.model.extension() != ".gguf") continue;
    for (const kernels::Table& table : kernels::usable_tables()) {
      engine::TraceOptions options;
      options.arithmetic = Arithmetic::fast;
      options.isa = table.isa;
      const Result<engine::TraceReport> report = trace(golden, options);
      ASSERT_OK(report);
      const auto truth = std::ranges::find(*cases, golden.name, &engine::GoldenCase::name);
      ASSERT_NE(truth, cases->end());
      const Distance ours = distance(*truth->find("logits"), report->ours.at(golden.name + ".logits"));
      const double peer = distances->find(golden.name)->find("kl_peer_file")->number();
      std::cout << "  " << golden.name << ' ' << kernels::name(table.isa) << ": mean KL " << ours.mean_kl << " (peer "
                << peer << "), same best token " << 100 * ours.same_best << " %\n";
      EXPECT_LE(ours.mean_kl, 2 * peer) << golden.name;
      EXPECT_GE(ours.same_best, 0.75) << golden.name;
    }
  }
}

}  // namespace
}  // namespace facet::testing
