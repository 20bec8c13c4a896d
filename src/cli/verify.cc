// facet verify: whether this file, on this machine, computes what it says: the fast path against a float64 one.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "verify/run.h"

namespace facet::cli {
namespace {

constexpr const char* kVerifyFooter =
    R"(Runs each layer with the kernels and types that `facet run` would use, and repeats every step in double, from the same
inputs, the same rounded activations, the stored keys and values, and weights read from the file itself. Each number
must lie within the bound that float arithmetic allows (docs/verify.md). Of large matrices one row in 16 is repeated;
--full takes all. Exit status 1 when a number lies outside, and the first one is named.

Examples:
  facet verify model.gguf
  facet verify model.gguf --full -t 8
  facet verify model.gguf --isa avx2 --kv f16 --json
  facet verify folder --quant Q4_K_M)";

std::string number(double value, const char* format = "%.9g") {
  char text[48];
  const int n = std::snprintf(text, sizeof text, format, value);
  return {text, static_cast<size_t>(n)};
}

// "33 %": a distance as a share of its bound.
std::string share(double worst) { return std::isfinite(worst) ? number(100 * worst, "%.0f %%") : "beyond any bound"; }

// "28 steps, at most 12 % of the bound (ffn_down); roundings at most 98 %"
std::string summary(const verify::Part& part) {
  std::string out = cat(part.steps.size(), part.steps.size() == 1 ? " step" : " steps");
  if (const verify::Step* worst = part.worst(verify::StepKind::computed))
    out += cat(", at most ", share(worst->worst), " of the bound (", worst->name, ")");
  if (const verify::Step* worst = part.worst(verify::StepKind::rounded))
    out += cat("; roundings at most ", share(worst->worst));
  return out;
}

class VerifyCommand {
 public:
  void add_to(Command& command) {
    command.words(words_, "MODEL").type_name("MODEL");
    model_.add_source_to(command);
    command.flag("--full", full_, "all rows of every matrix, not a sample of the large ones");
    command.option("--act", act_, "arithmetic: fast or f32").one_of({"fast", "f32"});
    command.option("--kv", options_.load.kv_type, "type of keys and values: f32, f16, bf16, int8");
    command.option("-t,--threads", options_.load.threads, "threads (default: one for each processor)").between(0, 1024);
    command.option("--isa", options_.load.isa, "instruction set: scalar, avx2, avx512")
        .one_of({"scalar", "avx2", "avx512"});
    command.option("--quant", options_.load.quant, "quantise while loading, and verify what that gives")
        .type_name("TYPE");
    command.flag("--json", json_, "one JSON object");
    command.footer(kVerifyFooter);
  }

  Result<int> run() {
    FACET_TRY_VOID(model_.take_only_model(words_, "one model is verified"));
    options_.rows = full_ ? verify::Rows::all : verify::Rows::sampled;
    options_.load.exact = act_ == "f32";
    const Interrupt interrupt;
    ProgressBar bar;
    options_.load.progress = [&](std::string_view phase, int64_t done, int64_t total) {
      bar.update(phase, done, total);
      return !Interrupt::requested();
    };
    FACET_TRY(const std::unique_ptr<engine::ModelFiles> files,
              engine::ModelFiles::open(model_.model, engine::Vocabulary::optional));
    FACET_TRY(const verify::Report report, verify::run(*files, options_));
    bar.clear();
    for (const std::string& remark : report.remarks) note(remark);
    json_ ? show_json(*files, report) : show_text(*files, report);
    return report.first ? 1 : 0;
  }

 private:
  // "bf16 products of BF16 weights" and the like are the tier's business; here stands what was asked for.
  std::string circumstances(const verify::Report& report) const {
    std::string types;
    for (const std::string& type : report.weight_types) types += cat(types.empty() ? "" : ", ", type);
    return cat(report.isa, ", ", options_.load.exact ? "f32" : "fast", " arithmetic, weights ", types,
               ", keys and values ", options_.load.kv_type, ", ", report.threads, " threads, ",
               full_ ? "all rows" : "one row in 16 of large matrices");
  }

  void show_text(const engine::ModelFiles& files, const verify::Report& report) const {
    std::string out;
    for (const verify::Part& part : report.parts)
      out += cat(part.equal() ? "equal" : "DIFFERS", "  ", part.name, ": ", summary(part), "\n");
    out += cat("\n", printable(files.path), ": ", circumstances(report), "\n");
    if (!report.first) {
      out += cat("equal within the arithmetic's bound: ", report.values, " numbers\n");
    } else {
      const verify::Difference& d = *report.first;
      out += cat("first difference: ", d.part, ", ", d.step, ", row ", d.at.row, " (position ", d.at.position,
                 "), column ", d.at.column, ": expected ", number(d.expected), ", found ", number(d.found), ", bound ",
                 number(d.bound, "%.3g"), "\n");
    }
    show(out);
  }

  void show_json(const engine::ModelFiles& files, const verify::Report& report) const {
    Json out;
    out.set("model", files.path);
    out.set("equal", !report.first);
    out.set("isa", report.isa);
    out.set("arithmetic", options_.load.exact ? "f32" : "fast");
    out.set("kv", options_.load.kv_type);
    out.set("quant", options_.load.quant);
    out.set("threads", report.threads);
    out.set("full", full_);
    out.set("values", report.values);
    Json::Array types(report.weight_types.begin(), report.weight_types.end());
    out.set("weights", std::move(types));
    Json first;  // null where all is equal
    if (report.first) {
      const verify::Difference& d = *report.first;
      first = Json::Object{
          {"part", d.part},        {"step", d.step},         {"row", d.at.row},  {"position", d.at.position},
          {"column", d.at.column}, {"expected", d.expected}, {"found", d.found}, {"bound", d.bound}};
    }
    out.set("first_difference", std::move(first));
    Json::Array parts;
    for (const verify::Part& part : report.parts) {
      Json::Array steps;
      for (const verify::Step& step : part.steps)
        steps.push_back(
            Json::Object{{"step", step.name}, {"equal", step.equal()}, {"values", step.values}, {"worst", step.worst}});
      parts.push_back(Json::Object{{"part", part.name}, {"equal", part.equal()}, {"steps", std::move(steps)}});
    }
    out.set("parts", std::move(parts));
    show(out.dump(2) + "\n");
  }

  ModelOptions model_;
  verify::Options options_;
  std::vector<std::string> words_;
  std::string act_ = "fast";
  bool full_ = false, json_ = false;
};

}  // namespace

void add_verify(Program& program) {
  program.add<VerifyCommand>("verify", "this file on this machine: fast path against float64, layer by layer");
}

}  // namespace facet::cli
