// How tokens are chosen: the flags, and the same settings by name for /set in a conversation.
#pragma once

#include <string>
#include <vector>

#include "cli/options.h"
#include "facet/sampling.h"

namespace facet::cli {

struct SamplingOptions {
  Sampling values;                    // those of a number or a switch; sampling() has all
  std::vector<std::string> bias;      // "15043+1.5", "15043-inf", "15043=false"
  std::vector<std::string> breakers;  // "\n" may be written with a backslash; "none"; empty: the usual ones
  int64_t max_tokens = -1;
  bool think = false;

  // Values are checked while they are read, as far as that is possible without a model.
  void add_to(Command& command);
  Sampling sampling() const;
};

// "15043+1.5", "15043-1.5": as llama.cpp writes it; "15043-inf" or "15043=false": never. Errors: invalid_argument.
Result<LogitBias> parse_logit_bias(const std::string& text);

// With \n, \t, \r, \\, \" and \' for what they stand for; any other backslash is itself.
std::string unescaped(const std::string& text);

// Notes settings that have no effect beside the others.
void note_idle_settings(const SamplingOptions& settings);

// Sets what /set names; "default" undoes it. Errors: invalid_argument.
Result<void> change_setting(SamplingOptions& settings, const std::string& name, const std::string& value);
std::string settings_text(const SamplingOptions& settings);

}  // namespace facet::cli
