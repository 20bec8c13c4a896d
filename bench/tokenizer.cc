// Speed of the tokenizer in MB/s of text, for each kind of text: prose, code, Chinese, and what hostile users send.
//
//   FACET_BENCH_VOCAB=FILE   a GGUF file with a vocabulary (needed)
//   FACET_BENCH_JSON=FILE    a tokenizer.json: measures opening it too
//   FACET_BENCH_TEXTS=DIR    measures the files in DIR too
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "base/random.h"
#include "formats/checkpoint.h"
#include "tokenizer/tokenizer.h"

namespace {

using namespace facet;

constexpr size_t kBytes = 1'000'000;

std::string of_pieces(const std::vector<std::string>& pieces) {
  Random random(1);
  std::string text;
  while (text.size() < kBytes) text += pieces[random.below(static_cast<uint32_t>(pieces.size()))];
  return text;
}

// Synthetic texts repeat themselves more than real ones; real ones come from FACET_BENCH_TEXTS.
std::map<std::string, std::string> texts() {
  std::map<std::string, std::string> texts = {
      {"prose", of_pieces({"The ", "tokenizer ", "of a model ", "cuts text, ", "then merges ", "neighbours. ", "Words ",
                           "that are ", "rare become ", "several pieces;\n", "common ones one. "})},
      {"code", of_pieces({"for (int i = 0; i < n; ++i) {\n", "    sum += values[i] * weight;\n", "  }\n", "return ",
                          "std::vector<float> out(rows * columns);\n", "if (!result.ok()) return error;\n\n"})},
      {"chinese", of_pieces({"你好", "，", "世界", "。", "今天", "天气", "很好", "模型", "词元", "的", "是"})},
      {"spaces", std::string(kBytes, ' ')},
      {"repeated", std::string(kBytes, 'x')}};
  Random random(2);
  std::string& word = texts["one_word"];
  while (word.size() < kBytes) word += static_cast<char>('a' + random.below(26));
  std::string& bytes = texts["random_bytes"];
  while (bytes.size() < kBytes) bytes += static_cast<char>(random.below(256));
  return texts;
}

void encode(benchmark::State& state, const tokenizer::Tokenizer& tokenizer, const std::string& text) {
  size_t tokens = 0;
  for (auto _ : state) tokens = tokenizer.encode(text, tokenizer::Markers::no).size();
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
  state.counters["tokens"] = static_cast<double>(tokens);
}

void open(benchmark::State& state, const formats::Checkpoint& checkpoint) {
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer::Tokenizer::open(checkpoint).ok());
}

}  // namespace

int main(int argc, char** argv) {
  const char* vocab = std::getenv("FACET_BENCH_VOCAB");
  if (vocab == nullptr) return std::fputs("set FACET_BENCH_VOCAB to a GGUF file with a vocabulary\n", stderr), 2;
  const Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(vocab);
  if (!checkpoint.ok()) return std::fprintf(stderr, "%s\n", checkpoint.error().message().c_str()), 1;
  const Result<tokenizer::Tokenizer> tokenizer = tokenizer::Tokenizer::open(*checkpoint);
  if (!tokenizer.ok()) return std::fprintf(stderr, "%s\n", tokenizer.error().message().c_str()), 1;
  std::map<std::string, std::string> all = texts();
  if (const char* folder = std::getenv("FACET_BENCH_TEXTS"))
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      std::ifstream file(entry.path(), std::ios::binary);
      all[entry.path().filename().string()] = std::string(std::istreambuf_iterator<char>(file), {});
    }
  benchmark::Initialize(&argc, argv);
  benchmark::RegisterBenchmark("open", [&](benchmark::State& state) {
    open(state, *checkpoint);
  })->Unit(benchmark::kMillisecond);
  if (const char* json = std::getenv("FACET_BENCH_JSON")) {
    const Result<tokenizer::Tokenizer> opened = tokenizer::Tokenizer::from_json_file(json);
    if (!opened.ok()) return std::fprintf(stderr, "%s\n", opened.error().message().c_str()), 1;
    benchmark::RegisterBenchmark("open_json", [json](benchmark::State& state) {
      for (auto _ : state) benchmark::DoNotOptimize(tokenizer::Tokenizer::from_json_file(json).ok());
    })->Unit(benchmark::kMillisecond);
  }
  for (const auto& entry : all) {
    const std::string& text = entry.second;
    benchmark::RegisterBenchmark(("encode/" + entry.first).c_str(), [&](benchmark::State& state) {
      encode(state, *tokenizer, text);
    })->Unit(benchmark::kMillisecond);
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
