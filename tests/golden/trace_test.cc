// The decoder against the reference, on the goldens that travel with this repository; and the trace itself: what it
// must refuse. The larger goldens are in tests/golden_slow.
#include "engine/trace.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

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

TEST(Trace, SmallTypesInTheCacheStayNear) {
  for (const DType kv : {DType::f16, DType::bf16, DType::i8}) {
    TraceOptions options;
    options.kv = kv;
    // A few roundings of 2^-11 or 2^-8 a layer, amplified. Int8: the largest of 32 turned values is about 2.2 rms, half
    // a step of 1/127 of it three times what bf16 rounds away.
    options.tolerance = kv == DType::f16 ? 1e-2 : kv == DType::bf16 ? 8e-2 : 0.24;
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

using Taps = std::map<std::string, GoldenTensor>;

// A trace of the model's prefill case against its own taps, changed by hand.
Result<TraceReport> trace_against_own(const std::string& name, const std::function<void(Taps&)>& change) {
  const GoldenModel model = own_golden(name);
  TraceOptions options;
  options.case_name = "prefill";
  FACET_TRY(TraceReport good, testing::trace(model, options));
  Taps taps = std::move(good.ours);
  FACET_TRY(const std::vector<GoldenCase> cases, read_golden_cases(model.golden));
  for (const GoldenCase& golden : cases)
    if (golden.name == "prefill") taps.emplace("prefill.input_ids", *golden.find("input_ids"));
  change(taps);
  const testing::TemporaryFolder folder;
  options.golden = folder.path() / "golden.safetensors";
  FACET_TRY_VOID(write_taps(options.golden, taps));
  return trace(model.model, options);
}

TEST(Trace, AMissingTapFails) {
  const Result<TraceReport> report = trace_against_own(
      "tiny-e4", [](Taps& taps) { taps.emplace("prefill.layer.0.nonesuch", taps.at("prefill.layer.0.out")); });
  ASSERT_OK(report);
  EXPECT_FALSE(report->passed);
  for (const TapError& tap : report->taps) {
    EXPECT_EQ(tap.passed, tap.tap != "layer.0.nonesuch") << tap.tap;
    EXPECT_EQ(tap.note == "missing", tap.tap == "layer.0.nonesuch") << tap.tap;
    EXPECT_TRUE(!tap.passed || tap.error == 0) << tap.tap;  // our own taps
  }
}

TEST(Trace, AGoldenThatIsNotFiniteFails) {
  for (const float broken : {NAN, INFINITY}) {
    const Result<TraceReport> report =
        trace_against_own("tiny-e4", [&](Taps& taps) { taps.at("prefill.layer.1.out").floats.back() = broken; });
    ASSERT_OK(report);
    EXPECT_FALSE(report->passed);
    for (const TapError& tap : report->taps) EXPECT_EQ(tap.passed, tap.tap != "layer.1.out") << tap.tap;
  }
}

TEST(Trace, GoldensMayHoldTheLastRowsOfATapOnly) {
  const Result<TraceReport> report = trace_against_own("tiny-moe", [](Taps& taps) {
    for (const char* name : {"prefill.layer.0.experts", "prefill.layer.0.out"}) {
      GoldenTensor& tap = taps.at(name);
      const auto cut = static_cast<ptrdiff_t>(tap.cols());
      if (tap.is_integer) {
        tap.integers.erase(tap.integers.begin(), tap.integers.begin() + cut);
      } else {
        tap.floats.erase(tap.floats.begin(), tap.floats.begin() + cut);
      }
      tap.shape = {tap.rows() - 1, static_cast<int64_t>(cut)};
    }
  });
  ASSERT_OK(report);
  EXPECT_TRUE(report->passed) << testing::verdict(*report);
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
