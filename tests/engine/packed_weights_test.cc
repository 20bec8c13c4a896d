// Packed weights on disk: the second start maps what the first one kept, with the same bits; whatever is wrong with a
// pack or its folder costs a note, not the model.
#include "engine/packed_weights.h"

#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

#include "base/strings.h"
#include "engine/load_gemma.h"
#include "facet/engine.h"
#include "support/checkpoint_builder.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet {
namespace {

namespace fs = std::filesystem;

fs::path golden(const std::string& name) { return testing::source_path("tests/golden/data") / name; }

// All logits of a pass, one row after the other.
class Logits : public ResultSink {
 public:
  void logits(int32_t, std::span<const float> values) override { all.insert(all.end(), values.begin(), values.end()); }
  void hidden(int32_t, std::span<const float>) override {}
  void logprob(int32_t, float) override {}
  std::vector<float> all;
};

struct Model {
  std::unique_ptr<engine::ModelFiles> files;
  std::unique_ptr<ThreadPool> pool;
  engine::LoadedGemma loaded;

  const PackUse& use() const { return loaded.packed.use(); }
  std::vector<float> logits() {
    constexpr int32_t kRows = 40;
    std::vector<Token> tokens;
    std::vector<int32_t> positions;
    std::vector<OutputRow> outputs;
    for (int32_t i = 0; i < kRows; ++i) {
      tokens.push_back((i * 7 + 3) % 40);
      positions.push_back(i);
      outputs.push_back({.row = i});
    }
    const Result<SeqId> id = loaded.model->create_sequence();
    EXPECT_OK(id);
    const SeqRange range{.sequence = *id, .first_row = 0, .rows = kRows};
    Logits sink;
    EXPECT_OK(loaded.model->forward({.tokens = tokens,
                                     .positions = positions,
                                     .sequences = {&range, 1},
                                     .soft = {},
                                     .bidirectional = {},
                                     .outputs = outputs,
                                     .skip = Skip::on},
                                    sink));
    loaded.model->release(*id);
    return std::move(sink.all);
  }
};

class PackedWeightsTest : public ::testing::Test {
 protected:
  LoadOptions options() const {
    LoadOptions made;
    made.context = 256;
    made.threads = 2;
    made.pack_folder = (folder_.path() / "packed").string();
    made.pack_bytes_min = 1;
    return made;
  }
  static Model load(const fs::path& path, const LoadOptions& options) {
    Model model;
    Result<std::unique_ptr<engine::ModelFiles>> files =
        engine::ModelFiles::open(path.string(), engine::Vocabulary::optional);
    if (!files.ok()) ADD_FAILURE() << files.error().message(), std::abort();
    model.files = *std::move(files);
    model.pool = std::make_unique<ThreadPool>(options.threads);
    Result<engine::LoadedGemma> loaded = engine::load_gemma(*model.files, options, *model.pool);
    if (!loaded.ok()) ADD_FAILURE() << loaded.error().message(), std::abort();
    model.loaded = *std::move(loaded);
    return model;
  }
  static bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return !a.empty() && a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }
  std::vector<fs::path> packs() const {
    std::vector<fs::path> all;
    std::error_code absent;
    for (const auto& entry : fs::directory_iterator(folder_.path() / "packed", absent)) all.push_back(entry.path());
    return all;
  }
  // A copy of a model that has been there for long enough to be kept.
  fs::path settled_copy() const {
    const fs::path copy = folder_.path() / "copy.gguf";
    fs::copy_file(golden("gguf/nano-q4_0.gguf"), copy);
    wait();
    return copy;
  }
  static void wait() { std::this_thread::sleep_for(std::chrono::milliseconds(2100)); }

  testing::TemporaryFolder folder_;
};

TEST_F(PackedWeightsTest, MappedWeightsGiveTheSameBits) {
  const fs::path models[] = {golden("gguf/nano-q4_0.gguf"), golden("gguf/moe-micro-q4_k_m.gguf"), golden("text/tiny-e"),
                             golden("text/tiny-moe"), golden("text/tiny-unified")};
  for (const fs::path& model : models) {
    for (const bool exact : {false, true}) {
      SCOPED_TRACE(cat(model, exact ? " exact" : ""));
      LoadOptions load_options = options();
      load_options.exact = exact;
      fs::remove_all(load_options.pack_folder);
      LoadOptions without = load_options;
      without.pack_folder.clear();
      Model plain = load(model, without);
      EXPECT_EQ(plain.use().file, "");
      Model first = load(model, load_options);
      EXPECT_GT(first.use().written_bytes, 0);
      EXPECT_EQ(first.use().problem, "");
      ASSERT_EQ(packs().size(), 1u);
      Model second = load(model, load_options);
      EXPECT_EQ(second.use().written_bytes, 0);
      EXPECT_EQ(second.use().file, packs().front().string());
      EXPECT_EQ(second.loaded.model->packed_bytes(), plain.loaded.model->packed_bytes());
      const std::vector<float> expected = plain.logits();
      EXPECT_TRUE(same_bits(first.logits(), expected));
      EXPECT_TRUE(same_bits(second.logits(), expected));
    }
  }
}

TEST_F(PackedWeightsTest, WeightsQuantisedAtLoadHaveAPackOfTheirOwn) {
  const fs::path model = golden("text/tiny-unified");
  LoadOptions quantised = options();
  quantised.quant = "Q8_0";
  const Model plain = load(model, options());
  Model first = load(model, quantised);
  EXPECT_GT(first.use().written_bytes, 0);
  EXPECT_NE(first.use().file, plain.use().file);
  Model second = load(model, quantised);
  EXPECT_EQ(second.use().written_bytes, 0);
  EXPECT_EQ(second.use().file, first.use().file);
  EXPECT_TRUE(same_bits(first.logits(), second.logits()));
  quantised.quant = "Q4_0";
  EXPECT_NE(load(model, quantised).use().file, first.use().file);
}

TEST_F(PackedWeightsTest, ADamagedPackIsWrittenAnew) {
  const fs::path model = golden("gguf/nano-q4_0.gguf");
  Model first = load(model, options());
  const std::vector<float> expected = first.logits();
  const fs::path pack = first.use().file;
  const std::string whole = *read_file(pack, 1 << 30);
  for (const size_t length : {size_t{0}, size_t{20}, whole.size() - 1}) {
    testing::write_bytes(pack, as_bytes(std::string_view(whole).substr(0, length)));
    Model repaired = load(model, options());
    EXPECT_NE(repaired.use().problem, "") << length;
    EXPECT_GT(repaired.use().written_bytes, 0) << length;
    EXPECT_TRUE(same_bits(repaired.logits(), expected)) << length;
    EXPECT_EQ(*read_file(pack, 1 << 30), whole) << length;
    EXPECT_EQ(load(model, options()).use().problem, "") << length;
  }
}

TEST_F(PackedWeightsTest, AChangedModelIsPackedAnew) {
  const fs::path model = settled_copy();
  Model before = load(model, options());
  ASSERT_GT(before.use().written_bytes, 0);
  // One byte in the middle of the weights; size and time of modification stay.
  const fs::file_time_type modified = fs::last_write_time(model);
  const auto middle = static_cast<std::streamoff>(fs::file_size(model) / 2 + 5000);
  std::fstream(model, std::ios::in | std::ios::out | std::ios::binary).seekp(middle).put('\x55');
  fs::last_write_time(model, modified);
  Model changed = load(model, options());
  EXPECT_EQ(changed.use().file, "");  // changed a moment ago: neither mapped nor kept
  LoadOptions without = options();
  without.pack_folder.clear();
  Model fresh = load(model, without);
  EXPECT_TRUE(same_bits(changed.logits(), fresh.logits()));
  EXPECT_FALSE(same_bits(changed.logits(), before.logits()));
  wait();
  Model kept = load(model, options());
  EXPECT_GT(kept.use().written_bytes, 0);
  EXPECT_NE(kept.use().file, before.use().file);
  EXPECT_TRUE(same_bits(kept.logits(), fresh.logits()));
}

TEST_F(PackedWeightsTest, AFolderThatCannotBeWrittenIsANote) {
  testing::write_bytes(folder_.path() / "file", {});
  LoadOptions load_options = options();
  load_options.pack_folder = (folder_.path() / "file" / "packed").string();
  Model engine = load(golden("gguf/nano-q4_0.gguf"), load_options);
  EXPECT_NE(engine.use().problem, "");
  EXPECT_EQ(engine.use().written_bytes, 0);
  EXPECT_FALSE(engine.logits().empty());
}

TEST_F(PackedWeightsTest, SizesAreKept) {
  LoadOptions small = options();
  small.pack_bytes_max = 100;
  const Model engine = load(golden("gguf/nano-q4_0.gguf"), small);
  EXPECT_NE(engine.use().problem.find("larger than the cache"), std::string::npos) << engine.use().problem;
  LoadOptions large = options();
  large.pack_bytes_min = int64_t{1} << 40;
  EXPECT_EQ(load(golden("gguf/nano-q4_0.gguf"), large).use().problem, "");
  EXPECT_TRUE(packs().empty());
}

TEST_F(PackedWeightsTest, AnEngineTellsOfItsPack) {
  const std::string model = golden("gguf/nano-q4_0.gguf").string();
  const Result<Engine> first = Engine::load(model, options()), second = Engine::load(model, options());
  ASSERT_OK(first);
  ASSERT_OK(second);
  EXPECT_GT(first->info().pack.written_bytes, 0);
  EXPECT_EQ(second->info().pack.written_bytes, 0);
  EXPECT_EQ(second->info().pack.file, first->info().pack.file);
  EXPECT_EQ(second->info().packed_bytes, first->info().packed_bytes);
}

TEST_F(PackedWeightsTest, StoppingWhileAPackIsWrittenStopsLoading) {
  LoadOptions stopped = options();
  stopped.progress = [](std::string_view phase, int64_t, int64_t) { return phase == "packing weights"; };
  const Result<Engine> engine = Engine::load(golden("gguf/nano-q4_0.gguf").string(), stopped);
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().code, ErrorCode::cancelled);
  EXPECT_TRUE(packs().empty());
}

TEST_F(PackedWeightsTest, PuppetsHaveNone) {
  const fs::path script = folder_.path() / "puppet.json";
  std::ofstream(script) << cat(R"({"puppet": 1, "vocabulary": ")", golden("gguf/nano-q4_0.gguf"),
                               R"(", "answers": []})");
  const Result<Engine> engine = Engine::load(cat("puppet:", script), options());
  ASSERT_OK(engine);
  EXPECT_EQ(engine->info().pack.file, "");
  EXPECT_TRUE(packs().empty());
}

}  // namespace
}  // namespace facet
