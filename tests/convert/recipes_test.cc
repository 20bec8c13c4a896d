// Recipes against what is published: counts of types and sizes of files (gguf.md 1.9 and 5, quantization.md 6).
#include "convert/recipes.h"

#include <map>

#include "base/strings.h"
#include "support/expect.h"

namespace facet::convert {
namespace {

using formats::TensorInfo;

// Shapes of the published sizes (text-decoder.md 1).
struct Size {
  const char* name;
  int64_t layers, width, ffn, heads, kv_sliding, kv_full, ple, shared, full_every, experts = 0, expert_ffn = 0;
  bool double_wide = false, values_are_keys = false;
};
constexpr Size kE2B{"E2B", 35, 1536, 6144, 8, 1, 1, 256, 20, 5, 0, 0, true, false};
constexpr Size kE4B{"E4B", 42, 2560, 10240, 8, 2, 2, 256, 18, 6};
constexpr Size k12B{"12B", 48, 3840, 15360, 16, 8, 1, 0, 0, 6, 0, 0, false, true};
constexpr Size k26B{"26B", 30, 2816, 2112, 16, 8, 2, 0, 0, 6, 128, 704, false, true};
constexpr Size k31B{"31B", 60, 5376, 21504, 32, 16, 4, 0, 0, 6, 0, 0, false, true};

// The tensors of a published BF16 file: shared layers hold their unused keys and values.
std::vector<TensorInfo> tensors_of(const Size& s) {
  constexpr int64_t kVocab = 262144;
  std::vector<TensorInfo> out;
  const auto matrix = [&](std::string name, std::vector<int64_t> shape) {
    out.push_back({.name = std::move(name), .type = DType::bf16, .shape = std::move(shape)});
  };
  const auto vector = [&](std::string name, int64_t n) {
    out.push_back({.name = std::move(name), .type = DType::f32, .shape = {n}});
  };
  matrix("token_embd.weight", {kVocab, s.width});
  vector("output_norm.weight", s.width);
  vector("rope_freqs.weight", 256);
  if (s.ple > 0) {
    matrix("per_layer_token_embd.weight", {kVocab, s.ple * s.layers});
    matrix("per_layer_model_proj.weight", {s.ple * s.layers, s.width});
    vector("per_layer_proj_norm.weight", s.ple);
  }
  for (int64_t i = 0; i < s.layers; ++i) {
    const bool full = (i + 1) % s.full_every == 0;
    const int64_t head = full ? 512 : 256, kv = (full ? s.kv_full : s.kv_sliding) * head;
    const int64_t ffn = s.ffn * (s.double_wide && i >= s.layers - s.shared ? 2 : 1);
    const std::string b = cat("blk.", i, ".");
    matrix(b + "attn_q.weight", {s.heads * head, s.width});
    matrix(b + "attn_k.weight", {kv, s.width});
    if (!(s.values_are_keys && full)) matrix(b + "attn_v.weight", {kv, s.width});
    matrix(b + "attn_output.weight", {s.width, s.heads * head});
    matrix(b + "ffn_gate.weight", {ffn, s.width});
    matrix(b + "ffn_up.weight", {ffn, s.width});
    matrix(b + "ffn_down.weight", {s.width, ffn});
    for (const char* name :
         {"attn_norm.weight", "post_attention_norm.weight", "ffn_norm.weight", "post_ffw_norm.weight"})
      vector(b + name, s.width);
    for (const char* name : {"attn_q_norm.weight", "attn_k_norm.weight"}) vector(b + name, head);
    vector(b + "layer_output_scale.weight", 1);
    if (s.ple > 0) {
      matrix(b + "inp_gate.weight", {s.ple, s.width});
      matrix(b + "proj.weight", {s.width, s.ple});
      vector(b + "post_norm.weight", s.width);
    }
    if (s.experts == 0) continue;
    out.push_back({.name = b + "ffn_gate_inp.weight", .type = DType::f32, .shape = {s.experts, s.width}});
    vector(b + "ffn_gate_inp.scale", s.width);
    vector(b + "ffn_down_exps.scale", s.experts);
    for (const char* name : {"pre_ffw_norm_2.weight", "post_ffw_norm_1.weight", "post_ffw_norm_2.weight"})
      vector(b + name, s.width);
    matrix(b + "ffn_gate_up_exps.weight", {s.experts, 2 * s.expert_ffn, s.width});
    matrix(b + "ffn_down_exps.weight", {s.experts, s.width, s.expert_ffn});
  }
  return out;
}

RecipeShape shape_of(const Size& s) {
  return {.layers = s.layers, .query_heads_per_kv_head = s.heads / s.kv_sliding, .experts = s.experts};
}

std::vector<ChosenType> chosen(const Size& size, const RecipeOptions& options) {
  const std::vector<TensorInfo> tensors = tensors_of(size);
  Result<std::vector<ChosenType>> out = choose_types(tensors, shape_of(size), options);
  EXPECT_OK(out);
  return out.ok() ? *out : std::vector<ChosenType>(tensors.size(), ChosenType{.type = DType::f32});
}

std::map<std::string, int> counts(const Size& size, const RecipeOptions& options) {
  std::map<std::string, int> out;
  for (const ChosenType& type : chosen(size, options)) ++out[name(type.type)];
  return out;
}

// Matrices alone, as the published table counts them.
double megabytes(const Size& size, FileType file) {
  const std::vector<TensorInfo> tensors = tensors_of(size);
  const std::vector<ChosenType> types = chosen(size, {.file = file});
  int64_t bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i)
    if (tensors[i].shape.size() > 1) bytes += row_bytes(types[i].type, tensors[i].elements());
  return static_cast<double>(bytes) * 1e-6;
}

std::string type_of(const Size& size, const RecipeOptions& options, std::string_view name) {
  const std::vector<TensorInfo> tensors = tensors_of(size);
  const std::vector<ChosenType> types = chosen(size, options);
  for (size_t i = 0; i < tensors.size(); ++i)
    if (tensors[i].name == name) return facet::name(types[i].type);
  return "no such tensor";
}

// The layers whose tensors "blk.N.<rest>" get a type.
std::vector<int64_t> layers_with(const Size& size, FileType file, std::string_view rest, DType type) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < size.layers; ++i)
    if (type_of(size, {.file = file}, cat("blk.", i, ".", rest)) == name(type)) out.push_back(i);
  return out;
}

TEST(Recipes, TensorCountsArePublishedOnes) {
  EXPECT_EQ(tensors_of(kE2B).size(), 601u);
  EXPECT_EQ(tensors_of(kE4B).size(), 720u);
  EXPECT_EQ(tensors_of(k12B).size(), 667u);
  EXPECT_EQ(tensors_of(k26B).size(), 658u);
  EXPECT_EQ(tensors_of(k31B).size(), 833u);
}

TEST(Recipes, Q4KMOfThe26BHasTheTypesOfThePublishedFile) {
  const std::map<std::string, int> expected = {{"F32", 392}, {"Q4_K", 192}, {"Q6_K", 14}, {"Q5_0", 32}, {"Q8_0", 28}};
  EXPECT_EQ(counts(k26B, {.file = FileType::q4_k_m}), expected);
}

TEST(Recipes, LayersThatGetMoreBits) {
  using Layers = std::vector<int64_t>;
  EXPECT_EQ(layers_with(kE2B, FileType::q4_k_m, "ffn_down.weight", DType::q6_k),
            (Layers{0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 31, 32, 33, 34}));
  EXPECT_EQ(layers_with(kE4B, FileType::q5_k_m, "ffn_down.weight", DType::q6_k).size(), 21u);
  EXPECT_EQ(layers_with(k12B, FileType::q4_k_m, "ffn_down.weight", DType::q6_k).size(), 24u);
  EXPECT_EQ(layers_with(k26B, FileType::q4_k_m, "ffn_down.weight", DType::q8_0).size(), 14u);
  EXPECT_EQ(layers_with(k31B, FileType::q4_k_m, "ffn_down.weight", DType::q6_k).size(), 30u);
  EXPECT_EQ(layers_with(k26B, FileType::q4_k_m, "attn_v.weight", DType::q6_k).size(), 13u);
  EXPECT_EQ(layers_with(k31B, FileType::q4_k_m, "attn_v.weight", DType::q6_k).size(), 25u);
  EXPECT_EQ(layers_with(k31B, FileType::q4_k_s, "attn_v.weight", DType::q5_k), (Layers{0, 1, 2, 3}));
  EXPECT_EQ(layers_with(k31B, FileType::q4_k_s, "ffn_down.weight", DType::q5_k).size(), 7u);
}

TEST(Recipes, SizesAreTheExpectedOnes) {
  struct Row {
    FileType file;
    double megabytes[5];  // rounded
  };
  constexpr Row kRows[] = {
      {FileType::q4_0, {3343, 5168, 6957, 14421, 17630}},   {FileType::q4_k_m, {3411, 5317, 7363, 16777, 18666}},
      {FileType::q5_k_m, {3613, 5745, 8528, 19114, 21824}}, {FileType::q6_k, {3828, 6199, 9767, 22620, 25180}},
      {FileType::q8_0, {4951, 8013, 12651, 26841, 32615}},  {FileType::bf16, {9294, 15035, 23813, 50487, 61392}}};
  const Size* const sizes[] = {&kE2B, &kE4B, &k12B, &k26B, &k31B};
  for (const Row& row : kRows)
    for (size_t i = 0; i < std::size(sizes); ++i)
      EXPECT_NEAR(megabytes(*sizes[i], row.file), row.megabytes[i], 0.6)
          << sizes[i]->name << ' ' << info(row.file).name;
}

TEST(Recipes, KeepNormsRouterAndTheProjectionOfPerLayerEmbeddings) {
  const RecipeOptions pure{.file = FileType::q2_k, .pure = true};
  EXPECT_EQ(type_of(k26B, pure, "blk.3.ffn_gate_inp.weight"), "F32");
  EXPECT_EQ(type_of(kE2B, pure, "per_layer_model_proj.weight"), "BF16");
  EXPECT_EQ(type_of(kE2B, pure, "blk.3.attn_norm.weight"), "F32");
  EXPECT_EQ(type_of(kE2B, pure, "token_embd.weight"), "Q2_K");
}

TEST(Recipes, MixturesFollowSharingAndImportance) {
  EXPECT_EQ(type_of(kE4B, {.file = FileType::q2_k}, "blk.20.attn_v.weight"), "Q4_K");
  EXPECT_EQ(type_of(k31B, {.file = FileType::q2_k}, "blk.20.attn_v.weight"), "Q3_K");
  EXPECT_EQ(type_of(k31B, {.file = FileType::q2_k}, "blk.20.attn_output.weight"), "Q3_K");
  EXPECT_EQ(type_of(k31B, {.file = FileType::q3_k_m}, "blk.2.ffn_down.weight"), "Q5_K");
  EXPECT_EQ(type_of(k31B, {.file = FileType::q3_k_m}, "blk.3.ffn_down.weight"), "Q4_K");
  EXPECT_EQ(type_of(k31B, {.file = FileType::q3_k_l}, "blk.3.attn_output.weight"), "Q5_K");
  EXPECT_EQ(type_of(k31B, {.file = FileType::iq4_xs}, "blk.6.ffn_down.weight"), "Q5_K");
  EXPECT_EQ(type_of(k31B, {.file = FileType::iq4_xs, .has_importance = true}, "blk.6.ffn_down.weight"), "IQ4_XS");
  EXPECT_EQ(type_of(k31B, {.file = FileType::q4_0}, "blk.6.ffn_down.weight"), "Q4_0");
  EXPECT_EQ(type_of(k31B, {.file = FileType::q4_0, .has_importance = true}, "blk.6.ffn_down.weight"), "Q4_1");
  EXPECT_EQ(type_of(k26B, {.file = FileType::mxfp4_moe}, "blk.6.ffn_down_exps.weight"), "MXFP4");
  EXPECT_EQ(type_of(k26B, {.file = FileType::mxfp4_moe}, "blk.6.ffn_down.weight"), "Q8_0");
  EXPECT_EQ(type_of(k26B, {.file = FileType::mxfp4_moe}, "token_embd.weight"), "Q8_0");
}

TEST(Recipes, FallBackWhereRowsAreNoMultipleOfTheBlock) {
  EXPECT_EQ(type_of(k26B, {.file = FileType::q3_k_s}, "blk.6.ffn_down_exps.weight"), "Q4_0");
  EXPECT_EQ(type_of(k26B, {.file = FileType::iq4_xs}, "blk.6.ffn_down.weight"), "IQ4_NL");
  EXPECT_EQ(type_of(k26B, {.file = FileType::q5_k_s}, "blk.6.ffn_down.weight"), "Q5_1");
  const TensorInfo odd[] = {{.name = "blk.0.attn_q.weight", .type = DType::f32, .shape = {8, 40}}};
  const Result<std::vector<ChosenType>> types = choose_types(odd, {.layers = 1}, {.file = FileType::q4_k_m});
  ASSERT_OK(types);
  EXPECT_EQ(types->front().type, DType::f16);
  EXPECT_TRUE(types->front().fell_back);
}

TEST(Recipes, OverridesComeFirstAndTheFirstThatFitsWins) {
  RecipeOptions options{.file = FileType::q4_k_m, .token_embedding = DType::q8_0};
  for (const char* text : {"ffn_down=q8_0", R"(blk\.[0-4]\.=f16)", "ffn_(up|down)=q5_k"}) {
    Result<TypeOverride> override = TypeOverride::parse(text);
    ASSERT_OK(override);
    options.overrides.push_back(*std::move(override));
  }
  EXPECT_EQ(type_of(kE2B, options, "blk.3.ffn_down.weight"), "Q8_0");
  EXPECT_EQ(type_of(kE2B, options, "blk.3.ffn_up.weight"), "F16");
  EXPECT_EQ(type_of(kE2B, options, "blk.9.ffn_up.weight"), "Q5_K");
  EXPECT_EQ(type_of(kE2B, options, "blk.9.ffn_gate.weight"), "Q4_K");
  EXPECT_EQ(type_of(kE2B, options, "per_layer_token_embd.weight"), "Q8_0");
}

TEST(Recipes, OverridesThatMakeNoSenseAreRefused) {
  for (const char* text : {"ffn_down", "=q8_0", "ffn_down=", "ffn_down=q9", "ffn_down=iq2_xs", "ffn_(down=q8_0"}) {
    const Result<TypeOverride> override = TypeOverride::parse(text);
    ASSERT_FALSE(override.ok()) << text;
    EXPECT_EQ(override.error().code, ErrorCode::invalid_argument);
  }
}

TEST(Recipes, FileTypesAreFoundByName) {
  for (const FileTypeInfo& type : file_types()) EXPECT_EQ(*file_type_named(type.name), type.type);
  EXPECT_EQ(*file_type_named("q4_k"), FileType::q4_k_m);
  const Result<FileType> unknown = file_type_named("Q4_K_XL");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.error().message().find("Q4_K_M"), std::string::npos);
}

TEST(Recipes, OnlyTheSmallestMixtureNeedsImportance) {
  for (const FileTypeInfo& type : file_types()) {
    bool needs = false;
    for (const ChosenType& one : chosen(k31B, {.file = type.type})) needs |= one.needs_importance;
    EXPECT_EQ(needs, type.type == FileType::q2_k_s) << type.name;
  }
}

}  // namespace
}  // namespace facet::convert
