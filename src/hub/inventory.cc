#include "hub/inventory.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/strings.h"

namespace facet::hub {
namespace {

namespace fs = std::filesystem;

constexpr size_t kShortCommit = 12;  // digits that are shown

int64_t last_used(const fs::path& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) != 0 ? 0 : std::max<int64_t>(status.st_atime, status.st_mtime);
}

// What makes two entries the same model: equal labels and equal blobs.
std::string identity(const CachedModel& model) {
  std::string text = model.selection.label;
  for (const RepoFile& file : model.selection.model) text += cat("|", file.path, "|", file.id);
  return text;
}

std::vector<CachedModel> models_of(const Cache& cache, const std::string& repo, const std::string& commit) {
  std::vector<CachedModel> models;
  for (Selection& selection : all_models(cache.files(repo, commit))) {
    CachedModel model{.repo = repo, .commit = commit, .id = {}, .selection = std::move(selection)};
    for (const RepoFile& file : model.selection.model) {
      model.bytes += file.size;
      model.last_used = std::max(model.last_used, last_used(cache.snapshot_folder(repo, commit) / file.path));
    }
    models.push_back(std::move(model));
  }
  return models;
}

std::string id_of(const CachedModel& model, bool current, bool label_is_unique) {
  std::string id = current ? model.repo : cat(model.repo, "@", model.commit.substr(0, kShortCommit));
  if (!model.selection.label.empty() && label_is_unique) return cat(id, ":", model.selection.label);
  return cat(id, " --hf-file ", model.selection.model.front().path);
}

}  // namespace

std::vector<CachedModel> inventory(const Cache& cache) {
  std::vector<CachedModel> all;
  for (const std::string& repo : cache.repos()) {
    std::vector<std::string> commits = cache.commits(repo);
    const std::string current = cache.commit_of(repo, "main").value_or(commits.empty() ? "" : commits.front());
    std::stable_partition(commits.begin(), commits.end(), [&](const std::string& commit) { return commit == current; });
    std::set<std::string> seen;
    for (const std::string& commit : commits) {
      std::vector<CachedModel> models = models_of(cache, repo, commit);
      std::map<std::string, int> labels;
      for (const CachedModel& model : models) ++labels[model.selection.label];
      for (CachedModel& model : models) {
        if (!seen.insert(identity(model)).second) continue;
        model.id = id_of(model, commit == current, labels[model.selection.label] == 1);
        all.push_back(std::move(model));
      }
    }
  }
  return all;
}

std::vector<Unfinished> unfinished(const Cache& cache) {
  std::vector<Unfinished> all;
  for (const std::string& repo : cache.repos()) {
    int64_t bytes = 0;
    std::error_code error;
    const fs::path blobs = cache.repo_folder(repo) / "blobs";
    for (auto it = fs::directory_iterator(blobs, error); !error && it != fs::directory_iterator();
         it.increment(error)) {
      std::error_code none;
      if (it->path().extension() == ".incomplete" && it->is_regular_file(none))
        bytes += static_cast<int64_t>(it->file_size(none));
    }
    if (bytes > 0) all.push_back({repo, bytes});
  }
  return all;
}

}  // namespace facet::hub
