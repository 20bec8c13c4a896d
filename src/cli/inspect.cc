// facet inspect: what a model file is. Reads no weights.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/load_gemma.h"

namespace facet::cli {
namespace {

constexpr const char* kInspectFooter = R"(Examples:
  facet inspect model.gguf
  facet inspect gemma-4-E2B-it --tensors
  facet inspect model.gguf -c 32768 --json)";

struct TypeCount {
  int64_t tensors = 0, bytes = 0;
};

class Inspect {
 public:
  void add_to(Command& command) {
    command.words(words_, "MODEL").type_name("MODEL");
    model_.add_to(command);
    command.flag("--tensors", tensors_, "list every tensor");
    command.flag("--json", json_, "print one JSON object");
    command.footer(kInspectFooter);
  }

  Result<int> run() {
    FACET_TRY_VOID(model_.take_model(words_));
    FACET_TRY(files_, engine::ModelFiles::open(model_.model, engine::Vocabulary::optional));
    info_ = files_->info();
    if (files_->checkpoint) plan();
    Json json = described();
    if (json_) {
      show(json.dump(2) + "\n");
    } else {
      print(json);
    }
    return 0;
  }

 private:
  // Memory at -c; what does not fit is said, not an error: the file is what is asked about.
  void plan() {
    Result<engine::MemoryPlan> plan = planned();
    if (plan.ok()) {
      plan_ = *plan;
    } else {
      info_.remarks.push_back(plan.error().message());
    }
  }

  Result<engine::MemoryPlan> planned() const {
    std::vector<std::string> remarks;
    FACET_TRY(const engine::MemoryPlan plan, engine::plan_gemma(*files_, model_.load, remarks));
    if (!plan.fits())
      return engine::does_not_fit(plan, files_->path, engine::what_would_fit(*files_, model_.load, plan));
    return plan;
  }

  static std::string layers_of(const model::Config& config) {
    const auto full = std::ranges::count_if(config.layers, &model::LayerConfig::full);
    const auto sharing = std::ranges::count_if(config.layers, &model::LayerConfig::shares_kv);
    std::string text = cat(config.n_layers(), " (", config.n_layers() - full, " sliding, ", full, " full");
    if (sharing > 0) text += cat(", ", sharing, " share keys and values");
    return text + cat("), window ", config.window);
  }

  Json described() const {
    Json json;
    json.set("path", info_.path);
    json.set("model", info_.description);
    if (!info_.name.empty()) json.set("name", info_.name);
    json.set("architecture", info_.architecture);
    json.set("vocabulary", info_.vocab_size);
    json.set("tokenizer", files_->tokenizer ? cat(files_->tokenizer->size(), " tokens") : std::string("none"));
    json.set("chat_template", files_->chat ? style_name(files_->chat->style()) : "none");
    if (files_->checkpoint) describe_checkpoint(json);
    Json::Array remarks;
    for (const std::string& remark : info_.remarks) remarks.emplace_back(remark);
    json.set("remarks", std::move(remarks));
    return json;
  }

  void describe_checkpoint(Json& json) const {
    const model::Config& config = files_->config;
    json.set("parameters", info_.parameters);
    json.set("file_bytes", info_.file_bytes);
    json.set("width", info_.width);
    json.set("layers", layers_of(config));
    json.set("heads", config.heads);
    if (config.experts > 0) json.set("experts", cat(config.experts, ", ", config.experts_used, " used"));
    if (config.ple_width > 0) json.set("per_layer_width", config.ple_width);
    json.set("trained_context", config.context);
    json.set("types", types());
    if (plan_) {
      json.set("context", plan_->context);
      json.set("weight_bytes", plan_->bytes.weights);
      json.set("kv_bytes", plan_->kv_bytes());
      json.set("scratch_bytes", plan_->bytes.scratch + plan_->bytes.logits + plan_->answer_bytes);
      json.set("table_bytes", plan_->bytes.tables);
      json.set("total_bytes", plan_->total_bytes());
      json.set("available_bytes", plan_->available_bytes);
    }
    if (tensors_) json.set("tensors", tensor_rows());
  }

  Json types() const {
    std::map<std::string, TypeCount> counts;
    for (const formats::TensorInfo& tensor : files_->checkpoint->tensors()) {
      TypeCount& count = counts[name(tensor.type)];
      ++count.tensors;
      count.bytes += tensor.bytes;
    }
    Json json(Json::Object{});
    for (const auto& [type, count] : counts) {
      Json row;
      row.set("tensors", count.tensors);
      row.set("bytes", count.bytes);
      json.set(type, std::move(row));
    }
    return json;
  }

  Json::Array tensor_rows() const {
    Json::Array rows;
    for (const formats::TensorInfo& tensor : files_->checkpoint->tensors()) {
      Json row;
      row.set("name", tensor.name);
      row.set("type", name(tensor.type));
      row.set("shape", list(tensor.shape));
      row.set("bytes", tensor.bytes);
      rows.push_back(std::move(row));
    }
    return rows;
  }

  static const char* style_name(chat::Style style) {
    switch (style) {
      case chat::Style::gemma4_small: return "Gemma 4, small sizes";
      case chat::Style::gemma4_large: return "Gemma 4, large sizes";
      default: return "Gemma 3";
    }
  }

  // "key   value", bytes readable.
  static void print(const Json& json) {
    for (const auto& [key, value] : *json.object()) {
      std::string label = key;
      std::ranges::replace(label, '_', ' ');
      if (value.array() != nullptr || value.object() != nullptr) {
        print_rows(label, value);
      } else {
        const bool bytes = key.ends_with("_bytes") && value.integer() != nullptr;
        const std::string text = bytes                       ? engine::readable_bytes(*value.integer())
                                 : value.string() != nullptr ? printable(*value.string())
                                                             : value.dump();
        std::printf("%-16s %s\n", bytes ? label.substr(0, label.size() - 6).c_str() : label.c_str(), text.c_str());
      }
    }
  }

  static void print_rows(const std::string& label, const Json& value) {
    if (value.object() != nullptr) {
      for (const auto& [type, row] : *value.object())
        std::printf("%-16s %-5s %5lld tensors, %s\n", label.c_str(), type.c_str(),
                    static_cast<long long>(*row.find("tensors")->integer()),
                    engine::readable_bytes(*row.find("bytes")->integer()).c_str());
      return;
    }
    for (const Json& row : *value.array()) {
      if (row.string() != nullptr) {
        std::printf("%-16s %s\n", label.substr(0, label.size() - 1).c_str(), printable(*row.string()).c_str());
      } else {
        std::printf("  %-48s %-5s %s\n", printable(*row.find("name")->string()).c_str(),
                    row.find("type")->string()->c_str(), row.find("shape")->string()->c_str());
      }
    }
  }

  ModelOptions model_;
  std::vector<std::string> words_;
  bool tensors_ = false, json_ = false;
  std::unique_ptr<engine::ModelFiles> files_;
  ModelInfo info_;
  std::optional<engine::MemoryPlan> plan_;
};

}  // namespace

void add_inspect(Program& program) { program.add<Inspect>("inspect", "what a model file is"); }

}  // namespace facet::cli
