// Which files of a repository make up the model that was asked for. Works on a listing alone: of the hub, or of a
// snapshot in the cache.
//
// Among GGUF files, `repo:TAG` means, first hit wins, in the order of the listing:
//   1. the quantisation in the file's name is TAG, variant included ("UD-Q4_K_XL");
//   2. the file's name ends with TAG, or a folder on its path is called TAG;
//   3. as in llama.cpp: the path contains TAG followed by "-" or ".".
// Without TAG: Q4_K_M, then Q8_0, then the first model file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "facet/result.h"
#include "hub/answers.h"

namespace facet::hub {

enum class ModelKind { gguf, folder };  // folder: config.json, safetensors and what belongs to them

struct Selection {
  ModelKind kind = ModelKind::gguf;
  std::string label;              // "Q4_K_M", "safetensors"; "" when the file's name says nothing
  std::vector<RepoFile> model;    // gguf: the parts, first one first. folder: small files first, then weights
  std::vector<RepoFile> mmproj;   // projector of pictures and sound: none or one file
  std::vector<RepoFile> drafter;  // multi-token prediction: none or one file
};

struct Wanted {
  std::string tag;   // quantisation, "safetensors", or "" for the default
  std::string file;  // a GGUF file by path or name, in any case; excludes tag
  bool mmproj = true, drafter = true;
};

// Errors: not_found, naming what there is; corrupt (a split file lacks a part). `where` names the repository.
Result<Selection> select(const std::vector<RepoFile>& files, const Wanted& wanted, std::string_view where);

// Every model that a listing offers, one Selection each, without companions: for `facet list`. Split files that lack a
// part are left out.
std::vector<Selection> all_models(const std::vector<RepoFile>& files);

}  // namespace facet::hub
