#include "convert/recipes.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "base/check.h"
#include "base/strings.h"

namespace facet::convert {
namespace {

using enum DType;

constexpr FileTypeInfo kFileTypes[] = {
    {FileType::f32, "F32", f32, "32-bit floats: exact, large"},
    {FileType::bf16, "BF16", bf16, "as checkpoints are published"},
    {FileType::f16, "F16", f16, "half precision"},
    {FileType::q8_0, "Q8_0", q8_0, "8.5 bits a weight: no loss that one could see"},
    {FileType::q6_k, "Q6_K", q6_k, "6.6 bits: next to no loss"},
    {FileType::q5_k_m, "Q5_K_M", q5_k, "5.5 bits and more where it matters: very small loss"},
    {FileType::q5_k_s, "Q5_K_S", q5_k, "5.5 bits"},
    {FileType::q5_1, "Q5_1", q5_1, "6 bits, simple blocks"},
    {FileType::q5_0, "Q5_0", q5_0, "5.5 bits, simple blocks"},
    {FileType::q4_k_m, "Q4_K_M", q4_k, "4.5 bits and more where it matters: the usual choice"},
    {FileType::q4_k_s, "Q4_K_S", q4_k, "4.5 bits, a little more in early layers"},
    {FileType::iq4_nl, "IQ4_NL", iq4_nl, "4.5 bits on an uneven grid"},
    {FileType::iq4_xs, "IQ4_XS", iq4_xs, "4.25 bits on an uneven grid"},
    {FileType::q4_1, "Q4_1", q4_1, "5 bits, simple blocks"},
    {FileType::q4_0, "Q4_0", q4_0, "4.5 bits, simple blocks: for checkpoints that were trained for it"},
    {FileType::mxfp4_moe, "MXFP4_MOE", mxfp4, "experts in 4.25-bit floats, the rest in Q8_0"},
    {FileType::q3_k_l, "Q3_K_L", q3_k, "3.4 bits and more where it matters"},
    {FileType::q3_k_m, "Q3_K_M", q3_k, "3.4 bits and some more where it matters"},
    {FileType::q3_k_s, "Q3_K_S", q3_k, "3.4 bits: clear loss"},
    {FileType::q2_k, "Q2_K", q2_k, "2.6 bits and more where it matters: large loss"},
    {FileType::q2_k_s, "Q2_K_S", q2_k, "2.6 bits; needs an importance matrix"},
    {FileType::tq2_0, "TQ2_0", tq2_0, "for ternary weights, 2.1 bits"},
    {FileType::tq1_0, "TQ1_0", tq1_0, "for ternary weights, 1.7 bits"},
};

// What a recipe treats differently.
enum class Part : uint8_t { token_table, head, value, ffn_down, attention_output, other };

Part part_of(std::string_view name) {
  const auto has = [&](std::string_view part) { return name.find(part) != name.npos; };
  if (name == "output.weight") return Part::head;
  if (name == "token_embd.weight" || name == "per_layer_token_embd.weight") return Part::token_table;
  if (has("attn_v.weight")) return Part::value;
  if (has("attn_output.weight")) return Part::attention_output;
  if (has("ffn_down")) return Part::ffn_down;
  return Part::other;
}

// "blk.12.…": 12; none: -1.
int64_t layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  int64_t layer = -1;
  if (name.starts_with(kPrefix)) std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  return layer;
}

// The first and last eighth of the layers, and every third between.
bool wants_more(int64_t i, int64_t n) { return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2; }

// Tied tables are read as the output matrix too, and the output matrix is what errors show in.
DType for_head(FileType file, DType base, int64_t cols) {
  if (file == FileType::mxfp4_moe || cols % info(base).block != 0) return q8_0;
  return base == q8_0 ? q8_0 : q6_k;
}

DType for_value(FileType file, DType base, const RecipeShape& shape, int64_t i, int64_t n) {
  const bool widely_shared = shape.query_heads_per_kv_head >= 4;
  switch (file) {
    case FileType::q2_k: return widely_shared ? q4_k : q3_k;
    case FileType::q2_k_s: return widely_shared ? q4_k : base;
    case FileType::q3_k_m: return i < 2 ? q5_k : q4_k;
    case FileType::q3_k_l: return q5_k;
    case FileType::iq4_nl:
    case FileType::iq4_xs: return widely_shared ? q5_k : base;
    case FileType::q4_k_s: return i < 4 ? q5_k : base;
    case FileType::q4_k_m:
    case FileType::q5_k_m: return wants_more(i, n) ? q6_k : base;
    default: return base;
  }
}

DType for_ffn_down(const RecipeOptions& options, DType base, int64_t layer, int64_t layers) {
  const bool early = layer < layers / 8;
  switch (options.file) {
    case FileType::q2_k: return q3_k;
    case FileType::q2_k_s: return early ? q4_k : base;
    case FileType::q3_k_m: return layer < layers / 16 ? q5_k : q4_k;
    case FileType::q3_k_l: return q5_k;
    case FileType::iq4_nl:
    case FileType::iq4_xs: return early && !options.has_importance ? q5_k : base;
    case FileType::q4_k_s: return early ? q5_k : base;
    case FileType::q4_k_m:
    case FileType::q5_k_m: return wants_more(layer, layers) ? q6_k : base;
    case FileType::q4_0: return early && options.has_importance ? q4_1 : base;
    case FileType::q5_0: return early && options.has_importance ? q5_1 : base;
    default: return base;
  }
}

DType for_attention_output(FileType file, DType base) {
  switch (file) {
    case FileType::q2_k: return q3_k;
    case FileType::q3_k_m: return q4_k;
    case FileType::q3_k_l: return q5_k;
    default: return base;
  }
}

// The next best type with blocks of 32, for rows that are no multiple of 256.
DType narrower(DType type) {
  switch (type) {
    case q2_k:
    case q3_k:
    case tq1_0:
    case tq2_0: return q4_0;
    case q4_k: return q5_0;
    case q5_k: return q5_1;
    case q6_k: return q8_0;
    case iq4_xs: return iq4_nl;
    default: return type;
  }
}

// Counts as it goes through the tensors.
class Chooser {
 public:
  Chooser(std::span<const formats::TensorInfo> tensors, const RecipeShape& shape, const RecipeOptions& options)
      : shape_(shape), options_(options), base_(info(options.file).base) {
    for (const formats::TensorInfo& tensor : tensors) {
      if (part_of(tensor.name) == Part::value) ++values_;
      if (part_of(tensor.name) == Part::head) tied_ = false;
    }
  }

  ChosenType choose(const formats::TensorInfo& tensor) {
    if (!is_quantised(tensor)) return {.type = tensor.type};
    const DType wanted = wanted_type(tensor);
    ChosenType chosen{.type = wanted};
    const int64_t cols = tensor.shape.back();
    if (cols % info(chosen.type).block != 0) chosen.type = narrower(wanted);
    if (cols % info(chosen.type).block != 0) chosen.type = f16;
    chosen.fell_back = chosen.type != wanted;
    chosen.needs_importance = options_.file == FileType::q2_k_s && chosen.type == q2_k && !is_table(tensor);
    return chosen;
  }

 private:
  static bool is_table(const formats::TensorInfo& tensor) {
    const Part part = part_of(tensor.name);
    return part == Part::token_table || part == Part::head;
  }

  DType wanted_type(const formats::TensorInfo& tensor) {
    const Part part = part_of(tensor.name);
    const DType mixed = mixed_type(tensor, part);  // counts, whoever wins
    for (const TypeOverride& override : options_.overrides)
      if (std::regex_search(tensor.name, override.regex)) return override.type;
    if (part == Part::token_table && options_.token_embedding) return *options_.token_embedding;
    return options_.pure || info(base_).block == 1 ? base_ : mixed;
  }

  DType mixed_type(const formats::TensorInfo& tensor, Part part) {
    if (part == Part::head || (part == Part::token_table && tied_))
      return for_head(options_.file, base_, tensor.shape.back());
    if (options_.file == FileType::mxfp4_moe) return tensor.shape.size() > 2 ? mxfp4 : q8_0;
    if (part == Part::token_table) return base_ == tq1_0 || base_ == tq2_0 ? q4_k : base_;
    if (part == Part::value) return for_value(options_.file, base_, shape_, value_++, values_);
    if (part == Part::attention_output) return for_attention_output(options_.file, base_);
    if (part == Part::ffn_down) return for_ffn_down(options_, base_, layer_of(tensor.name), shape_.layers);
    return base_;
  }

  const RecipeShape& shape_;
  const RecipeOptions& options_;
  DType base_;
  bool tied_ = true;
  int64_t value_ = 0, values_ = 0;
};

}  // namespace

std::span<const FileTypeInfo> file_types() { return kFileTypes; }

const FileTypeInfo& info(FileType type) {
  const auto found = std::ranges::find(kFileTypes, type, &FileTypeInfo::type);
  FACET_CHECK(found != std::end(kFileTypes));
  return *found;
}

Result<FileType> file_type_named(std::string_view name) {
  std::string upper(name), names;
  for (char& c : upper)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  for (const char* mixture : {"Q3_K", "Q4_K", "Q5_K"})
    if (upper == mixture) upper += "_M";
  for (const FileTypeInfo& type : kFileTypes) {
    if (upper == type.name) return type.type;
    names += cat(names.empty() ? "" : " ", type.name);
  }
  return Error{.code = ErrorCode::invalid_argument,
               .what = "there is no such file type",
               .where = "quantisation",
               .expected = cat("one of ", names),
               .found = std::string(name)};
}

bool can_write(DType type) {
  return type == f32 || type == f16 || type == bf16 ||
         std::ranges::any_of(kFileTypes, [&](const FileTypeInfo& file) { return file.base == type; });
}

Result<TypeOverride> TypeOverride::parse(std::string_view text) {
  const auto bad = [&](std::string what) {
    return Error{.code = ErrorCode::invalid_argument,
                 .what = std::move(what),
                 .where = "--tensor-type",
                 .expected = "REGEX=TYPE, such as ffn_down=Q6_K",
                 .found = std::string(text)};
  };
  const size_t equals = text.rfind('=');
  if (equals == text.npos || equals == 0) return bad("no pattern and type");
  const std::optional<DType> type = dtype_named(text.substr(equals + 1));
  if (!type || !can_write(*type)) return bad("not a type that can be written");
  TypeOverride made{.pattern = std::string(text.substr(0, equals)), .regex = {}, .type = *type};
  try {
    made.regex = std::regex(made.pattern, std::regex::ECMAScript | std::regex::optimize);
  } catch (const std::regex_error& error) {
    return bad(cat("not a regular expression (", error.what(), ")"));
  }
  return made;
}

bool is_quantised(const formats::TensorInfo& tensor) {
  const auto has = [&](std::string_view part) { return tensor.name.find(part) != tensor.name.npos; };
  // As ggml counts dimensions: leading ones do not.
  const auto first = std::ranges::find_if(tensor.shape, [](int64_t n) { return n != 1; });
  if (tensor.shape.end() - first < 2 || !tensor.name.ends_with("weight")) return false;
  return !has("_norm.weight") && !has("ffn_gate_inp.weight") && !has("per_layer_model_proj");
}

Result<std::vector<ChosenType>> choose_types(std::span<const formats::TensorInfo> tensors, const RecipeShape& shape,
                                             const RecipeOptions& options) {
  // Rules count along the layers, whatever the order in the file.
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return layer_of(tensors[i].name); });
  Chooser chooser(tensors, shape, options);
  std::vector<ChosenType> chosen(tensors.size(), ChosenType{.type = f32});
  for (const size_t i : order) {
    chosen[i] = chooser.choose(tensors[i]);
    if (is_quantised(tensors[i]) && !can_write(chosen[i].type))
      return Error{.code = ErrorCode::invalid_argument,
                   .what = "this type cannot be written",
                   .where = tensors[i].name,
                   .expected = "a type that facet writes",
                   .found = name(chosen[i].type)};
  }
  return chosen;
}

}  // namespace facet::convert
