// The decoder against the reference, on the goldens that travel with this repository; and the trace itself: what it
// must refuse. The larger goldens are in tests/golden_slow.
#include "engine/trace.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/trace_run.h"
#include "formats/checkpoint.h"
#include "ops/elementwise.h"
#include "support/golden_models.h"

namespace facet::engine {
namespace {

using testing::golden_models;
using testing::GoldenModel;
using testing::own_golden;
using testing::own_goldens;

TEST(Trace, EveryShapeEqualsTheReference) {
  const std::vector<GoldenModel> models = golden_models(own_goldens());
  EXPECT_EQ(models.size(), 7u);
  for (const GoldenModel& golden : models) {
    const Result<TraceReport> report = testing::trace(golden, {});
    ASSERT_OK(report);
    EXPECT_TRUE(report->passed) << golden.name << ": " << testing::verdict(*report);
    std::cout << "  " << golden.name << ": " << report->taps.size() << " taps, " << testing::verdict(*report) << '\n';
  }
}

TEST(Trace, SharedLayersAndPerLayerInputsAreExactInEveryWay) {
  testing::expect_golden_in_every_way(own_golden("tiny-e4"));
}
TEST(Trace, ExpertsAreExactInEveryWay) { testing::expect_golden_in_every_way(own_golden("moe-micro-q4_k_m")); }

TEST(Trace, HalvesInTheCacheStayNear) {
  for (const DType kv : {DType::f16, DType::bf16}) {
    TraceOptions options;
    options.kv = kv;
    options.tolerance = kv == DType::f16 ? 1e-2 : 8e-2;  // a few roundings of 2^-11 or 2^-8 a layer, amplified
    options.case_name = "prefill";
    const Result<TraceReport> report = testing::trace(own_golden("tiny-e4"), options);
    ASSERT_OK(report);
    EXPECT_TRUE(report->passed) << name(kv) << ' ' << testing::verdict(*report);
    options.tolerance = -1;
    const Result<TraceReport> strict = testing::trace(own_golden("tiny-e4"), options);
    ASSERT_OK(strict);
    EXPECT_FALSE(strict->passed);  // or the option does nothing
  }
}

TEST(Trace, TapsComeInTheOrderOfTheComputation) {
  TraceOptions options;
  options.case_name = "prefill";
  const Result<TraceReport> report = testing::trace(own_golden("tiny-moe"), options);
  ASSERT_OK(report);
  std::vector<std::string> names;
  for (const TapError& tap : report->taps) names.push_back(tap.tap);
  const std::vector<std::string> first = {"embed",
                                          "layer.0.k",
                                          "layer.0.v",
                                          "layer.0.attn_out",
                                          "layer.0.router",
                                          "layer.0.experts",
                                          "layer.0.expert_weights",
                                          "layer.0.out",
                                          "layer.1.k"};
  ASSERT_GT(names.size(), first.size());
  names.resize(first.size());
  EXPECT_EQ(names, first);
}

TEST(Trace, ANanFails) {
  struct Poison : ops::Observer {
    void tap(std::string_view name, int layer, Mat<float> values, std::span<const int32_t>) override {
      if (name != "k" || layer != 1) return;
      std::vector<float> row(static_cast<size_t>(values.cols()), NAN);
      ops::write(values.row_range(2, 1), row);
    }
    void tap_ids(std::string_view, int, Mat<int32_t>, std::span<const int32_t>) override {}
    void linear_input(const ops::LinearInput&) override {}
  } poison;
  TraceOptions options;
  options.case_name = "prefill";
  options.interfere = &poison;
  const Result<TraceReport> report = testing::trace(own_golden("tiny-e4"), options);
  ASSERT_OK(report);
  EXPECT_FALSE(report->passed);
  const auto failed = std::ranges::find(report->taps, false, &TapError::passed);
  ASSERT_NE(failed, report->taps.end());
  EXPECT_EQ(failed->tap, "layer.1.k");
  EXPECT_EQ(failed->note, "not finite");
}

// The taps of tiny-e4's prefill case, for goldens made by hand.
Result<TraceReport> good_report() {
  TraceOptions options;
  options.case_name = "prefill";
  return testing::trace(own_golden("tiny-e4"), options);
}

TEST(Trace, AMissingTapFails) {
  const testing::TemporaryFolder folder;
  const Result<TraceReport> good = good_report();
  ASSERT_OK(good);
  std::map<std::string, GoldenTensor> taps = good->ours;
  GoldenTensor ids;
  const Result<std::vector<GoldenCase>> cases = read_golden_cases(own_golden("tiny-e4").golden);
  ASSERT_OK(cases);
  for (const GoldenCase& golden : *cases)
    if (golden.name == "prefill") ids = *golden.find("input_ids");
  taps.emplace("prefill.input_ids", ids);
  taps.emplace("prefill.layer.0.nonesuch", taps.at("prefill.layer.0.out"));
  const std::filesystem::path file = folder.path() / "golden.safetensors";
  ASSERT_OK(write_taps(file, taps));
  TraceOptions options;
  options.golden = file;
  const Result<TraceReport> report = trace(own_golden("tiny-e4").model, options);
  ASSERT_OK(report);
  EXPECT_FALSE(report->passed);
  for (const TapError& tap : report->taps) {
    EXPECT_EQ(tap.passed, tap.tap != "layer.0.nonesuch") << tap.tap;
    EXPECT_EQ(tap.note == "missing", tap.tap == "layer.0.nonesuch") << tap.tap;
    EXPECT_TRUE(!tap.passed || tap.error == 0) << tap.tap;  // our own taps
  }
}

TEST(Trace, AnUnknownCaseIsRefused) {
  TraceOptions options;
  options.case_name = "nonesuch";
  const Result<TraceReport> report = testing::trace(own_golden("tiny-e4"), options);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(report.error().message().find("prefill"), std::string::npos) << report.error().message();
}

TEST(Trace, OurTapsAreWrittenUnderTheNamesAndShapesOfTheGolden) {
  const testing::TemporaryFolder folder;
  TraceOptions options;
  options.case_name = "prefill";
  options.out = folder.path() / "ours.safetensors";
  const GoldenModel golden = own_golden("tiny-moe");
  ASSERT_OK(testing::trace(golden, options));
  const Result<formats::Checkpoint> ours = formats::Checkpoint::open(*options.out);
  ASSERT_OK(ours);
  const Result<formats::Checkpoint> theirs = formats::Checkpoint::open(golden.golden / "golden.safetensors");
  ASSERT_OK(theirs);
  int compared = 0;
  for (const formats::TensorInfo& info : theirs->tensors()) {
    if (!info.name.starts_with("prefill.") || info.name == "prefill.input_ids") continue;
    const formats::TensorInfo* found = ours->find(info.name);
    ASSERT_NE(found, nullptr) << info.name;
    EXPECT_EQ(found->shape, info.shape) << info.name;
    ++compared;
  }
  EXPECT_GT(compared, 40);
}

}  // namespace
}  // namespace facet::engine
