// Puppet: a LanguageModel without weights that says what a script tells it to, as slowly as it is told, for tests of
// everything above model/. It keeps its sequences as strictly as the real cache does: wrong positions, a full cache and
// lengths that cannot be resumed are errors here too. See docs/puppet.md.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "model/language_model.h"
#include "model/puppet_script.h"

namespace facet::model {

class Puppet : public LanguageModel {
 public:
  // sleep: how the puppet waits; empty: it really does.
  static std::unique_ptr<Puppet> create(PuppetScript script, int64_t vocab_size,
                                        std::function<void(double ms)> sleep = {});
  // PuppetScript::parse and create.
  static Result<std::unique_ptr<Puppet>> load(const Json& file, std::string_view where,
                                              const PuppetVocabulary& vocabulary);

  Limits limits() const override;
  Result<SeqId> create_sequence() override;
  Result<SeqId> fork(SeqId id, int64_t length) override;
  void release(SeqId id) override;
  int64_t length(SeqId id) const override;
  int64_t truncate(SeqId id, int64_t length) override;
  void commit(SeqId id, int64_t length) override;
  Result<void> save(SeqId id, ByteSink& out) const override;
  Result<SeqId> restore(ByteReader& in) override;
  Result<void> forward(const Batch& batch, ResultSink& sink) override;

  const PuppetScript& script() const { return script_; }
  // Rows that sequences hold at the moment; shared ones count once.
  int64_t rows_in_use() const { return static_cast<int64_t>(pool_.size() - free_.size()); }
  // Rows run by all calls so far: shows what a resumed prefix saved.
  int64_t rows_run() const { return rows_run_; }

 private:
  // What comes next depends on the place in the script; that is kept with each row, as keys are, so that truncate and
  // fork need to know nothing about it.
  struct Row {
    Token token = 0;
    int32_t answer = kNoOutput;  // index into the script; script_.answers.size(): none fitted
    int32_t step = 0;            // the step that was output
    int32_t references = 1;
  };
  static constexpr int32_t kNoOutput = -1;  // nothing was asked for at that row
  static constexpr int32_t kReleased = -1;  // in Kept::rows: gave its room back in commit()
  struct Kept {
    bool live = false;
    std::vector<int32_t> rows;  // indices into pool_
    std::vector<std::pair<int64_t, int64_t>> spans;
  };

  Puppet(PuppetScript script, int64_t vocab_size, std::function<void(double ms)> sleep);

  Kept* find(SeqId id);
  Kept& at(SeqId id);
  const Kept& at(SeqId id) const { return const_cast<Puppet*>(this)->at(id); }
  SeqId add_sequence();
  void cut(Kept& kept, int64_t length);
  void unreference(int32_t row);
  int32_t take(const Row& row);
  int64_t first_needed(int64_t length) const;
  bool has_keys(const Kept& kept, int64_t length) const;

  Result<void> check_batch(const Batch& batch);
  Result<void> check_range(const Batch& batch, const SeqRange& range);
  Result<void> check_outputs(const Batch& batch) const;
  std::vector<Row> act(const Batch& batch) const;
  void place(const Kept& kept, std::span<const Row> before, Row& row) const;
  bool ends_with(const Kept& kept, std::span<const Row> rows, std::span<const Token> tail) const;
  const PuppetStep& step_of(const Row& row) const;
  void emit(const Batch& batch, std::span<const Row> rows, ResultSink& sink) const;

  PuppetScript script_;
  int64_t vocab_size_;
  std::function<void(double ms)> sleep_;
  std::vector<Row> pool_;
  std::vector<int32_t> free_;
  std::vector<Kept> sequences_;
  int64_t rows_run_ = 0;
};

}  // namespace facet::model
