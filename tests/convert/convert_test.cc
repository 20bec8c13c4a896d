// Whole conversions: what comes back is what went in, and what cannot be said is refused before anything is written.
#include "convert/convert.h"

#include <algorithm>
#include <cstring>
#include <fstream>

#include "base/strings.h"
#include "convert/folders.h"
#include "convert/metadata.h"
#include "support/paths.h"
#include "tokenizer/small_vocab.h"

namespace facet::convert {
namespace {

using namespace testing;
using facet::testing::shared_path;
using facet::testing::source_path;
using facet::testing::TemporaryFolder;
using formats::Checkpoint;

fs::path golden_texts() {
  const auto shared = shared_path("golden/text");
  return shared ? *shared : source_path("tests/golden/data/text");
}
fs::path golden_text(const char* name) { return source_path("tests/golden/data/text") / name; }

std::string code(const Result<Converted>& result) { return result.ok() ? "fine" : name(result.error().code); }

bool mentions(const Converted& converted, std::string_view words) {
  return std::ranges::any_of(converted.remarks, [&](const std::string& r) { return r.find(words) != r.npos; });
}

model::Config config_of(const fs::path& path) {
  const Result<Checkpoint> checkpoint = Checkpoint::open(path);
  EXPECT_OK(checkpoint);
  const Result<model::Config> config = read_any_config(*checkpoint);
  EXPECT_OK(config);
  return config.ok() ? *config : model::Config();
}

class Convert : public ::testing::Test {
 protected:
  fs::path path(const std::string& name) const { return folder_.path() / name; }
  // To a GGUF file and back, with the options.
  void expect_round_trip(const fs::path& in, const ConvertOptions& options = {}) {
    const std::string what = in.filename().string();
    const Result<Converted> there = convert(in, path("there.gguf"), options);
    ASSERT_OK(there);
    const Result<Converted> back = convert(there->files.front(), path("back"), options);
    ASSERT_OK(back);
    expect_same_tensors(read_model(in), read_model(path("back")), what);
    const model::Config before = config_of(in), after = config_of(path("back"));
    EXPECT_EQ(difference(before, after), "") << what;
    EXPECT_EQ(before.eos, after.eos) << what;
    EXPECT_EQ(before.bos, after.bos) << what;
    EXPECT_EQ(before.pad, after.pad) << what;
    EXPECT_EQ(before.suppress, after.suppress) << what;
    EXPECT_EQ(before.top_k, after.top_k) << what;
    EXPECT_FLOAT_EQ(static_cast<float>(before.temperature), static_cast<float>(after.temperature)) << what;
    EXPECT_FLOAT_EQ(static_cast<float>(before.top_p), static_cast<float>(after.top_p)) << what;
    fs::remove_all(path("back"));
    for (const fs::path& file : there->files) fs::remove(file);
  }
  bool is_empty() const { return fs::is_empty(folder_.path()); }

 private:
  TemporaryFolder folder_;
};

TEST_F(Convert, EveryShapeComesBackByteForByte) {
  int models = 0;
  for (const auto& entry : fs::directory_iterator(golden_texts())) {
    expect_round_trip(entry.path());
    ++models;
  }
  EXPECT_GE(models, 5);
}

TEST_F(Convert, PartsAndShardsComeBackToo) {
  expect_round_trip(golden_text("tiny-e"), {.split = {.max_bytes = 300'000}});
  expect_round_trip(golden_text("tiny-moe"), {.split = {.max_tensors = 20}});
}

TEST_F(Convert, BothSpellingsGiveTheSameFile) {
  for (const char* name : {"tiny-e", "tiny-moe"}) {
    StoredModel model = read_model(golden_text(name));
    const Result<std::string> flat = read_file(golden_text(name) / "config_flat.json", 1 << 20);
    ASSERT_OK(flat);
    model.config = *Json::parse(*flat, "flat");
    write_model(path("flat") / name, model);
    ASSERT_OK(convert(path("flat") / name, path("flat.gguf"), {.overwrite = Overwrite::yes}));
    ASSERT_OK(convert(golden_text(name), path("other.gguf"), {.overwrite = Overwrite::yes}));
    EXPECT_EQ(*read_file(path("flat.gguf"), 1 << 26), *read_file(path("other.gguf"), 1 << 26)) << name;
  }
}

// Published files hold keys for layers that share them, re-saved ones do not; neither uses them.
TEST_F(Convert, KeysOfSharedLayersGoAlongWhereTheyAre) {
  StoredModel model = read_model(golden_text("tiny-e"));
  const std::string layers = "model.language_model.layers.";
  for (const int layer : {3, 4, 5})
    for (const char* part : {"k_proj", "v_proj", "k_norm"}) {
      const std::string tail = cat(".self_attn.", part, ".weight");
      model.tensors[cat(layers, layer, tail)] = model.tensors.at(cat(layers, layer == 5 ? 2 : 1, tail));
    }
  write_model(path("published"), model);
  expect_round_trip(path("published"));
}

TEST_F(Convert, MatricesTakeTheTypeThatIsAskedFor) {
  for (const auto& [type, word] : {std::pair{DType::bf16, "BF16"}, std::pair{DType::f16, "F16"}}) {
    ASSERT_OK(convert(golden_text("tiny-moe"), path("m.gguf"), {.type = type, .overwrite = Overwrite::yes}));
    const StoredModel model = read_model(path("m.gguf"));
    EXPECT_EQ(model.tensors.at("token_embd.weight").type, type) << word;
    EXPECT_EQ(model.tensors.at("blk.0.ffn_gate_up_exps.weight").type, type);
    EXPECT_EQ(model.tensors.at("blk.0.ffn_gate_inp.weight").type, DType::f32);
    EXPECT_EQ(model.tensors.at("blk.0.attn_norm.weight").type, DType::f32);
    EXPECT_EQ(model.tensors.at("rope_freqs.weight").type, DType::f32);
    const Checkpoint checkpoint = *Checkpoint::open(path("m.gguf"));
    EXPECT_EQ(*checkpoint.metadata().integer("general.file_type").value(), type == DType::bf16 ? 32 : 1);
    EXPECT_EQ(*checkpoint.metadata().integer("general.quantization_version").value(), 2);
  }
  ASSERT_OK(convert(golden_text("tiny-e"), path("e.gguf"), {.type = DType::f16}));
  EXPECT_EQ(read_model(path("e.gguf")).tensors.at("per_layer_model_proj.weight").type, DType::bf16);
}

TEST_F(Convert, QuantisedFilesBecomeBf16OrWhatIsAskedFor) {
  const fs::path in = source_path("tests/golden/data/gguf/moe-micro-q4_k_m.gguf");
  ASSERT_OK(convert(in, path("bf16"), {}));
  ASSERT_OK(convert(in, path("f32"), {.type = DType::f32}));
  const StoredModel half = read_model(path("bf16")), full = read_model(path("f32"));
  EXPECT_EQ(half.tensors.size(), full.tensors.size());
  for (const auto& [name, tensor] : full.tensors) EXPECT_EQ(tensor.type, DType::f32) << name;
  EXPECT_EQ(half.tensors.at("model.layers.0.experts.gate_up_proj").type, DType::bf16);
  EXPECT_EQ(*full.config.find("dtype"), Json("float32"));
  EXPECT_EQ(*half.config.find("dtype"), Json("bfloat16"));
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"})
    EXPECT_TRUE(fs::exists(path("bf16") / file)) << file;
}

Json gemma3_config() {
  return *Json::parse(R"({"model_type": "gemma3_text", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24,
    "num_hidden_layers": 7, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 6,
    "query_pre_attn_scalar": 8, "max_position_embeddings": 64, "rope_theta": 1e6, "rope_local_base_freq": 1e4,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "eos_token_id": [1, 106], "bos_token_id": 2,
    "tie_word_embeddings": false})",
                      "test");
}

TEST_F(Convert, NormsOfGemma3AreShiftedAndShiftedBack) {
  Json config = gemma3_config();
  config.set("eos_token_id", Json::Array{1, 6, 9});
  const StoredModel model = random_model(config);
  write_model(path("g3"), model);
  ASSERT_OK(convert(path("g3"), path("g3.gguf"), {}));
  const StoredModel file = read_model(path("g3.gguf"));
  const StoredTensor& norm = file.tensors.at("blk.0.attn_norm.weight");
  const StoredTensor& before = model.tensors.at("model.layers.0.input_layernorm.weight");
  ASSERT_EQ(norm.type, DType::f32);
  for (size_t i = 0; i < 16; ++i) {
    float shifted = 0;
    uint16_t stored = 0;
    std::memcpy(&shifted, norm.bytes.data() + 4 * i, 4);
    std::memcpy(&stored, before.bytes.data() + 2 * i, 2);
    EXPECT_EQ(shifted, 1 + bf16_to_float(stored));
  }
  EXPECT_TRUE(file.tensors.contains("output.weight"));
  EXPECT_FALSE(file.tensors.contains("rope_freqs.weight"));
  fs::remove(path("g3.gguf"));
  expect_round_trip(path("g3"));
}

// The spelling of community files of drafters.
TEST_F(Convert, DraftersOfEitherDialectComeBack) {
  FACET_SHARED_OR_SKIP(texts, "golden/text");
  for (const char* name : {"tiny-assistant-centroid", "tiny-assistant-dense"}) {
    ASSERT_OK(convert(texts / name, path("d.gguf"), {.overwrite = Overwrite::yes}));
    const Checkpoint upstream = *Checkpoint::open(path("d.gguf"));
    EXPECT_TRUE(upstream.find("nextn.pre_projection.weight") != nullptr);
    formats::GgufPairs pairs;
    for (const auto& [key, value] : upstream.metadata().all()) {
      std::string renamed(key);
      if (key.starts_with("gemma4-assistant.")) renamed[6] = '_';
      if (key.ends_with("embedding_length_out")) renamed = "gemma4_assistant.n_embd_backbone";
      pairs.set(renamed, value);
    }
    pairs.set("general.architecture", "gemma4_assistant");
    std::vector<formats::NewTensor> tensors;
    for (const formats::TensorInfo& tensor : upstream.tensors()) {
      std::string renamed = tensor.name;
      if (renamed.starts_with("nextn.")) renamed.replace(0, 5, "mtp");
      if (renamed == "masked_embd_centroids.weight") renamed = "mtp.centroids.weight";
      if (renamed == "masked_embd_ordering") renamed = "mtp.token_ordering";
      tensors.push_back({renamed, tensor.type, tensor.shape});
    }
    const auto writer = formats::new_gguf(path("dialect.gguf"), pairs, tensors);
    ASSERT_OK(writer);
    for (const formats::TensorInfo& tensor : upstream.tensors()) ASSERT_OK((*writer)->write(upstream.bytes(tensor)));
    ASSERT_OK((*writer)->finish());
    ASSERT_OK(convert(path("dialect.gguf"), path("back"), {.overwrite = Overwrite::yes}));
    expect_same_tensors(read_model(texts / name), read_model(path("back")), name);
    EXPECT_EQ(difference(config_of(texts / name), config_of(path("back"))), "");
  }
}

// One expert after the other, as some exports have them, and gate and up apart, as older GGUF files do.
TEST_F(Convert, ExpertsAreJoinedHoweverTheyWereStored) {
  const StoredModel fused = read_model(golden_text("tiny-moe"));
  StoredModel single = fused;
  const auto expert = [](const StoredTensor& all, int64_t e, int64_t first, int64_t rows) {
    const int64_t row = all.shape[2] * info(all.type).bytes, begin = (e * all.shape[1] + first) * row;
    return StoredTensor{
        all.type, {rows, all.shape[2]}, {all.bytes.begin() + begin, all.bytes.begin() + begin + rows * row}};
  };
  for (const auto& [name, tensor] : fused.tensors) {
    if (name.find(".experts.") == name.npos) continue;
    const std::string stem = name.substr(0, name.rfind('.') + 1);
    const bool down = name.ends_with("down_proj");
    const int64_t rows = down ? tensor.shape[1] : tensor.shape[1] / 2;
    for (int64_t e = 0; e < tensor.shape[0]; ++e) {
      single.tensors[cat(stem, e, down ? ".down_proj.weight" : ".gate_proj.weight")] = expert(tensor, e, 0, rows);
      if (!down) single.tensors[cat(stem, e, ".up_proj.weight")] = expert(tensor, e, rows, rows);
    }
    single.tensors.erase(name);
  }
  write_model(path("a/tiny-moe"), single);
  ASSERT_OK(convert(path("a/tiny-moe"), path("single.gguf"), {}));
  ASSERT_OK(convert(golden_text("tiny-moe"), path("fused.gguf"), {}));
  EXPECT_EQ(*read_file(path("single.gguf"), 1 << 26), *read_file(path("fused.gguf"), 1 << 26));
}

TEST_F(Convert, GateAndUpThatAreApartAreJoined) {
  ASSERT_OK(convert(golden_text("tiny-moe"), path("fused.gguf"), {}));
  const Checkpoint fused = *Checkpoint::open(path("fused.gguf"));
  formats::GgufPairs pairs;
  pairs.copy(fused.metadata());
  std::vector<formats::NewTensor> tensors;
  std::vector<std::vector<std::byte>> data;
  for (const formats::TensorInfo& tensor : fused.tensors()) {
    const Bytes bytes = fused.bytes(tensor);
    const size_t at = tensor.name.find("gate_up_exps");
    if (at == tensor.name.npos) {
      tensors.push_back({tensor.name, tensor.type, tensor.shape});
      data.emplace_back(bytes.begin(), bytes.end());
      continue;
    }
    const size_t half = bytes.size() / static_cast<size_t>(tensor.shape[0]) / 2;
    for (const size_t part : {0, 1}) {
      std::string half_name = tensor.name;
      half_name.replace(at, std::strlen("gate_up"), part == 0 ? "gate" : "up");
      tensors.push_back({half_name, tensor.type, {tensor.shape[0], tensor.shape[1] / 2, tensor.shape[2]}});
      std::vector<std::byte>& own = data.emplace_back();
      for (size_t e = 0; e < static_cast<size_t>(tensor.shape[0]); ++e) {
        const Bytes rows = bytes.subspan((2 * e + part) * half, half);
        own.insert(own.end(), rows.begin(), rows.end());
      }
    }
  }
  const auto writer = formats::new_gguf(path("apart.gguf"), pairs, tensors);
  ASSERT_OK(writer);
  for (const auto& bytes : data) ASSERT_OK((*writer)->write(bytes));
  ASSERT_OK((*writer)->finish());
  ASSERT_OK(convert(path("apart.gguf"), path("back"), {}));
  expect_same_tensors(read_model(golden_text("tiny-moe")), read_model(path("back")), "apart");
}

TEST_F(Convert, TowersAndHeadsThatAreTiedAreLeftOutAndNamed) {
  StoredModel model = read_model(golden_text("tiny-e"));
  const StoredTensor some{DType::f32, {1}, std::vector<std::byte>(4)};
  model.tensors["model.vision_tower.patch_embedder.weight"] = some;
  model.tensors["model.vision_tower.encoder.weight"] = some;
  model.tensors["model.embed_audio.weight"] = some;
  model.tensors["lm_head.weight"] = model.tensors.at("model.language_model.embed_tokens.weight");
  write_model(path("m"), model);
  const Result<Converted> converted = convert(path("m"), path("m.gguf"), {});
  ASSERT_OK(converted);
  EXPECT_TRUE(mentions(*converted, "2 tensors of model.vision_tower"));
  EXPECT_TRUE(mentions(*converted, "1 tensors of model.embed_audio"));
  EXPECT_TRUE(mentions(*converted, "lm_head.weight"));
  EXPECT_TRUE(mentions(*converted, "without a vocabulary"));
}

// llama.cpp reads such files only if they say so.
TEST_F(Convert, AMissingVocabularyIsSaidInTheFile) {
  for (const char* name : {"tiny-e", "tiny-moe"}) {
    ASSERT_OK(convert(golden_text(name), path("m.gguf"), {.overwrite = Overwrite::yes}));
    const Result<formats::Checkpoint> file = formats::Checkpoint::open(path("m.gguf"));
    ASSERT_OK(file);
    EXPECT_EQ(*file->metadata().string("tokenizer.ggml.model"), "none") << name;
    const Result<Converted> back = convert(path("m.gguf"), path(name), {});
    ASSERT_OK(back);
    EXPECT_TRUE(mentions(*back, "without tokenizer.json")) << name;
  }
}

TEST_F(Convert, WrongTensorsAreRefusedBeforeAnythingIsWritten) {
  const StoredModel good = read_model(golden_text("tiny-e"));
  const auto refused = [&](auto change, std::string_view words) {
    StoredModel model = good;
    change(model.tensors);
    write_model(path("in"), model);
    const Result<Converted> result = convert(path("in"), path("out.gguf"), {});
    fs::remove_all(path("in"));
    ASSERT_FALSE(result.ok()) << words;
    EXPECT_NE(result.error().message().find(words), std::string::npos) << result.error().message();
    EXPECT_TRUE(is_empty());
  };
  using Tensors = std::map<std::string, StoredTensor>;
  const std::string query = "model.language_model.layers.1.self_attn.q_proj.weight";
  refused([&](Tensors& tensors) { tensors.erase(query); }, "tensor is missing");
  refused([&](Tensors& tensors) { std::swap(tensors.at(query).shape[0], tensors.at(query).shape[1]); },
          "tensor has the wrong shape");
  refused([&](Tensors& tensors) { tensors.at(query).type = DType::i32; }, "type that is not converted");
  refused([&](Tensors& tensors) { tensors["model.language_model.layers.1.extra.weight"] = tensors.at(query); },
          "not part of this architecture");
  const auto too_large = [&](Tensors& tensors) {
    const float value = 1e6f;
    std::memcpy(tensors.at(query).bytes.data(), &value, sizeof value);
  };
  StoredModel large = good;
  too_large(large.tensors);
  write_model(path("in"), large);
  const Result<Converted> half = convert(path("in"), path("out.gguf"), {.type = DType::f16});
  ASSERT_FALSE(half.ok());
  EXPECT_NE(half.error().message().find("too large for F16"), std::string::npos) << half.error().message();
  EXPECT_FALSE(fs::exists(path("out.gguf")));
}

TEST_F(Convert, DirectionFollowsFromTheNames) {
  EXPECT_EQ(code(convert(golden_text("tiny-e"), path("folder"), {})), "invalid argument");
  EXPECT_EQ(code(convert(source_path("tests/golden/data/gguf/nano-q4_0.gguf"), path("x.gguf"), {})),
            "invalid argument");
  EXPECT_EQ(code(convert(path("none"), path("x.gguf"), {})), "not found");
  EXPECT_TRUE(is_empty());
}

TEST_F(Convert, ReplacesOnlyWhereAskedAndLeavesNoOlderShards) {
  ASSERT_OK(convert(golden_text("tiny-e"), path("e.gguf"), {}));
  EXPECT_EQ(code(convert(golden_text("tiny-e"), path("e.gguf"), {})), "invalid argument");
  ASSERT_OK(convert(path("e.gguf"), path("out"), {.split = {.max_tensors = 30}}));
  EXPECT_TRUE(fs::exists(path("out") / "model.safetensors.index.json"));
  std::ofstream(path("out") / "notes.txt") << "mine";
  std::ofstream(path("out") / "tokenizer.json") << "of an older model";
  EXPECT_EQ(code(convert(path("e.gguf"), path("out"), {})), "invalid argument");
  ASSERT_OK(convert(path("e.gguf"), path("out"), {.overwrite = Overwrite::yes}));
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(path("out"))) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  EXPECT_EQ(names,
            (std::vector<std::string>{"config.json", "generation_config.json", "model.safetensors", "notes.txt"}));
}

class Impatient : public Progress {
 public:
  bool update(std::string_view, int64_t done, int64_t total) override { return done < total / 2; }
};

TEST_F(Convert, StoppedWorkLeavesNothing) {
  ASSERT_OK(convert(golden_text("tiny-e"), path("e.gguf"), {}));
  Impatient progress;
  EXPECT_EQ(code(convert(path("e.gguf"), path("out"), {.split = {.max_tensors = 30}, .progress = &progress})),
            "cancelled");
  EXPECT_FALSE(fs::exists(path("out")));
  fs::remove(path("e.gguf"));
  EXPECT_EQ(code(convert(golden_text("tiny-e"), path("e.gguf"), {.progress = &progress})), "cancelled");
  EXPECT_TRUE(is_empty());
}

// Older folders keep the chat template among the settings of the tokenizer, some as a list.
TEST_F(Convert, VocabularyTemplateAndNameGoAlong) {
  const auto vocab = tokenizer::testing::words();
  Json config = gemma3_config();
  config.set("vocab_size", static_cast<int64_t>(vocab.strings().size()));
  config.set("eos_token_id", 1);
  const StoredModel model = random_model(config);
  const fs::path snapshot = path("models--some--fine-tune") / "snapshots" / "0123abcd";
  write_model(snapshot, model);
  ASSERT_OK(write_file_atomic(snapshot / "tokenizer.json", as_bytes(vocab.json().dump())));
  const auto settings = [&](std::string_view text) {
    ASSERT_OK(write_file_atomic(snapshot / "tokenizer_config.json", as_bytes(text)));
  };
  const auto converted = [&] {
    EXPECT_OK(convert(snapshot, path("m.gguf"), {.overwrite = Overwrite::yes}));
    return *Checkpoint::open(path("m.gguf"));
  };
  settings(R"({"chat_template": "one {{ x }}", "add_bos_token": false})");
  EXPECT_EQ(*converted().metadata().string("tokenizer.chat_template").value(), "one {{ x }}");
  EXPECT_EQ(*converted().metadata().boolean("tokenizer.ggml.add_bos_token").value(), false);
  EXPECT_EQ(*converted().metadata().string("general.name").value(), "fine-tune");
  settings(R"({"chat_template": [{"name": "tools", "template": "t"}, {"name": "default", "template": "two"}]})");
  EXPECT_EQ(*converted().metadata().string("tokenizer.chat_template").value(), "two");
  ASSERT_OK(write_file_atomic(snapshot / "chat_template.jinja", as_bytes("three")));
  const Checkpoint file = converted();
  EXPECT_EQ(*file.metadata().string("tokenizer.chat_template").value(), "three");
  EXPECT_EQ(file.metadata().find("gemma3.vocab_size"), nullptr);

  ASSERT_OK(convert(path("m.gguf"), path("back"), {}));
  EXPECT_EQ(*read_file(path("back") / "chat_template.jinja", 100), "three");
  const auto first = tokenizer::Tokenizer::from_json_file(snapshot / "tokenizer.json"),
             second = tokenizer::Tokenizer::from_json_file(path("back") / "tokenizer.json");
  ASSERT_OK(second);
  const std::string text = "hello world <|turn> abcabc";
  EXPECT_EQ(first->encode(text, tokenizer::Markers::yes), second->encode(text, tokenizer::Markers::yes));
  expect_same_tensors(model, read_model(path("back")), "with a vocabulary");
}

TEST_F(Convert, VocabulariesThatDoNotOpenAreRefused) {
  Json config = gemma3_config();
  config.set("eos_token_id", 1);
  write_model(path("m"), random_model(config));
  const auto refused = [&](std::string_view text) {
    EXPECT_OK(write_file_atomic(path("m") / "tokenizer.json", as_bytes(text)));
    return code(convert(path("m"), path("m.gguf"), {}));
  };
  EXPECT_EQ(refused("{"), "corrupt");
  EXPECT_EQ(refused(tokenizer::testing::words().json().dump()), "corrupt");  // more tokens than the table
  EXPECT_EQ(refused(R"({"model": {"type": "Unigram", "vocab": []}})"), "unsupported");
  EXPECT_EQ(refused(R"({"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}, "model":
      {"type": "BPE", "byte_fallback": true, "vocab": {"a": 0}, "merges": []}})"),
            "unsupported");  // no byte tokens
  EXPECT_FALSE(fs::exists(path("m.gguf")));
}

TEST_F(Convert, SamplingAndSuppressedTokensGoAlong) {
  StoredModel model = read_model(golden_text("tiny-unified"));
  model.generation_config = *Json::parse(R"({"bos_token_id": 2, "eos_token_id": [1, 106, 50], "pad_token_id": 0,
      "do_sample": true, "temperature": 1.0, "top_k": 64, "top_p": 0.95, "repetition_penalty": 1.1, "suppress_tokens": [105, 104]})",
                                         "test");
  write_model(path("m"), model);
  expect_round_trip(path("m"));
  ASSERT_OK(convert(path("m"), path("m.gguf"), {}));
  const Checkpoint checkpoint = *Checkpoint::open(path("m.gguf"));
  EXPECT_EQ(*checkpoint.metadata().integer("general.sampling.top_k").value(), 64);
  EXPECT_EQ(*checkpoint.metadata().number("general.sampling.penalty_repeat").value(), double{1.1f});
  EXPECT_EQ(checkpoint.metadata().find("tokenizer.ggml.suppress_tokens")->integers(), (std::vector<int64_t>{105, 104}));
  ASSERT_OK(convert(path("m.gguf"), path("back"), {}));
  EXPECT_EQ(*read_model(path("back")).generation_config.find("top_p"), Json(0.95));
  EXPECT_EQ(*read_model(path("back")).generation_config.find("repetition_penalty"), Json(1.1));
}

}  // namespace
}  // namespace facet::convert
