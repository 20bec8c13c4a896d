// facet bench: how fast a model reads and writes here, and what the machine would allow.
#include <algorithm>
#include <charconv>
#include <memory>
#include <string>
#include <vector>

#include "base/strings.h"
#include "cli/bench_report.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/bench_run.h"

namespace facet::cli {
namespace {

using engine::BenchKind;
using engine::BenchTest;

constexpr const char* kBenchFooter =
    R"(LIST is one number or several with commas; 8k is 8192. Every combination is measured. docs/performance.md explains
the columns and how to compare with other engines.

Examples:
  facet bench model.gguf
  facet bench model.gguf -p 512,8k -n 128 -d 0,8k -r 3
  facet bench model.gguf -p 0 -n 32 --parallel 1,4,8
  facet bench model.gguf -t 1,2 --kv bf16,int8 -o csv)";

constexpr int64_t kMostTokens = int64_t{1} << 24;

Error bad_list(const std::string& option, std::string expected, std::string found) {
  return {.code = ErrorCode::invalid_argument,
          .what = "list cannot be read",
          .where = option,
          .expected = std::move(expected),
          .found = std::move(found)};
}

// "512,2k,8K": numbers from least to most; k is 1024.
Result<std::vector<int64_t>> numbers(const std::string& text, const std::string& option, int64_t least, int64_t most) {
  std::vector<int64_t> all;
  for (const std::string& word : split_list(text)) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    const std::string_view unit(end, static_cast<size_t>(word.data() + word.size() - end));
    const bool thousands = unit == "k" || unit == "K";
    if (error != std::errc() || !(unit.empty() || thousands) || value > most / (thousands ? 1024 : 1) ||
        (thousands ? value * 1024 : value) < least)
      return bad_list(option, cat("numbers from ", least, " to ", most, ", with commas"),
                      text.empty() ? "nothing" : text);
    all.push_back(thousands ? value * 1024 : value);
  }
  return all;
}

class BenchCommand {
 public:
  void add_to(Command& command) {
    command.words(words_, "MODEL").type_name("[MODEL]");
    model_.add_source_to(command);
    command.option("-p,--prompt,--n-prompt", prompts_, "tokens to read; 0: none (default: 512)").type_name("LIST");
    command.option("-n,--predict,--n-gen", written_, "tokens to write; 0: none (default: 128)").type_name("LIST");
    command.option("-d,--depth,--n-depth", depths_, "positions that are in the cache before (default: 0)")
        .type_name("LIST");
    command.option("--parallel", parallel_, "sequences that write together, one batch a step (default: 1)")
        .type_name("LIST");
    command.option("-r,--repetitions", options_.repetitions, "how often each test is measured").between(1, 1000);
    command.option("-t,--threads", threads_, "threads (default: one for each processor)").type_name("LIST");
    command.option("--kv", kv_types_, "types that keys and values are stored in: f32, f16, bf16, int8")
        .type_name("LIST");
    command.flag("--sampler", options_.sample, "draw each written token from the logits (top-k 64, top-p 0.95)");
    command.flag("--no-warmup", no_warm_up_, "measure the first run, too");
    model_.add_loading_to(command);
    command.option("-o,--output", output_, "table, md, csv, json or jsonl")
        .one_of({"table", "md", "csv", "json", "jsonl"});
    command.flag("--json", json_, "the same as -o json");
    command.flag("--csv", csv_, "the same as -o csv");
    command.footer(kBenchFooter);
  }

  Result<int> run() {
    FACET_TRY_VOID(model_.take_only_model(words_, "one model is measured, and no text"));
    if (json_ && csv_)
      return Error{.code = ErrorCode::invalid_argument,
                   .what = "two forms of output are asked for",
                   .where = "command line",
                   .expected = "--json or --csv"};
    if (json_) output_ = "json";
    if (csv_) output_ = "csv";
    FACET_TRY(const std::vector<BenchTest> tests, list_of_tests());
    FACET_TRY(const std::vector<int64_t> threads, numbers(threads_, "--threads", 0, 1024));
    options_.load = model_.load_options();
    options_.warm_up = !no_warm_up_;
    const auto vocabulary = options_.sample ? engine::Vocabulary::required : engine::Vocabulary::optional;
    FACET_TRY(const std::unique_ptr<engine::ModelFiles> files, engine::ModelFiles::open(model_.model, vocabulary));
    BenchReport report(output_, files->info());
    const Interrupt interrupt;
    for (const int64_t count : threads)
      for (const std::string& kv : split_list(kv_types_)) {
        options_.load.threads = static_cast<int>(count);
        options_.load.kv_type = kv;
        FACET_TRY_VOID(measure(*files, tests, report));
      }
    report.finish();
    return 0;
  }

 private:
  // Of ascending depth, so that what one test has read stays for the next.
  Result<std::vector<BenchTest>> list_of_tests() const {
    FACET_TRY(const std::vector<int64_t> prompts, numbers(prompts_, "--prompt", 0, kMostTokens));
    FACET_TRY(const std::vector<int64_t> written, numbers(written_, "--predict", 0, kMostTokens));
    FACET_TRY(std::vector<int64_t> depths, numbers(depths_, "--depth", 0, kMostTokens));
    FACET_TRY(const std::vector<int64_t> parallel, numbers(parallel_, "--parallel", 1, 4096));
    std::ranges::sort(depths);
    std::vector<BenchTest> tests;
    for (const int64_t depth : depths) {
      for (const int64_t tokens : prompts)
        if (tokens > 0) tests.push_back({.kind = BenchKind::read, .tokens = tokens, .depth = depth});
      for (const int64_t tokens : written)
        for (const int64_t sequences : parallel)
          if (tokens > 0)
            tests.push_back({.kind = BenchKind::write, .tokens = tokens, .depth = depth, .parallel = sequences});
    }
    return tests;
  }

  Result<void> measure(const engine::ModelFiles& files, const std::vector<BenchTest>& tests, BenchReport& report) {
    ProgressBar bar;
    options_.load.progress = [&](std::string_view phase, int64_t done, int64_t total) {
      bar.update(phase, done, total);
      return !Interrupt::requested();
    };
    FACET_TRY(const std::unique_ptr<engine::BenchRun> run, engine::BenchRun::load(files, tests, options_));
    bar.clear();
    note(run->pack_use());
    if (run->context() > files.config.context)
      note(cat("the model was trained for ", files.config.context, " positions; ", run->context(), " go beyond them"));
    for (const BenchTest& test : tests) {
      FACET_TRY(const engine::BenchResult result, run->run(test, [] { return !Interrupt::requested(); }));
      report.add(*run, options_, result);
    }
    return {};
  }

  ModelOptions model_;
  engine::BenchOptions options_;
  std::vector<std::string> words_;
  std::string prompts_ = "512", written_ = "128", depths_ = "0", parallel_ = "1", threads_ = "0", kv_types_ = "bf16",
              output_ = "table";
  bool no_warm_up_ = false, json_ = false, csv_ = false;
};

}  // namespace

void add_bench(Program& program) { program.add<BenchCommand>("bench", "how fast a model reads and writes here"); }

}  // namespace facet::cli
