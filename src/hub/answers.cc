#include "hub/answers.h"

#include <charconv>

#include "base/json.h"
#include "base/strings.h"
#include "hub/model_ref.h"

namespace facet::hub {
namespace {

constexpr Json::Limits kLimits = {.depth = 16, .bytes = size_t{64} << 20};

Error corrupt(std::string_view where, std::string what, std::string expected, std::string found) {
  return {.code = ErrorCode::corrupt,
          .what = std::move(what),
          .where = std::string(where),
          .expected = std::move(expected),
          .found = std::move(found)};
}

std::string_view text_of(const Json& object, std::string_view key) {
  const Json* member = object.find(key);
  return member != nullptr && member->string() != nullptr ? std::string_view(*member->string()) : std::string_view();
}

std::vector<NamedCommit> named_commits(const Json* list) {
  std::vector<NamedCommit> found;
  if (list == nullptr || list->array() == nullptr) return found;
  for (const Json& entry : *list->array()) {
    const std::string_view name = text_of(entry, "name"), commit = text_of(entry, "targetCommit");
    if (is_revision(name) && is_commit(commit)) found.push_back({std::string(name), std::string(commit)});
  }
  return found;
}

std::string_view object_id(const Json& object) {
  std::string_view id = text_of(object, "oid");
  constexpr std::string_view kPrefix = "sha256:";
  if (id.starts_with(kPrefix)) id.remove_prefix(kPrefix.size());
  return id;
}

// The file of one entry; nothing for a folder or an entry without content.
Result<std::optional<RepoFile>> file_of(const Json& entry, std::string_view where) {
  if (entry.object() == nullptr)
    return corrupt(where, "entry of the file list is malformed", "an object", entry.kind());
  if (text_of(entry, "type") != "file") return std::optional<RepoFile>();
  const std::string_view path = text_of(entry, "path");
  if (!is_inner_path(path))
    return corrupt(where, "the server names a file outside the repository; nothing of it is fetched",
                   "a path inside the repository", std::string(path));
  const Json* large = entry.find("lfs");
  const Json& content = large != nullptr && large->object() != nullptr ? *large : entry;
  const std::string_view id = object_id(content);
  if (!is_object_id(id)) return std::optional<RepoFile>();
  const Json* size = content.find("size") != nullptr ? content.find("size") : entry.find("size");
  if (size == nullptr || size->integer() == nullptr || *size->integer() < 0)
    return corrupt(where, cat(path, ": size of the file is malformed"), "a number of bytes",
                   size == nullptr ? "nothing" : size->dump());
  return std::optional(RepoFile{std::string(path), *size->integer(), std::string(id)});
}

// Whether the parameters behind an address (`; rel="next"; title=x`) say that it is the next page.
bool is_next(std::string_view parameters) {
  while (!parameters.empty()) {
    const size_t end = parameters.find(';');
    const std::string_view parameter = trimmed(parameters.substr(0, end));
    if (parameter == "rel=\"next\"" || parameter == "rel=next") return true;
    if (end == parameters.npos) return false;
    parameters.remove_prefix(end + 1);
  }
  return false;
}

}  // namespace

Result<Refs> parse_refs(std::string_view json, std::string_view where) {
  FACET_TRY(const Json root, Json::parse(json, where, kLimits));
  if (root.object() == nullptr) return corrupt(where, "list of branches is malformed", "an object", root.kind());
  return Refs{named_commits(root.find("branches")), named_commits(root.find("tags"))};
}

Result<std::vector<RepoFile>> parse_tree(std::string_view json, std::string_view where) {
  FACET_TRY(const Json root, Json::parse(json, where, kLimits));
  if (root.array() == nullptr) return corrupt(where, "list of files is malformed", "an array", root.kind());
  std::vector<RepoFile> files;
  for (const Json& entry : *root.array()) {
    FACET_TRY(std::optional<RepoFile> file, file_of(entry, where));
    if (file) files.push_back(*std::move(file));
  }
  return files;
}

std::optional<std::string> next_query(std::string_view header) {
  while (!header.empty()) {
    const size_t open = header.find('<'), close = header.find('>', open == header.npos ? header.size() : open);
    if (close == header.npos) return std::nullopt;
    const std::string_view address = header.substr(open + 1, close - open - 1);
    header.remove_prefix(close + 1);
    const size_t following = header.find('<');  // addresses may hold commas: the next link begins at its bracket
    std::string_view parameters = trimmed(header.substr(0, following));
    if (parameters.ends_with(',')) parameters.remove_suffix(1);
    const size_t question = address.find('?');
    if (is_next(parameters) && question != address.npos) {
      const std::string_view query = address.substr(question + 1);
      return std::string(query.substr(0, query.find('#')));
    }
    if (following == header.npos) return std::nullopt;
    header.remove_prefix(following);
  }
  return std::nullopt;
}

std::string plain_etag(std::string_view etag) {
  etag = trimmed(etag);
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return std::string(etag);
}

bool is_strong_etag(std::string_view etag) {
  etag = trimmed(etag);
  return etag.size() > 2 && etag.front() == '"' && etag.back() == '"';
}

std::optional<int64_t> parse_size(std::string_view text) {
  text = trimmed(text);
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<ContentRange> parse_content_range(std::string_view text) {
  text = trimmed(text);
  constexpr std::string_view kUnit = "bytes ";
  const size_t slash = text.find('/');
  if (!text.starts_with(kUnit) || slash == text.npos) return std::nullopt;
  const std::string_view range = trimmed(text.substr(kUnit.size(), slash - kUnit.size()));
  ContentRange found;
  if (const std::string_view total = trimmed(text.substr(slash + 1)); total != "*") {
    const std::optional<int64_t> bytes = parse_size(total);
    if (!bytes) return std::nullopt;
    found.total = *bytes;
  }
  if (range == "*") return found;
  const size_t dash = range.find('-');
  if (dash == range.npos) return std::nullopt;
  found.first = parse_size(range.substr(0, dash));
  found.last = parse_size(range.substr(dash + 1));
  if (!found.first || !found.last || *found.first > *found.last) return std::nullopt;
  return found;
}

std::string refusal_text(std::string_view body) {
  constexpr size_t kMax = 300;
  const Result<Json> json = Json::parse(body, "answer", {.depth = 4, .bytes = size_t{64} << 10});
  return json.ok() ? std::string(text_of(*json, "error").substr(0, kMax)) : std::string();
}

}  // namespace facet::hub
