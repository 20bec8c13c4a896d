// The row law on a whole model: the bits of a row depend on its own sequence alone. Whole, in chunks, among other
// sequences, on any number of threads, with and without work skipping.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "formats/checkpoint.h"
#include "model/gemma.h"
#include "support/golden_models.h"

namespace facet::model::row_law {

using Logits = std::vector<std::vector<float>>;  // by position; empty where none were wanted

// One sequence of a schedule.
struct Part {
  std::vector<Token> tokens;
  int64_t chunk = 0;  // rows it brings to a call; 0: all it has
  int64_t start = 0;  // the call in which it appears
};

inline std::vector<Token> random_tokens(int64_t n, int64_t vocabulary, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<Token> tokens(static_cast<size_t>(n));
  for (Token& token : tokens) token = static_cast<Token>(random() % static_cast<uint32_t>(vocabulary));
  return tokens;
}

// Puts logits where they belong: by output, (sequence, position).
class Collector : public ResultSink {
 public:
  explicit Collector(std::vector<Logits>& logits) : logits_(logits) {}
  std::vector<std::pair<size_t, size_t>> places;  // of the outputs of the call under way
  void logits(int32_t output, std::span<const float> values) override {
    const auto [part, position] = places[static_cast<size_t>(output)];
    logits_[part][position].assign(values.begin(), values.end());
  }
  void hidden(int32_t, std::span<const float>) override {}
  void logprob(int32_t, float) override {}

 private:
  std::vector<Logits>& logits_;
};

class Runner {
 public:
  Runner(const testing::GoldenModel& golden, const kernels::Table& table, Arithmetic arithmetic, int n_threads,
         DType kv = DType::bf16)
      : pool_(n_threads) {
    Result<formats::Checkpoint> checkpoint = formats::Checkpoint::open(golden.model);
    if (!checkpoint.ok()) return;
    checkpoint_ = std::make_unique<formats::Checkpoint>(std::move(*checkpoint));
    const Result<Config> config = read_config(*checkpoint_);
    if (!config.ok()) return;
    GemmaOptions options{.arithmetic = arithmetic, .kernels = &table, .pool = &pool_, .max_batch_rows = 256};
    options.kv = {.sliding_k = kv, .sliding_v = kv, .full_k = kv, .full_v = kv, .context = 1024, .sequences = 4};
    Result<std::unique_ptr<Gemma>> model = Gemma::load(*checkpoint_, *config, options);
    if (model.ok()) model_ = std::move(*model);
  }
  bool loaded() const { return model_ != nullptr; }
  int64_t vocabulary() const { return model_->text().config().vocab_size; }

  // Feeds all parts, one batch a call, and returns their logits; only the last row's where work is skipped.
  std::vector<Logits> run(const std::vector<Part>& parts, Skip skip = Skip::off) {
    std::vector<Logits> logits;
    std::vector<SeqId> ids;
    std::vector<int64_t> done(parts.size());
    for (const Part& part : parts) {
      logits.emplace_back(part.tokens.size());
      ids.push_back(*model_->create_sequence());
    }
    Collector sink(logits);
    for (int64_t call = 0; step(parts, ids, done, call, skip, sink); ++call) {
    }
    for (const SeqId id : ids) model_->release(id);
    return logits;
  }

 private:
  // One call; false when nothing is left.
  bool step(const std::vector<Part>& parts, const std::vector<SeqId>& ids, std::vector<int64_t>& done, int64_t call,
            Skip skip, Collector& sink) {
    std::vector<Token> tokens;
    std::vector<int32_t> positions;
    std::vector<SeqRange> ranges;
    std::vector<OutputRow> outputs;
    sink.places.clear();
    bool more = false;
    for (size_t i = 0; i < parts.size(); ++i) {
      const int64_t all = static_cast<int64_t>(parts[i].tokens.size()), left = all - done[i];
      more |= left > 0;
      if (left == 0 || call < parts[i].start) continue;
      const int64_t room = model_->limits().max_batch_rows - static_cast<int64_t>(tokens.size());
      const int64_t n = std::min({left, room, parts[i].chunk == 0 ? left : parts[i].chunk});
      if (n == 0) continue;
      ranges.push_back(
          {.sequence = ids[i], .first_row = static_cast<int32_t>(tokens.size()), .rows = static_cast<int32_t>(n)});
      for (int64_t position = done[i]; position < done[i] + n; ++position) {
        if (skip == Skip::off || position + 1 == all) {
          outputs.push_back({.row = static_cast<int32_t>(tokens.size())});
          sink.places.emplace_back(i, static_cast<size_t>(position));
        }
        tokens.push_back(parts[i].tokens[static_cast<size_t>(position)]);
        positions.push_back(static_cast<int32_t>(position));
      }
      done[i] += n;
    }
    if (tokens.empty()) return more;
    EXPECT_OK(model_->forward({.tokens = tokens,
                               .positions = positions,
                               .sequences = ranges,
                               .soft = {},
                               .bidirectional = {},
                               .outputs = outputs,
                               .skip = skip},
                              sink));
    return true;
  }

  ThreadPool pool_;
  std::unique_ptr<formats::Checkpoint> checkpoint_;
  std::unique_ptr<Gemma> model_;
};

// The first position with logits in both whose bits differ; -1: none. Counts the positions compared.
inline int64_t first_difference(const Logits& a, const Logits& b, int64_t& compared) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].empty() || b[i].empty()) continue;
    if (a[i].size() != b[i].size() || std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)) != 0)
      return static_cast<int64_t>(i);
    ++compared;
  }
  return -1;
}

inline void expect_same(const std::vector<Logits>& alone, const std::vector<Logits>& other, const std::string& how) {
  for (size_t i = 0; i < alone.size(); ++i) {
    int64_t compared = 0;
    EXPECT_EQ(first_difference(alone[i], other[i], compared), -1) << how << ", sequence " << i;
    EXPECT_GT(compared, 0) << how << ", sequence " << i;
  }
}

inline void expect(const testing::GoldenModel& golden, const kernels::Table& table, Arithmetic arithmetic,
                   const std::vector<int64_t>& lengths, DType kv = DType::bf16) {
  const std::string what = golden.name + ' ' + kernels::name(table.isa) +
                           (arithmetic == Arithmetic::fast ? " fast " : " f32 ") + facet::name(kv);
  Runner one(golden, table, arithmetic, 1, kv);
  ASSERT_TRUE(one.loaded()) << what;
  std::vector<Part> parts;
  std::vector<Logits> alone;
  for (size_t i = 0; i < lengths.size(); ++i) {
    parts.push_back({.tokens = random_tokens(lengths[i], one.vocabulary(), static_cast<uint32_t>(i + 1))});
    alone.push_back(one.run({parts.back()}).front());
  }
  for (const int64_t chunk : {1, 3, 7}) {
    std::vector<Logits> chunked;
    for (Part part : parts) {
      part.chunk = chunk;
      chunked.push_back(one.run({part}).front());
    }
    expect_same(alone, chunked, what + " in chunks of " + std::to_string(chunk));
  }
  expect_same(alone, one.run(parts, Skip::on), what + " with work skipping, side by side");

  const int64_t chunks[] = {7, 3, 1}, starts[] = {0, 2, 1};
  std::vector<Part> mixed = parts;
  for (size_t i = 0; i < mixed.size(); ++i) {
    mixed[i].chunk = chunks[i % 3];
    mixed[i].start = starts[i % 3];
  }
  for (const int n_threads : {1, 2, 3}) {
    Runner several(golden, table, arithmetic, n_threads, kv);
    ASSERT_TRUE(several.loaded());
    expect_same(alone, several.run(mixed), what + " mixed, threads " + std::to_string(n_threads));
    expect_same(alone, several.run(mixed, Skip::on),
                what + " mixed and skipping, threads " + std::to_string(n_threads));
  }
}

}  // namespace facet::model::row_law
