// Quantising files. What the quantisers do to rows: tests/kernels/quantize_test.cc; which types: recipes_test.cc.
#include "convert/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/strings.h"
#include "formats/requantize.h"
#include "support/expect.h"
#include "support/paths.h"

namespace facet::convert {
namespace {

namespace fs = std::filesystem;
using formats::Checkpoint;
using formats::TensorInfo;

class QuantizeFile : public ::testing::Test {
 protected:
  static Checkpoint open(const fs::path& path) {
    Result<Checkpoint> checkpoint = Checkpoint::open(path);
    EXPECT_OK(checkpoint);
    return *std::move(checkpoint);
  }
  static Checkpoint golden(const char* name) {
    return open(facet::testing::source_path(cat("tests/golden/data/gguf/", name)));
  }
  fs::path path(const char* name) const { return folder_.path() / name; }

  Result<QuantizeReport> run(const Checkpoint& in, const char* out, QuantizeOptions options, int threads = 2) {
    ThreadPool pool(threads);
    return quantize(in, path(out), options, pool);
  }
  // The golden as a file of floats.
  Checkpoint floats(const char* name) {
    if (!fs::exists(path("floats.gguf"))) {
      EXPECT_OK(run(golden(name), "floats.gguf", {.recipe = {.file = FileType::f32}, .allow_requantize = true}));
    }
    return open(path("floats.gguf"));
  }
  static std::vector<float> values(const Checkpoint& checkpoint, const TensorInfo& tensor) {
    std::vector<float> out(static_cast<size_t>(tensor.elements()));
    kernels::dequantize(tensor.type, out.data(), checkpoint.bytes(tensor).data(), tensor.elements());
    return out;
  }

  facet::testing::TemporaryFolder folder_;
};

TEST_F(QuantizeFile, EveryTypeIsWrittenAsPlannedAndReadsBack) {
  const Checkpoint in = floats("moe-micro-q4_k_m.gguf");
  for (const FileTypeInfo& type : file_types()) {
    if (type.type == FileType::q2_k_s) continue;
    QuantizeOptions options{.recipe = {.file = type.type}, .overwrite = Overwrite::yes};
    const Result<QuantizeReport> report = run(in, "out.gguf", options);
    ASSERT_OK(report);
    const Checkpoint out = open(path("out.gguf"));
    ASSERT_EQ(out.tensors().size(), in.tensors().size()) << type.name;
    const std::vector<ChosenType> plan = *plan_types(in.tensors(), *model::read_config(in), options);
    int64_t bytes = 0;
    for (size_t i = 0; i < plan.size(); ++i) {
      EXPECT_EQ(out.tensors()[i].name, in.tensors()[i].name);
      EXPECT_EQ(out.tensors()[i].type, plan[i].type) << type.name << ' ' << in.tensors()[i].name;
      bytes += out.tensors()[i].bytes;
    }
    EXPECT_EQ(report->bytes_after, bytes);
    EXPECT_EQ(*out.metadata().integer("general.file_type").value(), static_cast<int64_t>(type.type));
    EXPECT_EQ(out.metadata().find("tokenizer.ggml.tokens")->count, in.metadata().find("tokenizer.ggml.tokens")->count);
    EXPECT_OK(model::read_config(out));
  }
}

TEST_F(QuantizeFile, BytesDoNotDependOnThreads) {
  const Checkpoint in = floats("moe-micro-q4_k_m.gguf");
  std::string first;
  for (const int threads : {1, 2, 3}) {
    ASSERT_OK(run(in, "out.gguf", {.recipe = {.file = FileType::q4_k_m}, .overwrite = Overwrite::yes}, threads));
    const std::string bytes = *read_file(path("out.gguf"), 1 << 26);
    if (first.empty()) first = bytes;
    EXPECT_EQ(bytes, first) << threads;
  }
}

TEST_F(QuantizeFile, WhatWasTrainedOnTheGridOfQ4_0KeepsItsValues) {
  const Checkpoint original = golden("nano-q4_0.gguf"), in = floats("nano-q4_0.gguf");
  const Result<QuantizeReport> report = run(in, "out.gguf", {.recipe = {.file = FileType::q4_0, .pure = true}});
  ASSERT_OK(report);
  const Checkpoint out = open(path("out.gguf"));
  double error = 0, size = 0;
  for (const TensorInfo& tensor : original.tensors()) {
    if (tensor.type != DType::q4_0) continue;
    const std::vector<float> before = values(original, tensor), after = values(out, *out.find(tensor.name));
    for (size_t i = 0; i < before.size(); ++i) {
      error += std::pow(static_cast<double>(before[i] - after[i]), 2);
      size += std::pow(static_cast<double>(before[i]), 2);
    }
  }
  EXPECT_LT(std::sqrt(error / size), 1e-3);
  ASSERT_FALSE(report->remarks.empty());
  EXPECT_NE(report->remarks.front().find("grid of Q4_0"), std::string::npos);
}

TEST_F(QuantizeFile, ImportanceIsUsedAndNamed) {
  const Checkpoint in = floats("moe-micro-q4_k_m.gguf");
  formats::ImportanceMatrix importance;
  importance.datasets = {"wiki.txt"};
  importance.chunk_count = 4;
  for (const char* name : {"blk.0.attn_q.weight", "blk.0.ffn_gate_up_exps.weight"}) {
    const TensorInfo& tensor = *in.find(name);
    const size_t groups = tensor.shape.size() == 3 ? static_cast<size_t>(tensor.shape[0]) : 1;
    formats::ImportanceMatrix::Entry entry;
    for (size_t i = 0; i < groups * static_cast<size_t>(tensor.shape.back()); ++i)
      entry.sums.push_back(static_cast<float>(1 + i % 17 * (i % 17)));
    entry.counts.assign(groups, 2);
    importance.entries.emplace(name, entry);
  }
  ASSERT_OK(run(in, "plain.gguf", {.recipe = {.file = FileType::q4_k_m}}));
  const Result<QuantizeReport> report =
      run(in, "weighted.gguf",
          {.recipe = {.file = FileType::q4_k_m}, .importance = &importance, .importance_file = "imatrix.gguf"});
  ASSERT_OK(report);
  const Checkpoint plain = open(path("plain.gguf")), weighted = open(path("weighted.gguf"));
  for (const TensorInfo& tensor : plain.tensors()) {
    const bool same = std::ranges::equal(plain.bytes(tensor), weighted.bytes(*weighted.find(tensor.name)));
    EXPECT_EQ(same, !importance.entries.contains(tensor.name)) << tensor.name;
  }
  EXPECT_EQ(*weighted.metadata().string("quantize.imatrix.file").value(), "imatrix.gguf");
  EXPECT_EQ(*weighted.metadata().integer("quantize.imatrix.entries_count").value(), 2);
  ASSERT_FALSE(report->remarks.empty());
  EXPECT_NE(report->remarks.back().find("not in the importance matrix"), std::string::npos);
  importance.entries["blk.0.attn_q.weight"].sums.pop_back();
  EXPECT_EQ(run(in, "no.gguf", {.importance = &importance}).error().code, ErrorCode::invalid_argument);
  EXPECT_FALSE(fs::exists(path("no.gguf")));
}

TEST_F(QuantizeFile, RefusesWhatWouldLoseOrOverwrite) {
  const Checkpoint quantised = golden("nano-q4_0.gguf"), in = floats("moe-micro-q4_k_m.gguf");
  const auto message = [](const Result<QuantizeReport>& report) {
    return report.ok() ? std::string("fine") : report.error().message();
  };
  EXPECT_NE(message(run(quantised, "a.gguf", {.recipe = {.file = FileType::q8_0}})).find("--allow-requantize"),
            std::string::npos);
  EXPECT_NE(message(run(in, "floats.gguf", {})).find("floats.gguf"), std::string::npos);
  EXPECT_NE(message(run(in, "a.gguf", {.recipe = {.file = FileType::q2_k_s}})).find("--imatrix"), std::string::npos);
  EXPECT_NE(message(run(in, "a.bin", {})).find(".gguf"), std::string::npos);
  const Checkpoint folder = open(facet::testing::source_path("tests/golden/data/text/tiny-e"));
  EXPECT_NE(message(run(folder, "a.gguf", {})).find("facet convert"), std::string::npos);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1) << "nothing else was written";
}

TEST_F(QuantizeFile, ADryRunWritesNothing) {
  const Result<QuantizeReport> report =
      run(floats("nano-q4_0.gguf"), "out.gguf", {.recipe = {.file = FileType::q4_k_m}, .dry_run = true});
  ASSERT_OK(report);
  EXPECT_GT(report->bytes_before, report->bytes_after);
  EXPECT_FALSE(fs::exists(path("out.gguf")));
}

TEST_F(QuantizeFile, PartsHoldTheSame) {
  const Checkpoint in = floats("moe-micro-q4_k_m.gguf");
  ASSERT_OK(run(in, "whole.gguf", {.recipe = {.file = FileType::q4_k_m}}));
  const Result<QuantizeReport> parts =
      run(in, "parts.gguf", {.recipe = {.file = FileType::q4_k_m}, .split = {.max_tensors = 7}});
  ASSERT_OK(parts);
  EXPECT_GT(parts->files.size(), 2u);
  const Checkpoint a = open(path("whole.gguf")), b = open(parts->files.front());
  for (const TensorInfo& tensor : a.tensors())
    EXPECT_TRUE(std::ranges::equal(a.bytes(tensor), b.bytes(*b.find(tensor.name)))) << tensor.name;
}

TEST_F(QuantizeFile, StopsWhenAskedAndLeavesNothing) {
  struct Stop : Progress {
    bool update(std::string_view, int64_t, int64_t) override { return false; }
  } stop;
  const Result<QuantizeReport> report = run(floats("nano-q4_0.gguf"), "out.gguf", {.progress = &stop});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, ErrorCode::cancelled);
  EXPECT_FALSE(fs::exists(path("out.gguf")));
}

TEST_F(QuantizeFile, AWeightThatIsNotFiniteIsNamed) {
  const int64_t offset = floats("nano-q4_0.gguf").find("blk.3.ffn_up.weight")->offset;
  std::string bytes = *read_file(path("floats.gguf"), 1 << 26);
  const float nan = NAN;
  std::memcpy(bytes.data() + offset + 4 * 100, &nan, sizeof(nan));
  ASSERT_OK(write_file_atomic(path("broken.gguf"), as_bytes(bytes)));
  const Result<QuantizeReport> report = run(open(path("broken.gguf")), "out.gguf", {});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, ErrorCode::non_finite);
  EXPECT_NE(report.error().message().find("blk.3.ffn_up.weight, row"), std::string::npos) << report.error().message();
  EXPECT_FALSE(fs::exists(path("out.gguf")));
}

}  // namespace
}  // namespace facet::convert
