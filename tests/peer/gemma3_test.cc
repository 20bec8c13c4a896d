// Gemma 3 270M, a trained model, through every form and both engines. Needs the model and the peer in the cache folder.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "convert/convert.h"
#include "engine/trace.h"
#include "peer/peer.h"
#include "tokenizer/tokenizer.h"

namespace facet::testing {
namespace {

namespace fs = std::filesystem;

constexpr size_t kTokens = 48;

class PeerGemma3 : public ::testing::Test {
 protected:
  void SetUp() override {
    FACET_PEER_OR_SKIP();
    model_ = cache_path("gemma-3-270m/gemma-3-270m-q4_k_m.gguf");
    if (!fs::exists(model_)) GTEST_SKIP() << "skipped: Gemma 3 270M is not in the cache folder: " << model_;
    FACET_SHARED_OR_SKIP(vectors, "golden/gemma3-270m/vectors.json");
    const Result<std::string> text = read_file(vectors, uint64_t{64} << 20);
    ASSERT_OK(text);
    const Result<Json> json = Json::parse(*text, vectors.string());
    ASSERT_OK(json);
    const Json& first = json->find("likelihood")->array()->front();
    for (const Json& id : *first.find("ids")->array())
      if (tokens_.size() < kTokens) tokens_.push_back(static_cast<Token>(*id.integer()));
    write_case();
  }
  fs::path path(const std::string& name) const { return folder_.path() / name; }

  // The tokens as a golden case without taps.
  void write_case() {
    const std::vector<int64_t> ids(tokens_.begin(), tokens_.end());
    const auto writer = formats::new_safetensors(path("case"), {{"text.input_ids", DType::i64, {kTokens}}});
    ASSERT_OK(writer);
    ASSERT_OK((*writer)->write(std::as_bytes(std::span(ids))));
    ASSERT_OK((*writer)->finish());
  }

  // The same file in both; our logits in float arithmetic.
  Distance compare(const fs::path& file) {
    engine::TraceOptions options;
    options.golden = path("case/model.safetensors");
    options.case_name = "text";
    options.skip = false;
    options.threads = 2;
    options.change_kernels = [](kernels::Table& table) { table.gelu_times = gelu_of_the_peer; };
    const Result<engine::TraceReport> report = engine::trace(file, options);
    EXPECT_OK(report);
    if (!report.ok()) return {.largest = INFINITY, .root_mean = INFINITY, .divergence = INFINITY};
    const engine::GoldenTensor& ours = report->ours.at("text.logits");
    const Distance found = distance(peer_logits(file, tokens_), ours.floats, static_cast<size_t>(ours.cols()));
    print(file, found);
    return found;
  }
  fs::path quantised(const fs::path& in, convert::FileType type) {
    const fs::path out = path(cat("own-", convert::info(type).name, ".gguf"));
    quantise(in, out, type, pool_);
    return out;
  }
  // A file of floats, by way of a folder.
  fs::path floats(DType type) {
    const fs::path back = path("folder"), out = path(cat(name(type), ".gguf"));
    if (!fs::exists(back)) EXPECT_OK(convert::convert(model_, back, {.type = DType::bf16}));
    EXPECT_OK(convert::convert(back, out, {.type = type}));
    return out;
  }

  fs::path model_;
  std::vector<Token> tokens_;
  TemporaryFolder folder_;
  ThreadPool pool_{2};
};

// The peer rounds what products read: to 11 bits for F16 and 8 for BF16, errors of 2^-12 and 2^-9; to int8 for block
// types, 1/127/√12 of the largest value of 32 or 256, which is 2 to 3 times the usual one, so 0.5 to 0.8 % of it.
// Errors of about seven products a layer add like random ones over 18 layers; twice that is allowed.
const double kWay = 2 * std::sqrt(7.0 * 18);

TEST_F(PeerGemma3, ThePublishedFileComputesTheSame) { EXPECT_LE(compare(model_).root_mean, kWay * 0.008); }

TEST_F(PeerGemma3, ConvertedAndQuantisedFilesComputeTheSame) {
  const fs::path exact = floats(DType::f32);
  EXPECT_LE(compare(exact).largest, 1e-3);
  EXPECT_LE(compare(floats(DType::f16)).root_mean, kWay / 4096);
  EXPECT_LE(compare(floats(DType::bf16)).root_mean, kWay / 512);
  using enum convert::FileType;
  for (const convert::FileType type : {q8_0, q4_0, q4_k_m, q6_k})
    EXPECT_LE(compare(quantised(exact, type)).root_mean, kWay * 0.008) << convert::info(type).name;
}

TEST_F(PeerGemma3, FilesOfItsQuantiserComputeTheSameHere) {
  const fs::path source = floats(DType::bf16);
  for (const char* type : {"Q8_0", "Q4_0", "Q4_K_M", "Q6_K"}) {
    const fs::path theirs = path(cat("theirs-", type, ".gguf"));
    run_peer("llama-quantize", {source.string(), theirs.string(), type, "2"});
    EXPECT_LE(compare(theirs).root_mean, kWay * 0.008) << type;
  }
}

// The vocabulary went through tokenizer.json and back: the peer cuts texts as it does with the published file, and as
// we do.
TEST_F(PeerGemma3, AConvertedVocabularyCutsTextsTheSame) {
  const std::string text =
      "Hello,  world!\n\n\tIt's 2026: naïve café, 日本語 \xF0\x9F\x98\x80 <start_of_turn>user x==y;";
  std::ofstream(path("text.txt")) << text;
  const auto ids = [&](const fs::path& file) {
    return run({peer_program("llama-tokenize").string(), "-m", file.string(), "-f", path("text.txt").string(), "--ids",
                "--log-disable"});
  };
  const fs::path converted = floats(DType::bf16);
  const Output published = ids(model_), own = ids(converted);
  ASSERT_EQ(own.status, 0) << own.text;
  EXPECT_EQ(own.text, published.text);
  const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(converted);
  ASSERT_OK(checkpoint);
  const Result<tokenizer::Tokenizer> tokenizer = tokenizer::Tokenizer::open(*checkpoint);
  ASSERT_OK(tokenizer);
  std::string ours;
  for (const Token token : tokenizer->encode(text, tokenizer::Markers::yes))
    ours += cat(ours.empty() ? "" : ", ", token);
  EXPECT_NE(own.text.find(ours), std::string::npos) << own.text << "\nours: " << ours;
}

}  // namespace
}  // namespace facet::testing
