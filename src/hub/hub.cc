#include "hub/hub.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "hub/download.h"

namespace facet::hub {
namespace {

namespace fs = std::filesystem;

constexpr size_t kListBytesMax = size_t{64} << 20;
constexpr int kPagesMax = 1000;
constexpr size_t kListedFilesMax = 200'000;
constexpr int64_t kSpareBytes = int64_t{64} << 20;  // what a disk is left with

// A list that fits in memory.
class TextBody : public HttpBody {
 public:
  Result<void> begin(const HttpHead&, const HttpHead&) override {
    text.clear();
    return {};
  }
  Result<void> append(Bytes bytes) override {
    if (text.size() + bytes.size() > kListBytesMax)
      return Error{.code = ErrorCode::exhausted,
                   .what = "the server's list is too long",
                   .where = "hub",
                   .expected = cat("at most ", kListBytesMax, " bytes"),
                   .found = "more"};
    text += as_text(bytes);
    return {};
  }
  std::string text;
};

// Progress of one file as a part of all.
class Share : public Progress {
 public:
  Share(Progress& whole, int64_t before, int64_t total) : whole_(whole), before_(before), total_(total) {}
  bool update(std::string_view phase, int64_t done, int64_t total) override {
    return total > 0 ? whole_.update("fetching", before_ + done, total_) : whole_.update(phase, 0, 0);
  }

 private:
  Progress& whole_;
  int64_t before_, total_;
};

std::string megabytes(int64_t bytes) { return cat((bytes + 999'999) / 1'000'000, " MB"); }

std::string names_of(const std::vector<NamedCommit>& all) {
  constexpr size_t kShown = 30;
  std::string text;
  for (size_t i = 0; i < std::min(all.size(), kShown); ++i) text += cat(text.empty() ? "" : ", ", all[i].name);
  return all.size() > kShown ? text + ", …" : text;
}

const NamedCommit* named(const std::vector<NamedCommit>& all, std::string_view name) {
  const auto found = std::ranges::find(all, name, &NamedCommit::name);
  return found == all.end() ? nullptr : &*found;
}

// The nearest folder above a path that exists: its disk is the one that is written to.
fs::path existing(fs::path path) {
  std::error_code error;
  while (!path.empty() && !fs::exists(path, error) && path != path.parent_path()) path = path.parent_path();
  return path.empty() ? fs::path(".") : path;
}

}  // namespace

std::vector<RepoFile> Plan::files() const {
  std::vector<RepoFile> all = selection.mmproj;  // small ones first, so that a model that is there has them
  all.insert(all.end(), selection.drafter.begin(), selection.drafter.end());
  all.insert(all.end(), selection.model.begin(), selection.model.end());
  return all;
}

fs::path LocalModel::path() const {
  return selection.kind == ModelKind::folder ? snapshot : snapshot / selection.model.front().path;
}

Hub::Hub(Settings settings, HttpClient client)
    : settings_(std::move(settings)),
      cache_(settings_.cache, settings_.symlinks),
      client_(std::move(client)),
      retries_{.attempts = RetryPolicy().attempts, .delay_seconds = settings_.retry_seconds} {}

Result<Hub> Hub::create(const Settings& settings) {
  HttpClient::Options options;
  options.certificates = settings.certificates;
  options.stall_seconds = settings.stall_seconds;
  FACET_TRY(HttpClient client, HttpClient::create(options));
  return Hub(settings, std::move(client));
}

// A list from the server. next: the query of the page that follows; "" at the last.
Result<std::string> Hub::get(const ModelRef& ref, const std::string& url, Progress& progress, std::string* next) {
  const auto go_on = [&] { return progress.update("asking the hub", 0, 0); };
  for (Retry retry(retries_);;) {
    TextBody body;
    const Result<HttpAnswer> answer = client_.get({.url = url, .token = settings_.token, .headers = {}}, body, go_on);
    Failure failure;
    if (!answer.ok()) {
      failure = broken(answer.error());
    } else if (answer->last.status == 200) {
      if (next != nullptr) *next = next_query(answer->last.find("link")).value_or("");
      return std::move(body.text);
    } else {
      failure = refused(
          *answer,
          {.where = ref.repo, .file = {}, .endpoint = settings_.endpoint, .with_token = !settings_.token.empty()});
    }
    FACET_TRY_VOID(retry.wait(failure, [&] { return progress.update(waiting_phase(failure), 0, 0); }));
  }
}

Result<void> Hub::find_commit(const ModelRef& ref, Plan& plan, Progress& progress) {
  if (is_commit(ref.revision)) {
    plan.commit = ref.revision;
    return {};
  }
  FACET_TRY(const std::string text, get(ref, cat(settings_.endpoint, "/api/models/", ref.repo, "/refs"), progress));
  FACET_TRY(const Refs refs, parse_refs(text, cat(ref.repo, ": branches")));
  const NamedCommit* found = named(refs.branches, ref.revision.empty() ? "main" : ref.revision);
  if (found == nullptr && ref.revision.empty() && !refs.branches.empty()) found = &refs.branches.front();
  if (found == nullptr) found = named(refs.tags, ref.revision);
  if (found == nullptr) {  // the first digits of a commit that the cache knows, as facet list shows them
    if (const std::optional<std::string> commit = cache_.commit_of(ref.repo, ref.revision); commit) {
      plan.commit = *commit;
      return {};
    }
  }
  if (found == nullptr)
    return Error{.code = ErrorCode::not_found,
                 .what = ref.revision.empty() ? std::string("the model has no branch")
                                              : cat("there is no revision ", ref.revision),
                 .where = ref.repo,
                 .expected = cat("a commit of 40 digits, or one of ", names_of(refs.branches),
                                 refs.tags.empty() ? "" : ", ", names_of(refs.tags)),
                 .found = {}};
  plan.revision = found->name;
  plan.commit = found->commit;
  return {};
}

Result<std::vector<RepoFile>> Hub::tree(const ModelRef& ref, const std::string& commit, Progress& progress) {
  // Only the query of the next page's address is taken: a mirror may name the server that it mirrors.
  const std::string address = cat(settings_.endpoint, "/api/models/", ref.repo, "/tree/", commit, "?");
  std::vector<RepoFile> files;
  std::set<std::string> seen;
  for (std::string query = "recursive=true"; !query.empty();) {
    if (!seen.insert(query).second || seen.size() > kPagesMax || files.size() > kListedFilesMax)
      return Error{.code = ErrorCode::corrupt,
                   .what = "the list of files does not end",
                   .where = ref.repo,
                   .expected = cat("at most ", kPagesMax, " different pages and ", kListedFilesMax, " files"),
                   .found = seen.contains(query) ? "the same page again" : "more"};
    std::string next;
    FACET_TRY(const std::string text, get(ref, address + query, progress, &next));
    FACET_TRY(std::vector<RepoFile> page, parse_tree(text, cat(ref.repo, ": files")));
    files.insert(files.end(), page.begin(), page.end());
    query = next;
  }
  return files;
}

Result<Plan> Hub::plan(const ModelRef& ref, Wanted wanted, Progress& progress) {
  // A server out of reach is no disaster for a model that is there: the caller need not wait for further attempts.
  retries_.attempts = find(ref, wanted).ok() ? 1 : RetryPolicy().attempts;
  Plan plan{.ref = ref, .revision = {}, .commit = {}, .selection = {}};
  FACET_TRY_VOID(find_commit(ref, plan, progress));
  FACET_TRY(const std::vector<RepoFile> files, tree(ref, plan.commit, progress));
  wanted.tag = ref.tag;
  FACET_TRY(plan.selection, select(files, wanted, ref.repo));
  for (const RepoFile& file : plan.files()) {
    plan.bytes += file.size;
    if (cache_.in_snapshot(ref.repo, plan.commit, file) || cache_.has_blob(ref.repo, file)) continue;
    plan.missing_bytes += file.size - cache_.partial_bytes(ref.repo, file);
  }
  return plan;
}

Result<void> Hub::check_disk(const Plan& plan) const {
  std::error_code error;
  const fs::space_info space = fs::space(existing(cache_.root()), error);
  if (error || plan.missing_bytes == 0) return {};
  const auto free = static_cast<int64_t>(std::min<uintmax_t>(space.available, INT64_MAX));
  if (free - plan.missing_bytes >= kSpareBytes) return {};
  return Error{.code = ErrorCode::exhausted,
               .what = "the disk has no room for the model (HF_HUB_CACHE names another folder)",
               .where = cache_.root().string(),
               .expected = cat(megabytes(plan.missing_bytes + kSpareBytes), " free"),
               .found = megabytes(free)};
}

Result<void> Hub::fetch_file(const Plan& plan, const RepoFile& file, Progress& progress) {
  const std::string& repo = plan.ref.repo;
  if (cache_.in_snapshot(repo, plan.commit, file)) return {};
  FACET_TRY(const BlobLock lock, cache_.lock(repo, file.id, [&] {
    return progress.update("waiting for another process that fetches it", 0, 0);
  }));
  if (cache_.in_snapshot(repo, plan.commit, file)) return {};  // another process has brought it
  if (!cache_.has_blob(repo, file)) {
    const DownloadRequest request{
        .repo = repo,
        .file = file.path,
        .endpoint = settings_.endpoint,
        .url = cat(settings_.endpoint, "/", repo, "/resolve/", plan.commit, "/", escape_path(file.path)),
        .token = settings_.token,
        .id = file.id,
        .size = file.size,
        .partial = cache_.partial(repo, file.id),
        .target = cache_.blob(repo, file.id)};
    FACET_TRY_VOID(download(client_, request, retries_, progress));
  }
  return cache_.link(repo, plan.commit, file);
}

Result<LocalModel> Hub::fetch(const Plan& plan, Progress& progress) {
  retries_.attempts = RetryPolicy().attempts;
  FACET_TRY_VOID(check_disk(plan));
  FACET_TRY_VOID(cache_.prepare(plan.ref.repo));
  int64_t before = 0;
  for (const RepoFile& file : plan.files()) {
    Share share(progress, before, plan.bytes);
    FACET_TRY_VOID(fetch_file(plan, file, share));
    before += file.size;
  }
  if (!plan.revision.empty()) FACET_TRY_VOID(cache_.write_ref(plan.ref.repo, plan.revision, plan.commit));
  return LocalModel{.ref = plan.ref,
                    .commit = plan.commit,
                    .selection = plan.selection,
                    .snapshot = cache_.snapshot_folder(plan.ref.repo, plan.commit)};
}

Result<LocalModel> Hub::find(const ModelRef& ref, Wanted wanted) const {
  wanted.tag = ref.tag;
  std::vector<std::string> commits;
  const std::optional<std::string> first = cache_.commit_of(ref.repo, ref.revision.empty() ? "main" : ref.revision);
  if (first) commits.push_back(*first);
  if (ref.revision.empty())
    for (const std::string& commit : cache_.commits(ref.repo))
      if (!first || commit != *first) commits.push_back(commit);
  Error why{.code = ErrorCode::not_found,
            .what = "the model is not in the cache",
            .where = ref.text(),
            .expected = cat("a model that was fetched by: facet pull ", ref.text()),
            .found = cat("nothing in ", cache_.repo_folder(ref.repo).string())};
  for (const std::string& commit : commits) {
    const std::vector<RepoFile> files = cache_.files(ref.repo, commit);
    Result<Selection> selection = select(files, wanted, ref.repo);
    if (selection.ok())
      return LocalModel{.ref = ref,
                        .commit = commit,
                        .selection = *std::move(selection),
                        .snapshot = cache_.snapshot_folder(ref.repo, commit)};
    if (!files.empty())
      why.found = cat(selection.error().what, selection.error().expected.empty() ? "" : "; in the cache is ",
                      selection.error().expected);
  }
  return why;
}

}  // namespace facet::hub
