// tokenizer.json to the keys of a GGUF file.
#include <algorithm>
#include <array>
#include <unordered_map>

#include "base/strings.h"
#include "convert/vocabulary.h"

namespace facet::convert {
namespace {

using tokenizer::MergeText;
using tokenizer::TokenType;
using tokenizer::VocabFile;

// What every token that no merge makes is worth, and all tokens of Gemma 4, which has no scores.
constexpr float kNoScore = -1000;

// Control tokens of tokenizer.json that GGUF files call user-defined, so that readers of answers see them.
constexpr std::array<std::string_view, 7> kVisible = {
    "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", "<|\"|>"};

TokenType gguf_type(std::string_view string, TokenType type, model::Family family) {
  if (family != model::Family::gemma4) return type;
  if (std::ranges::find(kVisible, string) != kVisible.end()) return TokenType::user_defined;
  if (string == "<|video|>") return TokenType::control;  // early files list it nowhere (tokenizer.md 6.3)
  return type;
}

// The scores that put pairs in the order of the merges: the sooner a token is made, the better.
std::vector<float> scores_of(const VocabFile& file, size_t count) {
  std::unordered_map<std::string_view, size_t> index;
  for (size_t i = 0; i < file.strings.size(); ++i) index[file.strings[i]] = i;
  const float unmade = -static_cast<float>(file.merges.size()) - 1;
  std::vector<float> scores(count, unmade);
  float next = 0;
  std::string whole;
  for (const MergeText& merge : file.merges) {
    whole.assign(merge.left).append(merge.right);
    const auto found = index.find(whole);
    if (found != index.end() && found->second < count && scores[found->second] == unmade)
      scores[found->second] = next--;
  }
  for (size_t i = 0; i < std::min(count, file.types.size()); ++i)
    if (file.types[i] == TokenType::control) scores[i] = kNoScore;
  return scores;
}

std::optional<uint32_t> find(const VocabFile& file, std::string_view string) {
  const auto found = std::ranges::find(file.strings, string);
  if (found == file.strings.end()) return std::nullopt;
  return static_cast<uint32_t>(found - file.strings.begin());
}

void add_tokens(const VocabFile& file, const model::Config& config, size_t count, formats::GgufPairs& pairs) {
  std::vector<std::string> filled;
  filled.reserve(count);  // views point into it
  std::vector<std::string_view> strings(count);
  std::vector<int32_t> types(count);
  for (size_t i = 0; i < count; ++i) {
    const bool known = i < file.strings.size() && file.types[i] != TokenType::unused;
    strings[i] = known ? file.strings[i] : std::string_view(filled.emplace_back(cat("[PAD", i, "]")));
    types[i] = static_cast<int32_t>(known ? gguf_type(strings[i], file.types[i], config.family) : TokenType::unused);
  }
  const bool ranked = config.family == model::Family::gemma4;
  const std::vector<float> scores = ranked ? std::vector<float>(count, kNoScore) : scores_of(file, count);
  pairs.set("tokenizer.ggml.tokens", std::span<const std::string_view>(strings));
  pairs.set("tokenizer.ggml.scores", std::span<const float>(scores));
  pairs.set("tokenizer.ggml.token_type", std::span<const int32_t>(types));
}

void add_merges(const VocabFile& file, formats::GgufPairs& pairs) {
  std::vector<std::string> lines;
  lines.reserve(file.merges.size());
  for (const MergeText& merge : file.merges)  // a plain space separates; in a piece it would never be met
    if (merge.left.find(' ') == merge.left.npos && merge.right.find(' ') == merge.right.npos)
      lines.push_back(cat(merge.left, ' ', merge.right));
  const std::vector<std::string_view> views(lines.begin(), lines.end());
  pairs.set("tokenizer.ggml.merges", std::span<const std::string_view>(views));
}

}  // namespace

Result<void> add_vocabulary(const VocabFile& file, const model::Config& config, formats::GgufPairs& pairs,
                            std::string& remark) {
  const size_t count = static_cast<size_t>(config.vocab_size);
  if (file.strings.size() > count) {
    // Gemma 3's text sizes have no row for <image_soft_token>.
    for (size_t i = count; i < file.strings.size(); ++i)
      if (file.types[i] == TokenType::normal || file.types[i] == TokenType::byte)
        return file.corrupt("vocabulary has more tokens than the model", cat("at most ", count),
                            cat(file.strings.size()));
    remark = cat("tokens beyond the model's table are left out: ", file.strings.size() - count, ", from ",
                 file.strings[count]);
  }
  const bool gemma4 = config.family == model::Family::gemma4;
  pairs.set("tokenizer.ggml.model", gemma4 ? "gemma4" : "llama");
  if (!gemma4) pairs.set("tokenizer.ggml.pre", "default");
  add_tokens(file, config, count, pairs);
  add_merges(file, pairs);
  for (const auto& [key, string] :
       {std::pair{"tokenizer.ggml.unknown_token_id", "<unk>"}, std::pair{"tokenizer.ggml.mask_token_id", "<mask>"},
        std::pair{"tokenizer.ggml.bos_token_id", "<bos>"}})
    if (const std::optional<uint32_t> token = find(file, string); token && *token < count) pairs.set(key, *token);
  if (!config.bos.empty()) pairs.set("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(config.bos.front()));
  pairs.set("tokenizer.ggml.add_bos_token", gemma4 || file.adds_bos);
  pairs.set("tokenizer.ggml.add_eos_token", false);
  pairs.set("tokenizer.ggml.add_space_prefix", false);
  if (file.chat_template) pairs.set("tokenizer.chat_template", *file.chat_template);
  pairs.erase(cat(gemma4 ? (config.drafter ? "gemma4-assistant" : "gemma4") : "gemma3", ".vocab_size"));
  return {};
}

}  // namespace facet::convert
