// The speed of one model on this machine: how long it takes to read tokens and to write tokens, and what the machine
// would have allowed meanwhile.
#pragma once

#include <memory>
#include <vector>

#include "base/function_ref.h"
#include "base/random.h"
#include "engine/load_gemma.h"
#include "engine/machine_speed.h"
#include "engine/work_count.h"

namespace facet::engine {

enum class BenchKind : uint8_t {
  read,   // a prompt, in batches; the logits of its last token are wanted
  write,  // one token a step, each with its logits
};

struct BenchTest {
  BenchKind kind = BenchKind::read;
  int64_t tokens = 0;    // of each sequence
  int64_t depth = 0;     // positions that are in the cache before
  int64_t parallel = 1;  // sequences that write together, one batch a step; 1 where a prompt is read

  int64_t positions() const { return depth + tokens; }
};

struct BenchOptions {
  LoadOptions load;
  int repetitions = 5;
  bool warm_up = true;
  bool sample = false;  // each token is drawn from the logits (top-k 64, top-p 0.95); otherwise it is a random one
};

struct BenchResult {
  BenchTest test;
  std::vector<double> seconds;  // of each repetition
  Work work;                    // of one repetition
  double tokens = 0;            // of one repetition, all sequences
  MachineSpeed machine;         // the better of before and after

  double median_seconds() const;
  double best_seconds() const;
  // What the machine would allow: memory read at full speed, or int8 products at full speed.
  double tokens_per_s_by_memory() const {
    return tokens * machine.read_bytes_per_s / (work.weight_bytes + work.kv_bytes);
  }
  double tokens_per_s_by_arithmetic() const { return tokens * machine.int8_ops_per_s / work.operations; }
};

class BenchRun {
 public:
  // Is asked between steps; false ends the test.
  using GoesOn = FunctionRef<bool()>;

  // Loads with room for all the tests; the context of options.load is not read. files must outlive the run. Errors:
  // invalid_argument (a puppet, a test that makes no sense), exhausted (the context does not fit), those of loading.
  static Result<std::unique_ptr<BenchRun>> load(const ModelFiles& files, std::span<const BenchTest> tests,
                                                const BenchOptions& options);

  // Tests of ascending depth read least: what is in the cache is kept. Errors: cancelled, those of the model.
  Result<BenchResult> run(const BenchTest& test, GoesOn goes_on);

  int threads() const { return pool_.n_threads(); }
  const char* isa() const { return loaded_.isa; }
  int64_t context() const { return loaded_.plan.context; }
  double load_seconds() const { return load_seconds_; }
  const PackUse& pack_use() const { return loaded_.packed.use(); }

 private:
  explicit BenchRun(const BenchOptions& options, int threads) : options_(options), pool_(threads), random_(1) {}

  Result<void> fill(int64_t depth, int64_t sequences, GoesOn goes_on);
  Result<double> once(const BenchTest& test, std::span<const SeqId> ids, GoesOn goes_on);
  Result<void> read(SeqId id, int64_t tokens, bool wants_logits, ResultSink& sink, GoesOn goes_on);
  Result<void> write(std::span<const SeqId> ids, int64_t tokens, GoesOn goes_on);
  Work work_of_test(const BenchTest& test) const;
  Token random_token() { return static_cast<Token>(random_.below(static_cast<uint32_t>(vocab_size_))); }

  BenchOptions options_;
  ThreadPool pool_;
  LoadedGemma loaded_;
  std::optional<MachineProbe> probe_;
  std::vector<Token> banned_;
  std::vector<SeqId> filled_;  // sequences of equal length that tests begin behind
  Random random_;
  int64_t vocab_size_ = 0;
  double load_seconds_ = 0;
};

}  // namespace facet::engine
