// Puppets for tests: a script in JSON, written in a vocabulary of letters, and helpers to drive it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/puppet.h"
#include "support/expect.h"

namespace facet::testing {

// Token 0 is the end, tokens 1…26 are the letters a…z, 27 is a space; nothing else is in it.
inline constexpr int64_t kLetters = 28;
inline std::vector<Token> letters(std::string_view text) {
  std::vector<Token> tokens;
  for (const char c : text) tokens.push_back(c == '.' ? 0 : c == ' ' ? 27 : c - 'a' + 1);
  return tokens;
}
inline std::string spelled(std::span<const Token> tokens) {
  std::string text;
  for (const Token t : tokens) text += t == 0 ? '.' : t == 27 ? ' ' : static_cast<char>('a' + t - 1);
  return text;
}

// members: those of the file besides "puppet" and "vocabulary", for example R"("answers": [{"say": "abc"}])".
inline Result<model::PuppetScript> script_of(std::string_view members) {
  const std::string text = std::string(R"({"puppet": 1, "vocabulary": "letters", )") + std::string(members) + "}";
  FACET_TRY(const Json json, Json::parse(text, "test.json"));
  const auto encode = [](std::string_view words) { return letters(words); };
  return model::PuppetScript::parse(json, "test.json", {.size = kLetters, .end = 0, .encode = encode});
}

inline std::unique_ptr<model::Puppet> puppet_of(std::string_view members, std::function<void(double)> sleep = {}) {
  Result<model::PuppetScript> script = script_of(members);
  if (!script) {
    ADD_FAILURE() << script.error().message();
    return nullptr;
  }
  return model::Puppet::create(*std::move(script), kLetters, std::move(sleep));
}

// Keeps what a forward call returned.
struct Kept : ResultSink {
  std::vector<std::vector<float>> all_logits, all_hidden;
  std::vector<float> all_logprobs;
  void logits(int32_t, std::span<const float> v) override { all_logits.emplace_back(v.begin(), v.end()); }
  void hidden(int32_t, std::span<const float> v) override { all_hidden.emplace_back(v.begin(), v.end()); }
  void logprob(int32_t, float v) override { all_logprobs.push_back(v); }
};

}  // namespace facet::testing
