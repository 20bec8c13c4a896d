// On the listings of published repositories (spec: gguf.md 5), reduced to what matters.
#include "hub/resolve.h"

#include "base/strings.h"
#include "hub/quant_name.h"
#include "support/expect.h"

namespace facet::hub {
namespace {

std::vector<RepoFile> listing(std::initializer_list<const char*> paths) {
  std::vector<RepoFile> files;
  for (const char* path : paths)
    files.push_back({path, 100, cat(std::string(62, '0'), files.size() / 10, files.size() % 10)});
  return files;
}

// "model | projector | drafter", parts joined by "+".
std::string chosen(const std::vector<RepoFile>& files, const Wanted& wanted) {
  const Result<Selection> selection = select(files, wanted, "owner/repo");
  if (!selection.ok()) return cat("error: ", selection.error().message());
  std::string text;
  for (const auto* some : {&selection->model, &selection->mmproj, &selection->drafter}) {
    if (some != &selection->model) text += " | ";
    for (const RepoFile& file : *some) text += cat(&file == &some->front() ? "" : "+", file.path);
  }
  return text;
}
std::string model_for(const std::vector<RepoFile>& files, const std::string& tag) {
  const std::string text = chosen(files, {.tag = tag, .file = {}, .mmproj = false, .drafter = false});
  return text.substr(0, text.find(" | "));
}

const std::vector<RepoFile> kGgmlOrg = listing(
    {".gitattributes", "README.md", "gemma-4-E2B-it-Q4_K_M.gguf", "gemma-4-E2B-it-Q8_0.gguf", "gemma-4-E2B-it-f16.gguf",
     "mmproj-gemma-4-E2B-it-Q8_0.gguf", "mmproj-gemma-4-E2B-it-f16.gguf", "mtp-gemma-4-E2B-it-Q8_0.gguf"});

const std::vector<RepoFile> kUnsloth =
    listing({"BF16/gemma-4-31B-it-BF16-00001-of-00002.gguf", "BF16/gemma-4-31B-it-BF16-00002-of-00002.gguf",
             "README.md", "config.json", "gemma-4-31B-it-IQ4_NL.gguf", "gemma-4-31B-it-IQ4_XS.gguf",
             "gemma-4-31B-it-Q3_K_M.gguf", "gemma-4-31B-it-Q4_0.gguf", "gemma-4-31B-it-Q4_1.gguf",
             "gemma-4-31B-it-Q4_K_M.gguf", "gemma-4-31B-it-Q4_K_S.gguf", "gemma-4-31B-it-Q8_0.gguf",
             "gemma-4-31B-it-UD-IQ2_XXS.gguf", "gemma-4-31B-it-UD-Q4_K_XL.gguf", "gemma-4-31B-it-UD-Q8_K_XL.gguf",
             "imatrix_unsloth.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf"});

const std::vector<RepoFile> kBartowski = listing(
    {"google_gemma-4-E2B-it-IQ4_XS.gguf", "google_gemma-4-E2B-it-Q4_0.gguf", "google_gemma-4-E2B-it-Q4_K_L.gguf",
     "google_gemma-4-E2B-it-Q4_K_M.gguf", "google_gemma-4-E2B-it-bf16.gguf", "google_gemma-4-E2B-it-imatrix.gguf",
     "mmproj-google_gemma-4-E2B-it-bf16.gguf", "mmproj-google_gemma-4-E2B-it-f16.gguf"});

const std::vector<RepoFile> kMradermacher =
    listing({"gemma-4-E2B-it.Q2_K.gguf", "gemma-4-E2B-it.Q4_K_M.gguf", "gemma-4-E2B-it.i1-Q4_K_M.gguf",
             "gemma-4-E2B-it.mmproj-Q8_0.gguf", "gemma-4-E2B-it.mmproj-f16.gguf"});

const std::vector<RepoFile> kGoogle =
    listing({"README.md", "gemma-4-E4B_q4_0-it.gguf", "mmproj-gemma-4-E4B-it-bf16.gguf"});

const std::vector<RepoFile> kSafetensors =
    listing({".gitattributes", "README.md", "chat_template.jinja", "config.json", "generation_config.json",
             "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
             "processor_config.json", "tokenizer.json", "tokenizer_config.json", "onnx/model.onnx"});

TEST(Resolve, TheDefaultIsQ4KMThenQ80ThenTheFirst) {
  EXPECT_EQ(chosen(kGgmlOrg, {}),
            "gemma-4-E2B-it-Q4_K_M.gguf | mmproj-gemma-4-E2B-it-Q8_0.gguf | mtp-gemma-4-E2B-it-Q8_0.gguf");
  EXPECT_EQ(model_for(listing({"a-F16.gguf", "a-Q8_0.gguf", "a-Q4_K_S.gguf"}), ""), "a-Q8_0.gguf");
  EXPECT_EQ(chosen(kGoogle, {}), "gemma-4-E4B_q4_0-it.gguf | mmproj-gemma-4-E4B-it-bf16.gguf | ");
  EXPECT_EQ(chosen(kMradermacher, {}), "gemma-4-E2B-it.Q4_K_M.gguf | gemma-4-E2B-it.mmproj-Q8_0.gguf | ");
}

TEST(Resolve, ATagMeansThatQuantisationAndNoOther) {
  EXPECT_EQ(model_for(kUnsloth, "Q4_0"), "gemma-4-31B-it-Q4_0.gguf");
  EXPECT_EQ(model_for(kUnsloth, "q4_k_m"), "gemma-4-31B-it-Q4_K_M.gguf");
  EXPECT_EQ(model_for(kUnsloth, "UD-Q4_K_XL"), "gemma-4-31B-it-UD-Q4_K_XL.gguf");
  EXPECT_EQ(model_for(kUnsloth, "Q4_K_XL"), "gemma-4-31B-it-UD-Q4_K_XL.gguf");
  EXPECT_EQ(model_for(kUnsloth, "iq2_xxs"), "gemma-4-31B-it-UD-IQ2_XXS.gguf");
  EXPECT_EQ(model_for(kBartowski, "BF16"), "google_gemma-4-E2B-it-bf16.gguf");
  EXPECT_EQ(model_for(kMradermacher, "Q4_K_M"), "gemma-4-E2B-it.Q4_K_M.gguf");
  EXPECT_EQ(model_for(kMradermacher, "i1-Q4_K_M"), "gemma-4-E2B-it.i1-Q4_K_M.gguf");
  EXPECT_EQ(model_for(kGoogle, "Q4_0"), "gemma-4-E4B_q4_0-it.gguf");  // as llama.cpp would find it
  // The first that the loose rule finds comes before the exact one in the listing.
  EXPECT_EQ(model_for(listing({"x-IQ4_0-Q8_0.gguf", "x-Q4_0.gguf"}), "Q4_0"), "x-Q4_0.gguf");
}

TEST(Resolve, AnUnknownTagNamesWhatThereIs) {
  const std::string text = model_for(kUnsloth, "Q4_K");
  EXPECT_NE(text.find("there is no Q4_K: expected one of BF16, IQ4_NL"), std::string::npos) << text;
  EXPECT_EQ(text.find("imatrix"), std::string::npos);
}

TEST(Resolve, SplitFilesComeWhole) {
  EXPECT_EQ(model_for(kUnsloth, "BF16"),
            "BF16/gemma-4-31B-it-BF16-00001-of-00002.gguf+BF16/gemma-4-31B-it-BF16-00002-of-00002.gguf");
  std::vector<RepoFile> cut = kUnsloth;
  cut.erase(cut.begin() + 1);
  EXPECT_NE(model_for(cut, "BF16").find("no part 2"), std::string::npos) << model_for(cut, "BF16");
  EXPECT_NE(model_for(listing({"a-Q8_0-00002-of-00002.gguf"}), "").find("holds no model"), std::string::npos);
  // Parts of another count or folder do not belong to it.
  EXPECT_EQ(model_for(listing({"a-00001-of-00002.gguf", "a-00001-of-00003.gguf", "b/a-00002-of-00002.gguf",
                               "a-00002-of-00002.gguf"}),
                      ""),
            "a-00001-of-00002.gguf+a-00002-of-00002.gguf");
}

TEST(Resolve, TheProjectorIsTheClosestInPrecisionAndBf16AmongEquals) {
  EXPECT_EQ(chosen(kUnsloth, {.tag = "Q4_0", .file = {}}), "gemma-4-31B-it-Q4_0.gguf | mmproj-BF16.gguf | ");
  EXPECT_EQ(chosen(kBartowski, {.tag = "BF16", .file = {}}),
            "google_gemma-4-E2B-it-bf16.gguf | mmproj-google_gemma-4-E2B-it-bf16.gguf | ");
  EXPECT_EQ(chosen(kGgmlOrg, {.tag = "F16", .file = {}, .mmproj = true, .drafter = false}),
            "gemma-4-E2B-it-f16.gguf | mmproj-gemma-4-E2B-it-f16.gguf | ");
}

TEST(Resolve, CompanionsLieInTheModelsFolderOrAbove) {
  const std::vector<RepoFile> files =
      listing({"E2B/m-Q4_K_M.gguf", "E2B/mmproj-F16.gguf", "E2B/mtp/mtp-m-Q4_K_M.gguf", "E4B/mmproj-Q4_K_M.gguf",
               "mmproj-Q4_K_M.gguf", "mtp-m-F16.gguf", "E2Bx/mmproj-Q4_K_M.gguf"});
  EXPECT_EQ(chosen(files, {}), "E2B/m-Q4_K_M.gguf | E2B/mmproj-F16.gguf | mtp-m-F16.gguf");
}

TEST(Resolve, AFileIsFoundByPathOrByUniqueName) {
  EXPECT_EQ(chosen(kUnsloth, {.tag = {}, .file = "GEMMA-4-31b-it-q4_1.gguf"}),
            "gemma-4-31B-it-Q4_1.gguf | mmproj-BF16.gguf | ");
  EXPECT_EQ(model_for(kUnsloth, ""), "gemma-4-31B-it-Q4_K_M.gguf");
  EXPECT_EQ(chosen(kUnsloth, {.tag = {}, .file = "gemma-4-31B-it-BF16-00001-of-00002.gguf", .mmproj = false}),
            "BF16/gemma-4-31B-it-BF16-00001-of-00002.gguf+BF16/gemma-4-31B-it-BF16-00002-of-00002.gguf |  | ");
  EXPECT_EQ(chosen(kUnsloth, {.tag = {}, .file = "mmproj-F32.gguf"}), "mmproj-F32.gguf |  | ");
  const std::string two = chosen(listing({"a/x.gguf", "b/x.gguf"}), {.tag = {}, .file = "x.gguf"});
  EXPECT_NE(two.find("several files have this name: expected one of a/x.gguf, b/x.gguf"), std::string::npos) << two;
  EXPECT_NE(chosen(kGoogle, {.tag = {}, .file = "README.md"}).find("no such GGUF file"), std::string::npos);
}

TEST(Resolve, SafetensorsComeWithWhatBelongsToThem) {
  const std::string expected =
      "config.json+generation_config.json+tokenizer.json+tokenizer_config.json+chat_template.jinja+processor_config."
      "json"
      "+model.safetensors.index.json+model-00001-of-00002.safetensors+model-00002-of-00002.safetensors";
  EXPECT_EQ(model_for(kSafetensors, ""), expected);
  EXPECT_EQ(model_for(kSafetensors, "safetensors"), expected);
  std::vector<RepoFile> both = kSafetensors;
  both.push_back({"x-Q8_0.gguf", 1, std::string(64, '1')});
  EXPECT_EQ(model_for(both, "SafeTensors"), expected);
  EXPECT_EQ(model_for(both, ""), "x-Q8_0.gguf");
  std::vector<RepoFile> cut = kSafetensors;
  std::erase_if(cut, [](const RepoFile& file) { return file.path.starts_with("model-00001"); });
  EXPECT_NE(model_for(cut, "").find("no part 1"), std::string::npos) << model_for(cut, "");
  EXPECT_EQ(model_for(listing({"config.json", "model.safetensors", "model.safetensors.index.json"}), ""),
            "config.json+model.safetensors");
  for (const auto& none : {listing({}), listing({"config.json"}), listing({"model.safetensors"}),
                           listing({"config.json", "model.safetensors.index.json"}), listing({"mmproj-F16.gguf"})})
    EXPECT_NE(model_for(none, "").find("holds no model"), std::string::npos);
}

TEST(Resolve, AllModelsOfAListing) {
  std::vector<std::string> labels;
  for (const Selection& model : all_models(kGgmlOrg)) labels.push_back(model.label);
  EXPECT_EQ(labels, (std::vector<std::string>{"Q4_K_M", "Q8_0", "F16"}));
  EXPECT_EQ(all_models(kSafetensors).size(), 1u);
  EXPECT_TRUE(all_models(listing({"a-00001-of-00002.gguf", "config.json"})).empty());
}

TEST(QuantName, LabelsOfNames) {
  const std::pair<const char*, const char*> cases[] = {
      {"gemma-4-E2B-it-Q4_K_M.gguf", "Q4_K_M"},
      {"gemma-4-26B-A4B-it-UD-IQ2_XXS.gguf", "UD-IQ2_XXS"},
      {"model.f16.gguf", "F16"},
      {"BF16/model-00001-of-00003.gguf", "BF16"},
      {"a/Q8_0/b/model.gguf", "Q8_0"},
      {"x-MXFP4_MOE.gguf", "MXFP4_MOE"},
      {"x-NVFP4.gguf", "NVFP4"},
      {"x-TQ1_0.gguf", "TQ1_0"},
      {"gemma-4-E4B_q4_0-it.gguf", ""},
      {"gemma-3-270m.gguf", ""},
      {"Quick-Fox-FP.gguf", ""},
      {"x-Q4_K_M.GGUF", "Q4_K_M"},
  };
  for (const auto& [path, label] : cases) EXPECT_EQ(quant_label(path), label) << path;
}

TEST(QuantName, PartsOfSplitFiles) {
  const SplitName part = split_name("a/model-Q8_0-00002-of-00010.gguf", ".gguf");
  EXPECT_EQ(part.stem, "model-Q8_0");
  EXPECT_EQ(part.part, 2);
  EXPECT_EQ(part.count, 10);
  for (const char* whole :
       {"model.gguf", "model-00000-of-00002.gguf", "model-00003-of-00002.gguf", "-00001-of-00002.gguf",
        "model-0001-of-0002.gguf", "model-0000x-of-00002.gguf", "model_00001-of-00002.gguf"})
    EXPECT_EQ(split_name(whole, ".gguf").count, 1) << whole;
  EXPECT_EQ(quant_bits("Q4_K_M"), 4);
  EXPECT_EQ(quant_bits("BF16"), 16);
  EXPECT_EQ(quant_bits(""), std::nullopt);
}

}  // namespace
}  // namespace facet::hub
