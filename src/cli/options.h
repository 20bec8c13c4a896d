// The flags of facet: the groups that several commands share, and the flags of other engines that mean nothing here.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command_line.h"
#include "cli/hub_options.h"
#include "facet/engine.h"

namespace facet::cli {

// "2G", "500M", "1.5T", "1GiB", "4096": bytes. K, M, G, T are powers of 1000, KiB … of 1024. Errors: invalid_argument.
Result<int64_t> parse_size(const std::string& text, const std::string& option);

// Which model, and how it is loaded.
struct ModelOptions {
  std::string model;
  HubOptions hub;
  LoadOptions load;
  bool no_skip = false, no_cache = false;
  std::string cache_limit = "32GiB";

  void add_to(Command& command);
  // Its parts: which model; how it is loaded but for context, threads and --kv.
  void add_source_to(Command& command);
  void add_loading_to(Command& command);
  // With -m, -hf or their variables the words are all text; otherwise the first one is the model. Afterwards `model` is
  // a path: a model that -hf names is fetched where absent, another name of the hub is looked up in the cache. Errors:
  // invalid_argument (also a limit of the cache that is no size), not_found, those of the hub.
  Result<void> take_model(std::vector<std::string>& words);
  // For commands that take a model and no text; otherwise: the error's words where another word is left over.
  Result<void> take_only_model(std::vector<std::string>& words, const char* otherwise);
  LoadOptions load_options() const;

 private:
  Result<void> choose_source();
};

// Where a text comes from: words of the command line, -p, -f FILE (- is standard input), or standard input when it is
// not a terminal.
struct TextOptions {
  std::optional<std::string> prompt;
  std::string file;

  void add_to(Command& command);
  // Errors: invalid_argument (several texts, or none), io.
  Result<std::string> text(const std::vector<std::string>& words) const;
};

// Whether the word behind this flag is a text, which may look like a flag itself.
bool takes_text(std::string_view flag);

// The command line with the flags of several letters that llama.cpp has (-hf, -hff, -hft) in the form with two dashes.
std::vector<std::string> with_long_flags(int argc, char** argv);

// The reason why a flag that other engines have is refused; nullopt: it is not such a flag.
std::optional<std::string_view> refusal(std::string_view argument);

}  // namespace facet::cli
