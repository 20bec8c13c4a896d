#include "cli/options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <iostream>
#include <iterator>

#include <unistd.h>

#include "base/file.h"
#include "base/strings.h"
#include "cli/terminal.h"

namespace facet::cli {
namespace {

constexpr uint64_t kMaxText = uint64_t{1} << 30;

struct Refused {
  std::vector<std::string_view> flags;
  std::string_view reason;
};

// Flags of llama.cpp that have no meaning here.
const std::vector<Refused>& refused() {
  static const std::vector<Refused> all = {
      {{"-ngl", "--gpu-layers", "--n-gpu-layers", "-sm", "--split-mode", "-ts", "--tensor-split", "-mg", "--main-gpu",
        "-dev", "--device"},
       "facet runs on the processor; there is no GPU to give layers to"},
      {{"-fa", "--flash-attn"}, "attention never builds the whole score matrix here; there is nothing to switch on"},
      {{"--mlock", "--no-mmap"},
       "weights are packed when the model is loaded, or mapped where they were once; --no-cache packs them in memory"},
      {{"-ctk", "--cache-type-k", "-ctv", "--cache-type-v"}, "use --kv f32|f16|bf16|int8, which sets both"},
      {{"--context-shift", "--no-context-shift", "--keep"},
       "nothing is shifted silently: at the end of the context the answer ends with reason \"length\""},
      {{"--rope-scaling", "--rope-scale", "--rope-freq-base", "--rope-freq-scale", "--yarn-orig-ctx"},
       "positions are rotated as the model file says"},
      {{"--numa"}, "threads take work from one counter; there is nothing to place"},
      {{"--repack", "--no-repack"}, "weights are always packed for the processor"},
      {{"-cnv", "--conversation", "-no-cnv", "--no-conversation"},
       "a model with a chat template gets a chat; --raw turns that off, and facet chat converses"},
  };
  return all;
}

}  // namespace

void ModelOptions::add_to(Command& command) {
  add_source_to(command);
  command.option("-c,--ctx-size", load.context, "positions of the context (0: the most that fits in memory)");
  command.option("-t,--threads", load.threads, "threads (0: one for each processor)");
  command.option("--kv", load.kv_type, "type that keys and values are stored in: f32, f16, bf16, int8");
  add_loading_to(command);
}

void ModelOptions::add_source_to(Command& command) {
  command.option("-m,--model", model, "GGUF file, Hugging Face folder, puppet:FILE, or owner/repo in the cache")
      .type_name("MODEL");
  hub.add_to(command);
}

void ModelOptions::add_loading_to(Command& command) {
  command.option("-b,--batch-size", load.batch_rows, "tokens read at once while a prompt is read");
  command.option("--isa", load.isa, "instruction set: scalar, avx2, avx512 (default: the best there is)");
  command.option("--quant", load.quant, "quantise while loading, as facet quantize would: Q4_K_M, Q8_0 and so on")
      .type_name("TYPE");
  command.flag("--exact", load.exact, "multiply in float arithmetic instead of int8 and bf16");
  command.flag("--no-cache", no_cache, "neither use nor keep packed weights on disk (facet cache)");
  command.option("--cache-limit", cache_limit, "bytes of packed weights kept on disk at most").type_name("SIZE");
  command.flag("--no-skip", no_skip, "do not skip work that cannot change the result");
}

// A value of the environment gives way to the other option of the command line.
Result<void> ModelOptions::choose_source() {
  if (model.empty() || hub.repo.empty()) return {};
  const bool model_is_default = model == variable("FACET_MODEL"),
             repo_is_default = hub.repo == variable("FACET_HF_REPO");
  if (model_is_default == repo_is_default)
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "two models are named",
                 .where = "command line",
                 .expected = "-m or -hf",
                 .found = cat(model, " and ", hub.repo)};
  (model_is_default ? model : hub.repo).clear();
  return {};
}

Result<void> ModelOptions::take_model(std::vector<std::string>& words) {
  FACET_TRY(load.pack_bytes_max, parse_size(cache_limit, "--cache-limit"));
  FACET_TRY_VOID(choose_source());
  if (!hub.repo.empty()) {
    FACET_TRY(const hub::LocalModel found, hub.fetch(hub.repo));
    model = found.path().string();
    return {};
  }
  if (model.empty()) {
    if (words.empty())
      return Error{.code = ErrorCode::invalid_argument,
                   .what = "no model is named",
                   .where = "command line",
                   .expected =
                       "a GGUF file or a Hugging Face folder, as first word, with -m or in FACET_MODEL; or "
                       "-hf OWNER/REPO",
                   .found = "nothing"};
    model = words.front();
    words.erase(words.begin());
  }
  FACET_TRY(model, hub.local_path(model));
  return {};
}

Result<void> ModelOptions::take_only_model(std::vector<std::string>& words, const char* otherwise) {
  FACET_TRY_VOID(take_model(words));
  if (words.empty()) return {};
  return Error{.code = ErrorCode::invalid_argument,
               .what = otherwise,
               .where = "command line",
               .expected = "a model",
               .found = cat(words.front(), " besides")};
}

LoadOptions ModelOptions::load_options() const {
  LoadOptions options = load;
  options.skip_work = !no_skip;
  if (!no_cache) options.pack_folder = pack_folder().string();
  return options;
}

void TextOptions::add_to(Command& command) {
  command.option("-p,--prompt", prompt, "the text");
  command.option("-f,--file", file, "read the text from a file (- is standard input)");
}

Result<std::string> TextOptions::text(const std::vector<std::string>& words) const {
  const int given = (prompt ? 1 : 0) + (file.empty() ? 0 : 1) + (words.empty() ? 0 : 1);
  if (given > 1)
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "several texts are given",
                 .where = "command line",
                 .expected = "words, -p or -f",
                 .found = cat(given, " of them")};
  if (prompt) return *prompt;
  if (!words.empty()) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
    return text;
  }
  if (!file.empty() && file != "-") return read_file(file, kMaxText);
  if (file.empty() && ::isatty(STDIN_FILENO) != 0)
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "no text is given",
                 .where = "command line",
                 .expected = "words, -p TEXT, -f FILE or standard input",
                 .found = "nothing"};
  return std::string(std::istreambuf_iterator<char>(std::cin), {});
}

bool takes_text(std::string_view flag) {
  return flag == "-p" || flag == "--prompt" || flag == "--system" || flag == "--stop" ||
         flag == "--dry-sequence-breaker";
}

Result<int64_t> parse_size(const std::string& text, const std::string& option) {
  struct Unit {
    std::string_view name;
    double bytes;
  };
  constexpr std::array kUnits = {Unit{"", 1},        Unit{"K", 1e3},      Unit{"M", 1e6},      Unit{"G", 1e9},
                                 Unit{"T", 1e12},    Unit{"KB", 1e3},     Unit{"MB", 1e6},     Unit{"GB", 1e9},
                                 Unit{"TB", 1e12},   Unit{"KiB", 0x1p10}, Unit{"MiB", 0x1p20}, Unit{"GiB", 0x1p30},
                                 Unit{"TiB", 0x1p40}};
  double number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view rest(end, static_cast<size_t>(text.data() + text.size() - end));
  for (const Unit& unit : kUnits)
    if (problem == std::errc() && rest == unit.name && number * unit.bytes >= 1 && number * unit.bytes < 0x1p62)
      return static_cast<int64_t>(number * unit.bytes);
  return Error{.code = ErrorCode::invalid_argument,
               .what = "not a size",
               .where = option,
               .expected = "a number of bytes, such as 2G, 500M or 1GiB",
               .found = text};
}

std::vector<std::string> with_long_flags(int argc, char** argv) {
  constexpr std::pair<std::string_view, std::string_view> kFlags[] = {
      {"-hf", "--hf-repo"}, {"-hfr", "--hf-repo"}, {"-hff", "--hf-file"}, {"-hft", "--hf-token"}};
  std::vector<std::string> words;
  bool is_value = false, only_words = false;
  for (int i = 0; i < argc; ++i) {
    std::string_view word = argv[i];
    const size_t equals = std::min(word.find('='), word.size());
    if (!is_value && !only_words)
      for (const auto& [flag, name] : kFlags)
        if (word.substr(0, equals) == flag) {
          words.push_back(cat(name, word.substr(equals)));
          word = {};
          break;
        }
    if (word.data() != nullptr) words.emplace_back(word);
    only_words = only_words || (!is_value && word == "--");
    is_value = !is_value && takes_text(word);
  }
  return words;
}

std::optional<std::string_view> refusal(std::string_view argument) {
  const std::string_view flag = argument.substr(0, argument.find('='));
  for (const Refused& row : refused())
    if (std::ranges::find(row.flags, flag) != row.flags.end()) return row.reason;
  return std::nullopt;
}

}  // namespace facet::cli
