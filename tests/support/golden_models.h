// Which golden models there are, and how a trace of one is judged in tests.
#pragma once

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "engine/trace.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::testing {

struct GoldenModel {
  std::string name;
  std::filesystem::path model, golden;
};

// Decoders under a folder of goldens: every folder of text/ (drafters excepted) and every file of gguf/, by name.
inline std::vector<GoldenModel> golden_models(const std::filesystem::path& root) {
  std::vector<GoldenModel> found;
  for (const auto& entry : std::filesystem::directory_iterator(root / "text"))
    if (!entry.path().filename().string().starts_with("tiny-assistant"))
      found.push_back({.name = entry.path().filename().string(), .model = entry.path(), .golden = entry.path()});
  for (const auto& entry : std::filesystem::directory_iterator(root / "gguf"))
    if (entry.path().extension() == ".gguf")
      found.push_back({.name = entry.path().stem().string(),
                       .model = entry.path(),
                       .golden = root / "gguf" / "logits.safetensors"});
  std::ranges::sort(found, {}, &GoldenModel::name);
  return found;
}

inline std::filesystem::path own_goldens() { return source_path("tests/golden/data"); }

// The model of that name in this repository.
inline GoldenModel own_golden(const std::string& name) {
  for (GoldenModel& golden : golden_models(own_goldens()))
    if (golden.name == name) return golden;
  ADD_FAILURE() << "no golden model " << name;
  return {};
}

inline Result<engine::TraceReport> trace(const GoldenModel& golden, engine::TraceOptions options) {
  options.golden = golden.golden;
  return engine::trace(golden.model, options);
}

// The first tap that failed, or the worst of those that passed, in words.
inline std::string verdict(const engine::TraceReport& report) {
  const auto text = [](const engine::TapError& tap) {
    return tap.case_name + '.' + tap.tap + ' ' + std::to_string(tap.error / 1e-6) + "e-6 " + tap.note;
  };
  const auto failed = std::ranges::find(report.taps, false, &engine::TapError::passed);
  if (failed != report.taps.end()) return "first failing tap: " + text(*failed);
  if (report.taps.empty()) return "no taps";
  return "worst tap: " + text(*std::ranges::max_element(report.taps, {}, &engine::TapError::error));
}

// Whether two traces have the same taps bit for bit; names the first that differs.
inline std::string first_difference(const engine::TraceReport& a, const engine::TraceReport& b) {
  if (a.ours.size() != b.ours.size() || a.ours.empty()) return "other taps";
  for (const auto& [name, tensor] : a.ours) {
    const auto other = b.ours.find(name);
    if (other == b.ours.end()) return name + " is missing";
    const auto& left = tensor.floats;
    const auto& right = other->second.floats;
    if (tensor.integers != other->second.integers || left.size() != right.size() ||
        (!left.empty() && std::memcmp(left.data(), right.data(), left.size() * sizeof(float)) != 0))
      return name;
  }
  return "";
}

// Runs a model whole, in chunks of 1, 3 and 7, without work skipping, and on two threads; in each tier. Everything must
// pass and have the same bits within a tier.
inline void expect_golden_in_every_way(const GoldenModel& golden) {
  for (const kernels::Table& table : kernels::usable_tables()) {
    engine::TraceOptions options;
    options.isa = table.isa;
    const Result<engine::TraceReport> whole = trace(golden, options);
    ASSERT_OK(whole);
    EXPECT_TRUE(whole->passed) << golden.name << ' ' << kernels::name(table.isa) << ' ' << verdict(*whole);
    std::cout << "  " << golden.name << ' ' << kernels::name(table.isa) << ": " << whole->taps.size() << " taps, "
              << verdict(*whole) << '\n';
    const auto again = [&](const char* how, auto change) {
      engine::TraceOptions changed = options;
      change(changed);
      const Result<engine::TraceReport> report = trace(golden, changed);
      ASSERT_OK(report);
      EXPECT_TRUE(report->passed) << golden.name << ' ' << kernels::name(table.isa) << ' ' << how << ": "
                                  << verdict(*report);
      EXPECT_EQ(first_difference(*whole, *report), "") << golden.name << ' ' << kernels::name(table.isa) << ' ' << how;
    };
    again("in rows", [](auto& o) { o.chunk = 1; });
    again("in chunks of 3", [](auto& o) { o.chunk = 3; });
    again("in chunks of 7", [](auto& o) { o.chunk = 7; });
    again("on two threads", [](auto& o) { o.threads = 2; });
    again("without skipping", [](auto& o) { o.skip = false; });
  }
}

}  // namespace facet::testing
