#include "hub/model_ref.h"

#include <algorithm>

#include "base/strings.h"

namespace facet::hub {
namespace {

constexpr size_t kNameMax = 96;  // of an owner or a repository (huggingface_hub)
constexpr size_t kRevisionMax = 256;
constexpr size_t kTagMax = 128;
constexpr size_t kPathMax = 1024;
constexpr size_t kPathPartMax = 255;  // NAME_MAX

bool is_alphanumeric(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_word(char c) { return is_alphanumeric(c) || c == '_'; }
bool is_name_character(char c) { return is_word(c) || c == '-' || c == '.'; }

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kNameMax && std::ranges::all_of(text, is_name_character) &&
         is_word(text.front()) && is_word(text.back()) && text.find("--") == text.npos && text.find("..") == text.npos;
}

bool is_tag(std::string_view text) {
  return !text.empty() && text.size() <= kTagMax && std::ranges::all_of(text, is_name_character);
}

// Calls good(part) for every part between slashes; false at the first that is not.
template <class Good>
bool all_parts(std::string_view path, Good good) {
  for (;;) {
    const size_t slash = path.find('/');
    if (!good(path.substr(0, slash))) return false;
    if (slash == path.npos) return true;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace

bool is_hex(std::string_view text, size_t n) {
  const auto digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return text.size() == n && std::ranges::all_of(text, digit);
}

bool is_repo_id(std::string_view text) {
  const size_t slash = text.find('/');
  return slash != text.npos && is_name(text.substr(0, slash)) && is_name(text.substr(slash + 1)) &&
         !text.ends_with(".git");
}

bool is_revision(std::string_view text) {
  return text.size() <= kRevisionMax && all_parts(text, [](std::string_view part) {
           return !part.empty() && std::ranges::all_of(part, is_name_character) && part.front() != '.' &&
                  part.back() != '.' && part.find("..") == part.npos;
         });
}

bool is_inner_path(std::string_view text) {
  const auto odd = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F || c == '\\'; };
  if (text.size() > kPathMax || std::ranges::any_of(text, odd)) return false;
  return all_parts(text, [](std::string_view part) {
    return !part.empty() && part.size() <= kPathPartMax && part != "." && part != "..";
  });
}

Result<ModelRef> ModelRef::parse(std::string_view text) {
  ModelRef ref;
  std::string_view rest = text;
  bool good = true;
  if (const size_t colon = rest.rfind(':'); colon != rest.npos) {
    ref.tag = rest.substr(colon + 1);
    good = is_tag(ref.tag);
    rest = rest.substr(0, colon);
  }
  if (const size_t at = rest.find('@'); good && at != rest.npos) {
    ref.revision = rest.substr(at + 1);
    good = is_revision(ref.revision);
    rest = rest.substr(0, at);
  }
  ref.repo = rest;
  if (good && is_repo_id(ref.repo)) return ref;
  return Error{.code = ErrorCode::invalid_argument,
               .what = "is no name of a model on the hub",
               .where = std::string(text),
               .expected = "owner/repo, owner/repo:QUANT or owner/repo@revision:QUANT",
               .found = {}};
}

std::string ModelRef::text() const {
  return cat(repo, revision.empty() ? "" : "@", revision, tag.empty() ? "" : ":", tag);
}

}  // namespace facet::hub
