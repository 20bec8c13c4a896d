// facet trace: proves a model against golden activations of the reference.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "base/strings.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/memory_plan.h"
#include "engine/trace.h"

namespace facet::cli {
namespace {

constexpr const char* kTraceFooter =
    R"(Prints max|ours - golden| / max|golden| of every tap, the first failing one first. A missing tap or a number that is not
finite fails. Exit status 1 when a tap fails.

Examples:
  facet trace tests/golden/data/text/tiny-e --golden tests/golden/data/text/tiny-e
  facet trace model.gguf --golden golden.safetensors --chunk 7 --no-skip -t 2
  facet trace model.gguf --golden golden.safetensors --act fast --kv bf16 --tolerance 0.05 --out ours.safetensors)";

class Trace {
 public:
  void add_to(Command& command) {
    command.words(words_, "MODEL").type_name("MODEL");
    command.option("-m,--model", model_.model, "GGUF file or Hugging Face folder").type_name("MODEL");
    model_.hub.add_to(command);
    command.option("--golden", golden_, "safetensors file, or a folder of them").required().type_name("FILE|FOLDER");
    command.option("--case", case_, "only this case");
    command.option("--chunk", options_.chunk, "rows of a forward call (0: all at once)")
        .among({[](double x) { return x >= 0; }, "must be 0 or more"});
    command.flag("--no-skip", no_skip_, "without the second run that skips work and must give the same bits");
    command.option("--kv", kv_, "type of keys and values: f32, f16, bf16, int8");
    command.option("--act", act_, "arithmetic: f32 or fast").one_of({"f32", "fast"});
    command.option("-t,--threads", options_.threads, "threads").between(1, 1024);
    command.option("--isa", isa_, "instruction set: scalar, avx2, avx512").one_of({"scalar", "avx2", "avx512"});
    command.option("--tolerance", options_.tolerance, "the same for every tap (default: per tap, as published)");
    command.option("--out", out_, "write our taps to this safetensors file");
    command.footer(kTraceFooter);
  }

  Result<int> run() {
    FACET_TRY_VOID(model_.take_model(words_));
    FACET_TRY_VOID(complete());
    FACET_TRY(const engine::TraceReport report, engine::trace(model_.model, options_));
    print(report);
    return report.passed ? 0 : 1;
  }

 private:
  Result<void> complete() {
    options_.golden = golden_;
    options_.skip = !no_skip_;
    options_.arithmetic = act_ == "fast" ? Arithmetic::fast : Arithmetic::f32;
    if (!case_.empty()) options_.case_name = case_;
    if (!isa_.empty()) options_.isa = kernels::isa_named(isa_);
    if (!out_.empty()) options_.out = out_;
    FACET_TRY(options_.kv, engine::kv_type_named(kv_, "--kv"));
    return {};
  }

  static void print_row(const engine::TapError& tap) {
    std::printf("%-4s %-12s %-36s %10.3g  (at most %.1g)%s%s\n", tap.passed ? "ok" : "FAIL", tap.case_name.c_str(),
                tap.tap.c_str(), tap.error, tap.tolerance, tap.note.empty() ? "" : "  ", tap.note.c_str());
  }

  static void print(const engine::TraceReport& report) {
    const auto first = std::ranges::find(report.taps, false, &engine::TapError::passed);
    if (first != report.taps.end()) {
      std::printf("first failing tap:\n");
      print_row(*first);
      std::printf("\n");
    }
    for (const engine::TapError& tap : report.taps) print_row(tap);
    for (const std::string& name : report.not_required)
      std::printf("case %s is a form that the specification rejects: not run\n", name.c_str());
    const auto passed = std::ranges::count_if(report.taps, &engine::TapError::passed);
    std::printf("%zu taps, %lld passed\n", report.taps.size(), static_cast<long long>(passed));
  }

  ModelOptions model_;
  std::vector<std::string> words_;
  engine::TraceOptions options_;
  std::string golden_, case_, kv_ = "f32", act_ = "f32", isa_, out_;
  bool no_skip_ = false;
};

}  // namespace

void add_trace(Program& program) { program.add<Trace>("trace", "prove a model against golden activations"); }

}  // namespace facet::cli
