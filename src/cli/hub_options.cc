#include "cli/hub_options.h"

#include <cstdlib>
#include <filesystem>

#include "base/strings.h"
#include "cli/download_line.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/memory_plan.h"

namespace facet::cli {
namespace {

constexpr size_t kShortCommit = 12;  // digits that are shown

// Names of files, not of repositories.
bool names_a_file(const std::string& model) {
  if (model.starts_with("puppet:") || model.starts_with('.') || model.starts_with('/') || model.starts_with('~'))
    return true;
  const std::string extension = std::filesystem::path(model).extension().string();
  return extension == ".gguf" || extension == ".json" || extension == ".safetensors";
}

std::string line_of(const hub::RepoFile& file, std::string_view role) {
  return cat("  ", file.path, "  ", engine::readable_bytes(file.size), role.empty() ? "" : "  (", role,
             role.empty() ? "" : ")");
}

void describe(const hub::Plan& plan, const hub::Hub& hub) {
  const hub::Selection& chosen = plan.selection;
  note(cat(plan.ref.repo, chosen.label.empty() ? "" : ": ", chosen.label, " at commit ",
           plan.commit.substr(0, kShortCommit), ", ", engine::readable_bytes(plan.bytes)));
  for (const hub::RepoFile& file : chosen.model) note(line_of(file, ""));
  for (const hub::RepoFile& file : chosen.mmproj) note(line_of(file, "projector of pictures and sound"));
  for (const hub::RepoFile& file : chosen.drafter) note(line_of(file, "drafter"));
  note(cat("fetching ", engine::readable_bytes(plan.missing_bytes), " into ", hub.cache().root()));
}

}  // namespace

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

void HubOptions::add_to(Command& command) {
  command.option("--hf-repo", repo, "model of the Hugging Face hub, fetched where absent (also -hf)")
      .type_name("OWNER/REPO[@REVISION][:QUANT]");
  command.option("--hf-file", file, "GGUF file of the hub's model (also -hff)").type_name("FILE");
  command.option("--hf-token", token, "token for models that need one (also -hft; default: HF_TOKEN, or the login)")
      .type_name("TOKEN");
  command.flag("--offline", offline, "ask no server: only models in the cache");
  command.flag("--no-mmproj", no_mmproj, "do not fetch the projector of pictures and sound");
  command.flag("--no-drafter", no_drafter, "do not fetch the drafter");
}

Result<hub::Hub> HubOptions::open() const {
  const auto variables = [this](const char* name) {
    if (!token.empty() && std::string_view(name) == "HF_TOKEN") return std::optional(token);
    return variable(name);
  };
  FACET_TRY(hub::Settings settings, hub::read_settings(variables));
  if (offline) settings.offline = true;
  return hub::Hub::create(settings);
}

hub::Wanted HubOptions::wanted() const {
  return {.tag = {}, .file = file, .mmproj = !no_mmproj, .drafter = !no_drafter};
}

Result<hub::LocalModel> HubOptions::fetch(const std::string& name) const {
  FACET_TRY(const hub::ModelRef ref, hub::ModelRef::parse(name));
  if (!ref.tag.empty() && !file.empty())
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "both a quantisation and a file are named",
                 .where = name,
                 .expected = cat("one of :", ref.tag, " and --hf-file ", file),
                 .found = {}};
  FACET_TRY(hub::Hub hub, open());
  if (hub.settings().offline) return hub.find(ref, wanted());
  const Interrupt interrupt;
  DownloadLine line;
  const Result<hub::Plan> plan = hub.plan(ref, wanted(), line);
  line.clear();
  if (!plan.ok()) {
    Result<hub::LocalModel> there = hub.find(ref, wanted());
    if (plan.error().code != ErrorCode::unavailable || !there.ok()) return plan.error();
    note(cat(plan.error().message(), "; the copy in the cache is used"));
    return there;
  }
  if (plan->missing_bytes > 0) describe(*plan, hub);
  Result<hub::LocalModel> model = hub.fetch(*plan, line);
  line.clear();
  if (!model.ok() && model.error().code == ErrorCode::cancelled)
    return Error{.code = ErrorCode::cancelled,
                 .what = "stopped; what has arrived is kept, and the same command continues",
                 .where = ref.text()};
  return model;
}

Result<std::string> HubOptions::local_path(const std::string& model) const {
  std::error_code error;
  const Result<hub::ModelRef> ref = hub::ModelRef::parse(model);
  if (names_a_file(model) || !ref.ok() || std::filesystem::exists(model, error)) {
    if (file.empty()) return model;
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "--hf-file names a file of a model on the hub",
                 .where = "command line",
                 .expected = "-hf OWNER/REPO",
                 .found = model};
  }
  FACET_TRY(const hub::Hub hub, open());
  const Result<hub::LocalModel> found = hub.find(*ref, wanted());
  if (found.ok()) return found->path().string();
  if (found.error().code != ErrorCode::not_found) return found.error();
  return Error{.code = ErrorCode::not_found,
               .what = "is no file or folder, and no model in the cache",
               .where = model,
               .expected = cat("a path; or a model of the hub, fetched by: facet pull ", model, "  (or here, by -hf ",
                               model, ")"),
               .found = found.error().found};
}

}  // namespace facet::cli
