// What the commands that generate show: the streamed answer, and its summary or JSON form afterwards.
#pragma once

#include <string>

#include "base/json.h"
#include "cli/options.h"
#include "cli/sampling_options.h"
#include "cli/terminal.h"
#include "facet/engine.h"

namespace facet::cli {

// Loads with a progress bar; Ctrl-C stops it (with an Interrupt alive).
Result<Engine> load_engine(const ModelOptions& options);

// Notes that --system and --think, where given, mean nothing to a text that is continued.
void note_chat_flags(const std::string& system, const SamplingOptions& sampling);

class AnswerOutput {
 public:
  enum class Mode { stream, silent };  // silent: progress only
  explicit AnswerOutput(Mode mode) : mode_(mode) {}

  // For Engine::generate. Stops at Ctrl-C. The output must outlive the call.
  ChunkCallback callback();
  // Ends the last line.
  void finish();

 private:
  Mode mode_;
  ProgressBar bar_;
  bool thinking_ = false, ends_with_newline_ = true;
};

// "prompt 12 tokens in 0.10 s (120 tokens/s), …".
std::string summary(const Answer& answer);
Json json_of(const ModelInfo& info, const Answer& answer);

}  // namespace facet::cli
