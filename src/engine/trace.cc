#include "engine/trace.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "base/strings.h"
#include "engine/trace_run.h"

namespace facet::engine {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Forms that the specification rejects: kept in the goldens for the record.
bool required(const std::string& name) { return name != "image_both_types" && name != "unwindowed"; }

// Inputs of a case, and results of other engines kept beside it, are not taps.
bool is_tap(const GoldenCase& golden, const std::string& name) {
  static constexpr std::string_view kInputs[] = {"input_ids",    "inputs_embeds",   "mm_token_type_ids",
                                                 "prompt",       "suppress_tokens", "logits_both_types",
                                                 "llamacpp_f32", "llamacpp_file"};
  if (name == "ids") return golden.find("prompt") != nullptr;
  return std::ranges::find(kInputs, name) == std::end(kInputs);
}

// Where a tap stands in the computation: layer, and place inside the layer.
std::pair<int, size_t> order_of(const std::string& tap) {
  static constexpr std::string_view kInLayer[] = {"k",  "v", "q", "attn_out", "router", "experts", "expert_weights",
                                                  "out"};
  static constexpr int kBefore = -1, kBehind = 1 << 20;
  if (tap == "layer0_out") return {0, std::size(kInLayer)};
  if (!tap.starts_with("layer.")) return {tap == "embed" || tap == "ple" ? kBefore : kBehind, 0};
  const std::string_view name = std::string_view(tap).substr(tap.rfind('.') + 1);
  return {std::atoi(tap.c_str() + 6), static_cast<size_t>(std::ranges::find(kInLayer, name) - std::begin(kInLayer))};
}

// Our name of a golden's tap.
std::string our_name(const std::string& tap) { return tap == "layer0_out" ? "layer.0.out" : tap; }

double tolerance_of(const GoldenCase& golden, const std::string& tap) {
  if (golden.find("llamacpp_f32") != nullptr) return 2e-4;  // golden/gguf: exact evaluation of quantised weights
  return tap == "embed" || tap == "ple" ? 1e-5 : 1e-4;
}

TapError compare_integers(TapError result, const GoldenTensor& golden, const GoldenTensor& ours, size_t skipped) {
  int64_t wrong = 0;
  for (size_t i = 0; i < golden.integers.size(); ++i) wrong += ours.integers[skipped + i] != golden.integers[i];
  result.tolerance = 0;
  result.error = golden.integers.empty() ? 0 : static_cast<double>(wrong) / static_cast<double>(golden.integers.size());
  result.passed = wrong == 0;
  return result;
}

// Goldens may hold only the last rows of a tap.
TapError compare(TapError result, const GoldenTensor& golden, const GoldenTensor* ours) {
  result.error = kInfinity;
  if (ours == nullptr) {
    result.note = "missing";
    return result;
  }
  if (ours->cols() != golden.cols() || ours->rows() < golden.rows() || ours->is_integer != golden.is_integer) {
    result.note = cat("shape ", list(ours->shape), ", golden ", list(golden.shape));
    return result;
  }
  const size_t skipped = static_cast<size_t>((ours->rows() - golden.rows()) * golden.cols());
  if (golden.is_integer) return compare_integers(std::move(result), golden, *ours, skipped);
  double largest = 0, worst = 0;
  for (size_t i = 0; i < golden.floats.size(); ++i) {
    const double expected = golden.floats[i], found = ours->floats[skipped + i];
    if (!std::isfinite(found) || !std::isfinite(expected)) {  // a NaN to compare with would fit anything
      result.note = std::isfinite(found) ? "golden is not finite" : "not finite";
      return result;
    }
    largest = std::max(largest, std::abs(expected));
    worst = std::max(worst, std::abs(found - expected));
  }
  result.error = largest > 0 ? worst / largest : worst;
  result.passed = result.error <= result.tolerance;
  return result;
}

void compare_case(const GoldenCase& golden, const std::map<std::string, GoldenTensor>& ours, double tolerance,
                  TraceReport& report) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : golden.tensors)
    if (is_tap(golden, name)) names.push_back(name);
  std::ranges::stable_sort(names, {}, order_of);
  for (const std::string& name : names) {
    const auto found = ours.find(our_name(name));
    TapError error{
        .case_name = golden.name, .tap = name, .tolerance = tolerance >= 0 ? tolerance : tolerance_of(golden, name)};
    report.taps.push_back(
        compare(std::move(error), golden.tensors.at(name), found == ours.end() ? nullptr : &found->second));
  }
}

// The run that skips work must give the very bits of the full one.
TapError compare_skipped(const GoldenCase& golden, const TraceRun::Outcome& outcome) {
  TapError result{.case_name = golden.name, .tap = "logits of the last row, work skipped", .error = kInfinity};
  const auto full = outcome.taps.find("logits");
  if (full == outcome.taps.end() || outcome.last_logits.empty()) {
    result.note = "missing";
    return result;
  }
  const float* last = full->second.floats.data() + full->second.floats.size() - outcome.last_logits.size();
  result.passed = std::memcmp(last, outcome.last_logits.data(), outcome.last_logits.size() * sizeof(float)) == 0;
  result.error = result.passed ? 0 : 1;
  result.note = result.passed ? "same bits" : "other bits";
  return result;
}

// Keeps our taps under the golden's names and shapes; taps that the golden lacks under our own.
void keep(const GoldenCase& golden, std::map<std::string, GoldenTensor> ours, TraceReport& report) {
  for (const auto& [name, tensor] : golden.tensors) {
    const auto found = ours.find(our_name(name));
    if (found != ours.end() && found->second.size() == tensor.size()) found->second.shape = tensor.shape;
    if (found != ours.end() && our_name(name) != name) report.ours.emplace(cat(golden.name, '.', name), found->second);
  }
  for (auto& [name, tensor] : ours) report.ours.emplace(cat(golden.name, '.', name), std::move(tensor));
}

Result<std::vector<GoldenCase>> choose_cases(const std::filesystem::path& model, const TraceOptions& options) {
  FACET_TRY(std::vector<GoldenCase> cases, read_golden_cases(options.golden));
  const std::string wanted = options.case_name.value_or(model.stem().string());
  const auto found = std::ranges::find(cases, wanted, &GoldenCase::name);
  if (found != cases.end()) {
    std::vector<GoldenCase> one;
    one.push_back(std::move(*found));
    return one;
  }
  if (!options.case_name) return cases;
  std::string names;
  for (const GoldenCase& golden : cases) names += (names.empty() ? "" : ", ") + golden.name;
  return Error{.code = ErrorCode::invalid_argument,
               .what = "no such golden case",
               .where = options.golden.string(),
               .expected = names,
               .found = wanted};
}

}  // namespace

Result<TraceReport> trace(const std::filesystem::path& model, const TraceOptions& options) {
  FACET_TRY(const std::vector<GoldenCase> cases, choose_cases(model, options));
  FACET_TRY(const std::unique_ptr<TraceRun> run, TraceRun::load(model, options));
  TraceReport report;
  for (const GoldenCase& golden : cases) {
    if (!required(golden.name)) {
      report.not_required.push_back(golden.name);
      continue;
    }
    FACET_TRY(TraceRun::Outcome outcome, run->run(golden));
    compare_case(golden, outcome.taps, options.tolerance, report);
    if (options.skip && golden.find("prompt") == nullptr) report.taps.push_back(compare_skipped(golden, outcome));
    keep(golden, std::move(outcome.taps), report);
  }
  report.passed = !report.taps.empty() && std::ranges::all_of(report.taps, &TapError::passed);
  if (options.out) FACET_TRY_VOID(write_taps(*options.out, report.ours));
  return report;
}

}  // namespace facet::engine
