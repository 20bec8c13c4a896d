// Everything that a server of the hub, or a user, may write: the name of a model, the lists of branches and files, the
// headers of a download. The first byte says what the rest is read as. A list of files also goes through the choice of
// a model.
//
// covers: src/hub/answers.cc src/hub/model_ref.cc src/hub/quant_name.cc src/hub/resolve.cc
#include <algorithm>
#include <cstdint>
#include <set>
#include <string_view>

#include "base/check.h"
#include "hub/answers.h"
#include "hub/model_ref.h"
#include "hub/quant_name.h"
#include "hub/resolve.h"

using namespace facet;

static void check_error(const Error& error) { FACET_CHECK(!error.message().empty()); }

static void check_name(std::string_view text) {
  const Result<hub::ModelRef> ref = hub::ModelRef::parse(text);
  if (!ref.ok()) return check_error(ref.error());
  FACET_CHECK(ref->text() == text && hub::is_repo_id(ref->repo));
  FACET_CHECK(ref->repo.find("--") == std::string::npos && ref->repo.find("..") == std::string::npos);
  FACET_CHECK(ref->revision.empty() || (hub::is_revision(ref->revision) && hub::is_inner_path(ref->revision)));
  FACET_CHECK(std::ranges::count(ref->repo, '/') == 1 && ref->tag.find('/') == std::string::npos);
}

static void check_refs(std::string_view text) {
  const Result<hub::Refs> refs = hub::parse_refs(text, "refs");
  if (!refs.ok()) return check_error(refs.error());
  for (const auto* some : {&refs->branches, &refs->tags})
    for (const hub::NamedCommit& ref : *some) FACET_CHECK(hub::is_inner_path(ref.name) && hub::is_commit(ref.commit));
}

static void check_selection(const hub::Selection& selection, const std::vector<hub::RepoFile>& files) {
  FACET_CHECK(!selection.model.empty() && selection.mmproj.size() <= 1 && selection.drafter.size() <= 1);
  for (const auto* some : {&selection.model, &selection.mmproj, &selection.drafter})
    for (const hub::RepoFile& file : *some)
      FACET_CHECK(std::ranges::find(files, file) != files.end() && hub::is_inner_path(file.path));
  if (selection.kind == hub::ModelKind::folder) return;
  const hub::SplitName first = hub::split_name(selection.model.front().path, ".gguf");
  FACET_CHECK(selection.model.size() == static_cast<size_t>(first.count));
  FACET_CHECK(hub::upper(selection.label) == selection.label);
  FACET_CHECK(hub::quant_bits(selection.label).has_value() || selection.label.empty());
}

static void check_tree(std::string_view tag, std::string_view file, std::string_view text) {
  const Result<std::vector<hub::RepoFile>> files = hub::parse_tree(text, "tree");
  if (!files.ok()) return check_error(files.error());
  for (const hub::RepoFile& each : *files)
    FACET_CHECK(hub::is_inner_path(each.path) && hub::is_object_id(each.id) && each.size >= 0);
  const Result<hub::Selection> chosen =
      hub::select(*files, {.tag = std::string(tag), .file = std::string(file)}, "repo");
  if (chosen.ok()) {
    check_selection(*chosen, *files);
  } else {
    check_error(chosen.error());
  }
  for (const hub::Selection& model : hub::all_models(*files)) check_selection(model, *files);
}

static void check_headers(std::string_view text) {
  if (const auto query = hub::next_query(text)) FACET_CHECK(query->find_first_of(">#") == std::string::npos);
  const std::string etag = hub::plain_etag(text);
  FACET_CHECK(!hub::is_strong_etag(text) || (!etag.empty() && etag.size() < text.size()));
  if (const auto range = hub::parse_content_range(text)) {
    FACET_CHECK(range->first.has_value() == range->last.has_value() && range->total >= -1);
    FACET_CHECK(!range->first || (*range->first >= 0 && *range->first <= *range->last));
  }
  FACET_CHECK(hub::parse_size(text).value_or(0) >= 0);
  FACET_CHECK(hub::refusal_text(text).size() <= 300);
  const hub::SplitName name = hub::split_name(text, ".gguf");
  FACET_CHECK(name.part >= 1 && name.part <= name.count);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view text(static_cast<const char*>(static_cast<const void*>(data)) + 1, size - 1);
  switch (data[0]) {
    case 'n': check_name(text); break;
    case 'r': check_refs(text); break;
    case 'h': check_headers(text); break;
    case 't': {  // "TAG\nFILE\n" and the list
      const auto line = [&] {
        const std::string_view found = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(found.size() + 1, text.size()));
        return found;
      };
      const std::string_view tag = line(), file = line();
      check_tree(tag, file, text);
      break;
    }
    default: break;
  }
  return 0;
}
