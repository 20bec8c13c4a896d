// Quantisation recipes: which tensor of a file gets which type. They equal those of llama-quantize (quantization.md 6;
// llama.cpp v0.5.0), so that a file of a given name holds what people expect of the name.
#pragma once

#include <cstdint>
#include <optional>
#include <regex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "facet/result.h"
#include "formats/checkpoint.h"

namespace facet::convert {

// The value of general.file_type. Do not renumber.
enum class FileType : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q8_0 = 7,
  q5_0 = 8,
  q5_1 = 9,
  q2_k = 10,
  q3_k_s = 11,
  q3_k_m = 12,
  q3_k_l = 13,
  q4_k_s = 14,
  q4_k_m = 15,
  q5_k_s = 16,
  q5_k_m = 17,
  q6_k = 18,
  q2_k_s = 21,
  iq4_nl = 25,
  iq4_xs = 30,
  bf16 = 32,
  tq1_0 = 36,
  tq2_0 = 37,
  mxfp4_moe = 38,
};

struct FileTypeInfo {
  FileType type;
  const char* name;  // "Q4_K_M", as people write it
  DType base;        // what most matrices get
  const char* about;
};

std::span<const FileTypeInfo> file_types();
const FileTypeInfo& info(FileType type);
// Any case; "Q4_K" and its like mean the M mixture. Errors: invalid_argument, listing the names.
Result<FileType> file_type_named(std::string_view name);

// A pattern (ECMAScript, searched anywhere in the name) and the type for the tensors that it finds.
struct TypeOverride {
  std::string pattern;
  std::regex regex;
  DType type;

  // "REGEX=TYPE". Errors: invalid_argument.
  static Result<TypeOverride> parse(std::string_view text);
};

struct RecipeOptions {
  FileType file = FileType::q4_k_m;
  bool pure = false;                          // every matrix gets the base type
  bool has_importance = false;                // some recipes spend less, some more, where importance is known
  std::optional<DType> token_embedding = {};  // for both token tables
  std::vector<TypeOverride> overrides = {};   // the first that fits wins
};

// What the recipes ask of a model.
struct RecipeShape {
  int64_t layers = 0;
  int64_t query_heads_per_kv_head = 1;  // of layer 0
  int64_t experts = 0;
};

struct ChosenType {
  DType type;
  bool fell_back = false;         // rows are no multiple of the block that the recipe wanted
  bool needs_importance = false;  // the type is garbage without (Q2_K of a Q2_K_S file)
};

// The type of each tensor (GGUF names, shapes outermost first, any order). Tensors that are not quantised keep theirs.
// Errors: invalid_argument (an override names a type that cannot be written), naming the tensor.
Result<std::vector<ChosenType>> choose_types(std::span<const formats::TensorInfo> tensors, const RecipeShape& shape,
                                             const RecipeOptions& options);

// Whether quantising touches a tensor at all: matrices named "….weight" but for norms, the router and the projection
// of per-layer embeddings.
bool is_quantised(const formats::TensorInfo& tensor);

// Whether facet writes this type.
bool can_write(DType type);

}  // namespace facet::convert
