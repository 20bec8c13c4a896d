// facet plan: the memory that a model will take, by what it is for, before any weight is read.
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
#include "engine/drafter_plan.h"
#include "engine/load_gemma.h"

namespace facet::cli {
namespace {

constexpr const char* kPlanFooter =
    R"(Reads the headers of the files alone. Exit status 6: it does not fit; the options that would are named.
docs/memory.md explains the rows.

Examples:
  facet plan model.gguf
  facet plan model.gguf -c 32768 --parallel 4
  facet plan gemma-4-E2B-it --quant Q4_K_M -c 8192 --json
  facet plan ggml-org/gemma-4-E2B-it-GGUF:Q8_0 --kv f32)";

using engine::readable_bytes;

class Plan {
 public:
  void add_to(Command& command) {
    command.words(words_, "MODEL").type_name("MODEL");
    model_.add_to(command);
    command.option("--parallel", model_.load.sequences, "sequences that are in the cache at once");
    command.flag("--json", json_, "print one JSON object");
    command.footer(kPlanFooter);
  }

  Result<int> run() {
    FACET_TRY_VOID(model_.take_only_model(words_, "one model is planned, and no text"));
    program_bytes_ = engine::held_memory();
    FACET_TRY_VOID(make());
    if (json_) {
      show(described().dump(2) + "\n");
    } else {
      print();
    }
    return plan_.fits() ? 0 : report(engine::does_not_fit(plan_, model_.model, would_fit_));
  }

 private:
  Result<void> make() {
    const Result<std::unique_ptr<engine::ModelFiles>> opened =
        engine::ModelFiles::open(model_.model, engine::Vocabulary::optional);
    if (!opened.ok())
      return opened.error().code == ErrorCode::unsupported ? make_drafter(opened.error()) : opened.error();
    const engine::ModelFiles& files = **opened;
    if (!files.checkpoint)
      return Error{.code = ErrorCode::invalid_argument,
                   .what = "a puppet has no weights to plan for",
                   .where = model_.model,
                   .expected = "a model file",
                   .found = "a puppet"};
    FACET_TRY(plan_, engine::plan_gemma(files, model_.load, remarks_));
    if (!plan_.fits()) would_fit_ = engine::what_would_fit(files, model_.load, plan_);
    description_ = files.info().description;
    trained_context_ = files.config.context;
    return {};
  }

  // otherwise: what is wrong with the model if it is no drafter.
  Result<void> make_drafter(const Error& otherwise) {
    const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(model_.model);
    if (!checkpoint.ok() || !model::read_drafter_config(*checkpoint).ok()) return otherwise;
    FACET_TRY(const engine::DrafterPlan plan, engine::plan_drafter(*checkpoint, model_.load));
    plan_ = plan.memory;
    description_ = model::describe(plan.config);
    trained_context_ = plan.config.context;
    remarks_.emplace_back("a drafter reads the cache of its target, which is planned by itself");
    return {};
  }

  int64_t sequences() const { return model_.load.sequences; }
  int64_t vocabulary_bytes() const { return plan_.held_bytes - program_bytes_; }

  Json described() const {
    Json json;
    json.set("path", model_.model);
    json.set("model", description_);
    json.set("context", plan_.context);
    json.set("trained_context", trained_context_);
    json.set("sequences", sequences());
    json.set("batch_rows", model_.load.batch_rows);
    json.set("weight_bytes", plan_.bytes.weights);
    json.set("kv_sliding_bytes", plan_.bytes.kv_sliding);
    json.set("kv_full_bytes", plan_.bytes.kv_full);
    json.set("scratch_bytes", plan_.bytes.scratch);
    json.set("logit_bytes", plan_.bytes.logits);
    json.set("answer_bytes", plan_.answer_bytes);
    json.set("vocabulary_bytes", vocabulary_bytes());
    json.set("program_bytes", program_bytes_);
    json.set("total_bytes", plan_.total_bytes());
    json.set("table_bytes", plan_.bytes.tables);
    json.set("available_bytes", plan_.available_bytes);
    json.set("spare_bytes", engine::MemoryPlan::kSpareBytes);
    json.set("fits", plan_.fits());
    json.set("largest_context", plan_.largest_context);
    Json::Array would_fit, remarks;
    for (const std::string& words : would_fit_) would_fit.emplace_back(words);
    for (const std::string& remark : remarks_) remarks.emplace_back(remark);
    json.set("would_fit", std::move(would_fit));
    json.set("remarks", std::move(remarks));
    return json;
  }

  void print() const {
    const auto row = [](const char* label, int64_t bytes, const std::string& text) {
      std::printf("%-16s %9s  %s\n", label, readable_bytes(bytes).c_str(), text.c_str());
    };
    const auto each = [&](int64_t bytes) { return cat(sequences(), " x ", readable_bytes(bytes / sequences())); };
    std::printf("%s: a context of %lld, %lld at once, batches of %lld\n\n", description_.c_str(),
                static_cast<long long>(plan_.context), static_cast<long long>(sequences()),
                static_cast<long long>(model_.load.batch_rows));
    row("weights", plan_.bytes.weights, "packed");
    row("sliding cache", plan_.bytes.kv_sliding, cat(each(plan_.bytes.kv_sliding), ", ", model_.load.kv_type));
    row("full cache", plan_.bytes.kv_full, cat(each(plan_.bytes.kv_full), ", ", model_.load.kv_type));
    row("scratch", plan_.bytes.scratch, "of a batch");
    row("logits", plan_.bytes.logits, "where those of many tokens are wanted");
    row("answers", plan_.answer_bytes, "choosing tokens, texts");
    row("vocabulary", vocabulary_bytes(), "and headers");
    row("program", program_bytes_, "and libraries");
    row("total", plan_.total_bytes(), "at most");
    row("tables", plan_.bytes.tables, "stay in the file; their pages are dropped when memory is short");
    row("available", plan_.available_bytes,
        cat(readable_bytes(engine::MemoryPlan::kSpareBytes), " of it are left to others"));
    std::printf("\nlargest context  %lld that fits, %lld trained\n", static_cast<long long>(plan_.largest_context),
                static_cast<long long>(trained_context_));
    for (const std::string& remark : remarks_) std::printf("remark           %s\n", printable(remark).c_str());
  }

  ModelOptions model_;
  std::vector<std::string> words_, remarks_, would_fit_;
  bool json_ = false;
  std::string description_;
  int64_t trained_context_ = 0;
  engine::MemoryPlan plan_;
  int64_t program_bytes_ = 0;  // before the model's files were opened
};

}  // namespace

void add_plan(Program& program) { program.add<Plan>("plan", "the memory that a model takes"); }

}  // namespace facet::cli
