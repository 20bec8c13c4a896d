// Converted golden models, judged by what they compute: the same bits as the model they come from.
#pragma once

#include "convert/convert.h"
#include "support/golden_models.h"

namespace facet::testing {

// To a GGUF file and back to a folder: both trace as the source does. Cases with soft tokens are left out: which tokens
// stand for pictures a file without vocabulary cannot say.
inline void expect_same_figures_when_converted(const GoldenModel& golden) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "model.gguf", back = folder.path() / "back";
  ASSERT_OK(convert::convert(golden.model, file, {}));
  ASSERT_OK(convert::convert(file, back, {}));
  int cases = 0;
  for (const char* name : {"prefill", "long"}) {
    engine::TraceOptions options;
    options.case_name = name;
    const Result<engine::TraceReport> source = trace(golden, options);
    if (!source.ok() && source.error().code == ErrorCode::invalid_argument) continue;  // no such case of this model
    ASSERT_OK(source);
    ++cases;
    EXPECT_TRUE(source->passed) << golden.name << ' ' << verdict(*source);
    for (const std::filesystem::path& converted : {file, back}) {
      const Result<engine::TraceReport> report =
          trace({.name = golden.name, .model = converted, .golden = golden.golden}, options);
      ASSERT_OK(report);
      EXPECT_TRUE(report->passed) << golden.name << ' ' << converted << ' ' << verdict(*report);
      EXPECT_EQ(first_difference(*source, *report), "") << golden.name << ' ' << converted << ' ' << name;
    }
  }
  EXPECT_GE(cases, 1) << golden.name;
}

}  // namespace facet::testing
