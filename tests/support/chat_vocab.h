// A vocabulary of the markers of both chat families, the 256 bytes and a few words, built in code: enough to render any
// conversation and to read any answer. Its numbers are deliberately not Gemma's.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>

#include "base/json.h"
#include "support/expect.h"
#include "tokenizer/tokenizer.h"

namespace facet::testing {

inline std::string chat_vocabulary_json(std::string_view without = "") {
  Json::Object vocab;
  Json::Array added, merges;
  const auto add = [&](std::string string, bool special) {
    if (string == without) return;
    const int64_t id = static_cast<int64_t>(vocab.size());
    if (special)
      added.push_back(Json::Object{{"id", id}, {"content", string}, {"special", true}, {"normalized", false}});
    vocab.emplace_back(std::move(string), id);
  };
  for (const char* word : {"<unk>", "<eos>"}) add(word, true);
  for (int byte = 0; byte < 256; ++byte) {
    constexpr const char* kDigits = "0123456789ABCDEF";
    add(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">", false);
  }
  for (const char* word : {"<start_of_turn>", "<end_of_turn>", "<turn|>", "<|turn>", "<channel|>", "<|channel>",
                           "<|think|>", "<|tool_response>", "<bos>", "<pad>"})
    add(word, true);
  // Pieces that cut "thought\n" and characters of several bytes in different ways.
  for (const char* word : {"t", "h", "o", "u", "g", "\n", "th", "ou", "gh", "ght", "thou", "thought", "é", "界"})
    add(word, false);
  const auto merge = [&](const char* left, const char* right) { merges.push_back(Json::Array{left, right}); };
  merge("t", "h");
  merge("o", "u");
  merge("g", "h");
  merge("gh", "t");
  merge("th", "ou");
  merge("thou", "ght");
  Json::Object model = {
      {"type", "BPE"}, {"byte_fallback", true}, {"vocab", std::move(vocab)}, {"merges", std::move(merges)}};
  Json::Object pattern = {{"String", " "}};
  Json::Object normalizer = {{"type", "Replace"}, {"pattern", std::move(pattern)}, {"content", "\xE2\x96\x81"}};
  return Json(Json::Object{{"version", "1.0"},
                           {"added_tokens", std::move(added)},
                           {"normalizer", std::move(normalizer)},
                           {"model", std::move(model)}})
      .dump();
}

inline tokenizer::Tokenizer chat_tokenizer(std::string_view without = "") {
  Result<tokenizer::Tokenizer> made = tokenizer::Tokenizer::from_json(chat_vocabulary_json(without), "chat_vocab");
  if (!made) {
    ADD_FAILURE() << made.error().message();
    std::abort();
  }
  return *std::move(made);
}

}  // namespace facet::testing
