#include "hub/resolve.h"

#include <algorithm>
#include <array>
#include <climits>
#include <functional>
#include <optional>
#include <tuple>

#include "base/strings.h"
#include "hub/quant_name.h"

namespace facet::hub {
namespace {

using Files = std::vector<RepoFile>;
constexpr std::string_view kGguf = ".gguf", kSafetensors = ".safetensors";
constexpr std::string_view kMmproj = "mmproj", kDrafter = "mtp-";

// Files beside a model that are none themselves (drafters of other engines among them).
bool is_sidecar(std::string_view path) {
  constexpr std::array<std::string_view, 6> kWords = {kMmproj, "imatrix", kDrafter, "eagle3-", "dflash-", "dspark-"};
  const std::string name = lower(base_name(path));
  return std::ranges::any_of(kWords, [&](std::string_view word) { return name.find(word) != name.npos; });
}

// The model files, split ones by their first part.
Files candidates(const Files& files) {
  Files found;
  for (const RepoFile& file : files)
    if (is_gguf(file.path) && !is_sidecar(file.path) && split_name(file.path, kGguf).part == 1) found.push_back(file);
  return found;
}

bool has_folder(std::string_view path, const std::string& tag) {
  for (std::string_view folder = folder_of(path); !folder.empty(); folder = folder_of(folder))
    if (upper(base_name(folder)) == tag) return true;
  return false;
}

bool ends_with_word(const std::string& stem, const std::string& tag) {
  if (!stem.ends_with(tag)) return false;
  return stem.size() == tag.size() || stem[stem.size() - tag.size() - 1] == '-' ||
         stem[stem.size() - tag.size() - 1] == '.';
}

bool contains_loosely(const std::string& path, const std::string& tag) {
  for (size_t at = path.find(tag); at != path.npos; at = path.find(tag, at + 1))
    if (const size_t end = at + tag.size(); end < path.size() && (path[end] == '-' || path[end] == '.')) return true;
  return false;
}

// The first candidate that a tag means, by the strictest rule that any candidate meets.
const RepoFile* tagged(const Files& models, std::string_view wanted) {
  const std::string tag = upper(wanted);
  const std::array<std::function<bool(const RepoFile&)>, 3> rules = {
      [&](const RepoFile& file) { return quant_label(file.path) == tag; },
      [&](const RepoFile& file) {
        return ends_with_word(upper(split_name(file.path, kGguf).stem), tag) || has_folder(file.path, tag);
      },
      [&](const RepoFile& file) { return contains_loosely(upper(file.path), tag); },
  };
  for (const auto& rule : rules)
    if (const auto found = std::ranges::find_if(models, rule); found != models.end()) return &*found;
  return nullptr;
}

std::string names(const Files& files, std::function<std::string(const RepoFile&)> name) {
  constexpr size_t kShown = 40;
  std::vector<std::string> all;
  for (const RepoFile& file : files) {
    std::string text = name(file);
    if (text.empty() || std::ranges::find(all, text) != all.end()) continue;
    all.push_back(all.size() < kShown ? std::move(text) : "…");
    if (all.size() > kShown) break;
  }
  std::string text;
  for (const std::string& each : all) text += cat(text.empty() ? "" : ", ", each);
  return text;
}

// The parts of a split file, in order.
Result<Files> parts_of(const Files& files, const RepoFile& first, std::string_view suffix, std::string_view where) {
  const SplitName name = split_name(first.path, suffix);
  if (name.count == 1) return Files{first};
  Files parts(static_cast<size_t>(name.count));
  for (const RepoFile& file : files) {
    if (folder_of(file.path) != folder_of(first.path) || !lower(file.path).ends_with(suffix)) continue;
    const SplitName other = split_name(file.path, suffix);
    if (other.stem == name.stem && other.count == name.count) parts[static_cast<size_t>(other.part) - 1] = file;
  }
  for (size_t i = 0; i < parts.size(); ++i)
    if (parts[i].path.empty())
      return Error{.code = ErrorCode::corrupt,
                   .what = cat("a part of ", first.path, " is missing"),
                   .where = std::string(where),
                   .expected = cat(parts.size(), " parts"),
                   .found = cat("no part ", i + 1)};
  return parts;
}

// Higher is better: the deepest folder above the model, the same label, the closest precision, BF16 among equals.
using Closeness = std::tuple<size_t, bool, int, bool>;
Closeness closeness(std::string_view path, const std::string& label) {
  const std::string own = quant_label(path);
  const std::optional<int> bits = quant_bits(own), wanted = quant_bits(label);
  const int distance = bits && wanted ? std::abs(*bits - *wanted) : INT_MAX;
  return {folder_of(path).size(), own == label, -distance, own == "BF16"};
}

// The file with `keyword` that belongs to a model in `folder`.
Files sidecar(const Files& files, std::string_view keyword, std::string_view folder, const std::string& label) {
  const RepoFile* best = nullptr;
  for (const RepoFile& file : files) {
    if (!is_gguf(file.path) || lower(file.path).find(keyword) == std::string::npos) continue;
    const std::string_view own = folder_of(file.path);
    if (!own.empty() && folder != own && !folder.starts_with(cat(own, "/"))) continue;
    if (best == nullptr || closeness(file.path, label) > closeness(best->path, label)) best = &file;
  }
  return best == nullptr ? Files{} : Files{*best};
}

Result<Selection> with_companions(const Files& files, const RepoFile& first, const Wanted& wanted,
                                  std::string_view where) {
  Selection selection{
      .kind = ModelKind::gguf, .label = quant_label(first.path), .model = {}, .mmproj = {}, .drafter = {}};
  FACET_TRY(selection.model, parts_of(files, first, kGguf, where));
  const std::string_view folder = folder_of(first.path);
  const bool model = !is_sidecar(first.path);  // --hf-file may name a projector
  if (wanted.mmproj && model) selection.mmproj = sidecar(files, kMmproj, folder, selection.label);
  if (wanted.drafter && model) selection.drafter = sidecar(files, kDrafter, folder, selection.label);
  return selection;
}

// --hf-file: the whole path, or else a name that only one file has.
Result<Selection> named(const Files& files, const Wanted& wanted, std::string_view where) {
  const std::string name = lower(wanted.file);
  const RepoFile* by_name = nullptr;
  int same_names = 0;
  for (const RepoFile& file : files) {
    if (!is_gguf(file.path)) continue;
    if (lower(file.path) == name) return with_companions(files, file, wanted, where);
    if (lower(base_name(file.path)) == name) by_name = &file, ++same_names;
  }
  if (same_names == 1) return with_companions(files, *by_name, wanted, where);
  const std::string all = names(files, [](const RepoFile& file) { return is_gguf(file.path) ? file.path : ""; });
  return Error{.code = ErrorCode::not_found,
               .what = same_names > 1 ? "several files have this name" : "there is no such GGUF file",
               .where = cat(where, ": ", wanted.file),
               .expected = all.empty() ? std::string("a GGUF file; there is none") : cat("one of ", all),
               .found = {}};
}

const RepoFile* at_top(const Files& files, std::string_view path) {
  const auto found = std::ranges::find(files, path, &RepoFile::path);
  return found == files.end() ? nullptr : &*found;
}

// The weights of a folder: model.safetensors, or the parts of the file that an index beside them speaks of.
Result<Files> folder_weights(const Files& files, std::string_view where) {
  if (const RepoFile* whole = at_top(files, "model.safetensors")) return Files{*whole};
  const RepoFile* index = at_top(files, "model.safetensors.index.json");
  if (index == nullptr) return Files{};
  for (const RepoFile& file : files) {
    const SplitName name = split_name(file.path, kSafetensors);
    if (!folder_of(file.path).empty() || !file.path.ends_with(kSafetensors) || name.stem != "model" || name.count < 2)
      continue;
    FACET_TRY(Files parts, parts_of(files, file, kSafetensors, where));
    parts.insert(parts.begin(), *index);
    return parts;
  }
  return Files{};
}

// nullopt: there is no such model in the listing.
Result<std::optional<Selection>> folder(const Files& files, std::string_view where) {
  constexpr std::array<std::string_view, 9> kSmall = {
      "config.json",           "generation_config.json",   "tokenizer.json",
      "tokenizer_config.json", "chat_template.jinja",      "chat_template.json",
      "processor_config.json", "preprocessor_config.json", "special_tokens_map.json"};
  if (at_top(files, "config.json") == nullptr) return std::optional<Selection>();
  FACET_TRY(const Files weights, folder_weights(files, where));
  if (weights.empty()) return std::optional<Selection>();
  Selection selection{.kind = ModelKind::folder, .label = "safetensors", .model = {}, .mmproj = {}, .drafter = {}};
  for (const std::string_view name : kSmall)
    if (const RepoFile* file = at_top(files, name)) selection.model.push_back(*file);
  selection.model.insert(selection.model.end(), weights.begin(), weights.end());
  return std::optional(std::move(selection));
}

Error nothing_found(const Files& models, const Wanted& wanted, std::string_view where) {
  if (models.empty())
    return {.code = ErrorCode::not_found,
            .what = "holds no model that facet can read",
            .where = std::string(where),
            .expected = wanted.tag == "safetensors" ? "config.json and safetensors"
                                                    : "a GGUF file, or config.json and safetensors",
            .found = {}};
  return {.code = ErrorCode::not_found,
          .what = cat("there is no ", wanted.tag),
          .where = std::string(where),
          .expected = cat("one of ", names(models, [](const RepoFile& file) { return quant_label(file.path); })),
          .found = {}};
}

}  // namespace

Result<Selection> select(const Files& files, const Wanted& wanted, std::string_view where) {
  if (!wanted.file.empty()) return named(files, wanted, where);
  const Files models = candidates(files);
  const bool as_folder = lower(wanted.tag) == "safetensors";
  if (as_folder || (models.empty() && wanted.tag.empty())) {
    FACET_TRY(std::optional<Selection> found, folder(files, where));
    if (found) return *std::move(found);
    return nothing_found({}, {.tag = as_folder ? "safetensors" : "", .file = {}}, where);
  }
  const RepoFile* first = nullptr;
  if (wanted.tag.empty()) {
    for (const char* tag : {"Q4_K_M", "Q8_0"})
      if (first == nullptr) first = tagged(models, tag);
    if (first == nullptr) first = &models.front();
  } else {
    first = tagged(models, wanted.tag);
  }
  if (first == nullptr) return nothing_found(models, wanted, where);
  return with_companions(files, *first, wanted, where);
}

std::vector<Selection> all_models(const Files& files) {
  std::vector<Selection> all;
  const Wanted alone{.tag = {}, .file = {}, .mmproj = false, .drafter = false};
  for (const RepoFile& file : candidates(files))
    if (Result<Selection> found = with_companions(files, file, alone, ""); found.ok()) all.push_back(*std::move(found));
  Result<std::optional<Selection>> found = folder(files, "");
  if (found.ok() && *found) all.push_back(**std::move(found));
  return all;
}

}  // namespace facet::hub
