// facet list, show and rm: the models in the cache of the hub.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include <unistd.h>

#include "base/json.h"
#include "base/strings.h"
#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/hub_options.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/memory_plan.h"
#include "hub/inventory.h"

namespace facet::cli {
namespace {

constexpr const char* kListFooter = R"(Examples:
  facet list
  facet list --json)";
constexpr const char* kShowFooter = R"(Examples:
  facet show ggml-org/gemma-4-E2B-it-GGUF:Q8_0
  facet show ggml-org/gemma-4-E2B-it-GGUF:Q8_0 --json)";
constexpr const char* kRemoveFooter =
    R"(A name without :QUANT removes the whole repository. Files that another model needs stay.

Examples:
  facet rm ggml-org/gemma-4-E2B-it-GGUF:Q8_0
  facet rm ggml-org/gemma-4-E2B-it-GGUF --yes)";

// The cache is looked at without a server; its settings alone are needed.
Result<hub::Cache> open_cache() {
  FACET_TRY(const hub::Settings settings, hub::read_settings(variable));
  return hub::Cache(settings.cache, settings.symlinks);
}

void show_padded(std::string text, size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  std::fputs(text.c_str(), stdout);
}

Json::Array unfinished_json(const std::vector<hub::Unfinished>& unfinished) {
  Json::Array rows;
  for (const hub::Unfinished& some : unfinished) {
    Json row;
    row.set("repo", some.repo);
    row.set("bytes", some.bytes);
    rows.push_back(std::move(row));
  }
  return rows;
}

Json::Array models_json(const std::vector<hub::CachedModel>& models) {
  Json::Array rows;
  for (const hub::CachedModel& model : models) {
    Json row;
    row.set("id", model.id);
    row.set("repo", model.repo);
    row.set("commit", model.commit);
    row.set("quant", model.selection.label);
    row.set("bytes", model.bytes);
    row.set("last_used", model.last_used);
    rows.push_back(std::move(row));
  }
  return rows;
}

Result<int> list_models(bool as_json) {
  FACET_TRY(const hub::Cache cache, open_cache());
  const std::vector<hub::CachedModel> models = hub::inventory(cache);
  const std::vector<hub::Unfinished> unfinished = hub::unfinished(cache);
  if (as_json) {
    Json json;
    json.set("cache", cache.root().string());
    json.set("models", models_json(models));
    json.set("unfinished", unfinished_json(unfinished));
    show(json.dump(2) + "\n");
    return 0;
  }
  for (const hub::Unfinished& some : unfinished)
    note(cat(some.repo, ": ", engine::readable_bytes(some.bytes),
             " of a fetch that did not end; facet pull continues it"));
  if (models.empty()) {
    note(cat("there are no models in ", cache.root(), "; facet pull OWNER/REPO fetches one"));
    return 0;
  }
  size_t widest = 0;
  for (const hub::CachedModel& model : models) widest = std::max(widest, model.id.size());
  for (const hub::CachedModel& model : models) {
    show_padded(printable(model.id), widest + 2);
    show_padded(engine::readable_bytes(model.bytes), 12);
    std::printf("used %s\n", day_of(model.last_used).c_str());
  }
  return 0;
}

struct List {
  bool as_json = false;

  void add_to(Command& command) {
    command.flag("--json", as_json, "print one JSON object");
    command.footer(kListFooter);
  }

  Result<int> run() const { return list_models(as_json); }
};

struct Show {
  std::string id;
  bool as_json = false;
  HubOptions hub;

  void add_to(Command& command) {
    command.word("id", id, "which model, as facet list shows it").required().type_name("ID");
    command.option("--hf-file", hub.file, "the model's GGUF file (also -hff)").type_name("FILE");
    command.flag("--json", as_json, "print one JSON object");
    command.footer(kShowFooter);
  }

  Result<int> run() const {
    FACET_TRY(const hub::ModelRef ref, hub::ModelRef::parse(id));
    FACET_TRY(const hub::Hub opened, hub.open());
    FACET_TRY(const hub::LocalModel model, opened.find(ref, hub.wanted()));
    const Json json = described(model, opened.cache());
    if (as_json) {
      show(json.dump(2) + "\n");
      return 0;
    }
    for (const char* key : {"repo", "commit", "revision", "quant", "path"})
      std::printf("%-9s %s\n", key, printable(*json.find(key)->string()).c_str());
    std::printf("%-9s %s\n", "size", engine::readable_bytes(*json.find("bytes")->integer()).c_str());
    for (const Json& file : *json.find("files")->array())
      std::printf("  %-9s %9s  %s\n", file.find("role")->string()->c_str(),
                  engine::readable_bytes(*file.find("bytes")->integer()).c_str(),
                  printable(*file.find("path")->string()).c_str());
    return 0;
  }

  static Json described(const hub::LocalModel& model, const hub::Cache& cache) {
    Json::Array files;
    int64_t bytes = 0;
    const auto add = [&](const std::vector<hub::RepoFile>& some, const char* role) {
      for (const hub::RepoFile& file : some) {
        Json row;
        row.set("role", role);
        row.set("path", file.path);
        row.set("bytes", file.size);
        row.set("hash", file.id);
        files.push_back(std::move(row));
        bytes += file.size;
      }
    };
    add(model.selection.model, "model");
    add(model.selection.mmproj, "projector");
    add(model.selection.drafter, "drafter");
    Json json;
    json.set("repo", model.ref.repo);
    json.set("commit", model.commit);
    std::string revisions;
    for (const std::string& name : cache.refs_of(model.ref.repo, model.commit))
      revisions += cat(revisions.empty() ? "" : ", ", name);
    json.set("revision", revisions);
    json.set("quant", model.selection.label);
    json.set("path", model.path().string());
    json.set("bytes", bytes);
    json.set("files", std::move(files));
    return json;
  }
};

struct Remove {
  std::string id, file;
  bool yes = false;

  void add_to(Command& command) {
    command.word("id", id, "which model, as facet list shows it").required().type_name("ID");
    command.option("--hf-file", file, "the model's GGUF file (also -hff)").type_name("FILE");
    command.flag_typed_only("-y,--yes", yes, "do not ask");  // of the environment it would remove unasked
    command.footer(kRemoveFooter);
  }

  Result<int> run() const {
    FACET_TRY(const hub::ModelRef ref, hub::ModelRef::parse(id));
    FACET_TRY(const hub::Cache cache, open_cache());
    FACET_TRY(const hub::Removal removal, hub::plan_removal(cache, ref, file));
    for (const hub::Removal::Entry& entry : removal.entries)
      note(cat("  ", entry.file.path, "  ", engine::readable_bytes(entry.file.size)));
    const std::string what = cat(removal.whole ? ref.repo : ref.text(), ", ", removal.entries.size(), " files, ",
                                 engine::readable_bytes(removal.bytes), " in ", cache.repo_folder(ref.repo));
    FACET_TRY(const bool agreed, agrees(what));
    if (!agreed) {
      note("nothing was removed");
      return 0;
    }
    FACET_TRY_VOID(hub::remove(cache, removal));
    note(cat("removed ", what));
    return 0;
  }

  Result<bool> agrees(const std::string& what) const {
    if (yes) return true;
    if (::isatty(STDIN_FILENO) == 0)
      return Error{.code = ErrorCode::invalid_argument,
                   .what = "nobody can be asked whether to remove it",
                   .where = id,
                   .expected = "--yes, or a terminal",
                   .found = what};
    std::fprintf(stderr, "facet: remove %s? [y/N] ", printable(what).c_str());
    std::string answer;
    std::getline(std::cin, answer);
    return answer == "y" || answer == "Y" || answer == "yes";
  }
};

}  // namespace

void add_list(Program& program) { program.add<List>("list", "models in the cache of the hub"); }
void add_show(Program& program) { program.add<Show>("show", "files, sizes and revision of a model in the cache"); }
void add_rm(Program& program) { program.add<Remove>("rm", "remove a model from the cache"); }

}  // namespace facet::cli
