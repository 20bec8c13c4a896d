// What the hub's servers answer, read into plain structs: lists of references and files, and the headers that matter.
// Everything here comes from outside: a name that would leave its folder is refused, and every list has a limit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "facet/result.h"

namespace facet::hub {

// One file of a repository.
struct RepoFile {
  std::string path;  // inside the repository; is_inner_path()
  int64_t size = 0;  // bytes
  std::string id;    // name of its blob: SHA-256 (large files) or git's SHA-1; is_object_id()

  bool operator==(const RepoFile&) const = default;
};

// A branch or tag, and the commit it stands for.
struct NamedCommit {
  std::string name, commit;
};
struct Refs {
  std::vector<NamedCommit> branches, tags;
};

// {"branches": [{"name", "targetCommit"}], "tags": […]}. Entries whose name or commit is malformed are left out.
// Errors: corrupt.
Result<Refs> parse_refs(std::string_view json, std::string_view where);

// [{"type", "path", "size", "oid", "lfs": {"oid", "size"}}]: the files, in the order of the answer. Folders, and files
// without a well-formed object id, are left out. Errors: corrupt (also a path that leaves the repository).
Result<std::vector<RepoFile>> parse_tree(std::string_view json, std::string_view where);

// The query of the address that a Link header calls "next": `<https://…?cursor=x>; rel="next"` gives "cursor=x".
std::optional<std::string> next_query(std::string_view link_header);

// An ETag without W/ and quotes.
std::string plain_etag(std::string_view etag);
// Whether two answers with this ETag have the same bytes, so that If-Range may name it.
bool is_strong_etag(std::string_view etag);

// "bytes 5-9/10" or "bytes */10"; total is -1 for "*".
struct ContentRange {
  std::optional<int64_t> first, last;
  int64_t total = -1;
};
std::optional<ContentRange> parse_content_range(std::string_view text);

// A whole non-negative number; nullopt for anything else.
std::optional<int64_t> parse_size(std::string_view text);

// What the body of a refusal says: the text behind "error" in JSON; "" for anything else (an HTML page). At most 300
// bytes.
std::string refusal_text(std::string_view body);

}  // namespace facet::hub
