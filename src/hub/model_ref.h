// ModelRef: what a user writes for a model of the hub, `owner/repo[@revision][:QUANT]`, and the checks that keep names
// from a user or a server inside the folder they belong to.
#pragma once

#include <string>
#include <string_view>

#include "facet/result.h"

namespace facet::hub {

struct ModelRef {
  std::string repo;      // "ggml-org/gemma-4-E2B-it-GGUF"
  std::string revision;  // branch, tag or commit; empty: main
  std::string tag;       // "Q4_K_M", "UD-Q4_K_XL", "safetensors"; empty: the default of resolve.h

  // Errors: invalid_argument, with the form that was expected.
  static Result<ModelRef> parse(std::string_view text);
  // As parse() reads it.
  std::string text() const;
};

// "owner/name": the hub's own rules, so that the cache folder's name can be read back (no "--", no "..").
bool is_repo_id(std::string_view text);
// A branch, tag or commit that is also a path below refs/.
bool is_revision(std::string_view text);
// Lower-case hexadecimal of exactly n digits.
bool is_hex(std::string_view text, size_t n);
inline bool is_commit(std::string_view text) { return is_hex(text, 40); }
// The name of a blob: SHA-256 (64 digits) or git's SHA-1 (40 digits).
inline bool is_object_id(std::string_view text) { return is_hex(text, 40) || is_hex(text, 64); }
// A path inside a repository that stays inside a folder: relative, no empty, "." or ".." parts, no control characters
// or backslashes, parts of at most 255 bytes.
bool is_inner_path(std::string_view text);

}  // namespace facet::hub
