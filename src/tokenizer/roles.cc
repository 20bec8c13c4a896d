#include "tokenizer/roles.h"

#include <algorithm>
#include <array>

namespace facet::tokenizer {

std::vector<Token> never_sampled_tokens(const Vocab& vocab, const std::vector<Token>& ends) {
  constexpr std::array<std::string_view, 19> kPromptOnly = {"<pad>",
                                                            "<bos>",
                                                            "<unk>",
                                                            "<mask>",  // spec/tokenizer.md 2
                                                            "<|tool>",
                                                            "<tool|>",
                                                            "<tool_response|>",
                                                            "<|think|>",
                                                            "<|image>",
                                                            "<|audio>",
                                                            "<|image|>",
                                                            "<|audio|>",
                                                            "<image|>",
                                                            "<audio|>",
                                                            "<|video|>",
                                                            "<|video>",
                                                            "<start_of_image>",
                                                            "<end_of_image>",
                                                            "<image_soft_token>"};  // Gemma 3
  std::vector<Token> tokens;
  for (Token token = 0; token < vocab.size(); ++token)
    if (vocab.token_class(token) == TokenClass::reserved) tokens.push_back(token);
  for (const std::string_view name : kPromptOnly)
    if (const std::optional<Token> token = vocab.find(name)) tokens.push_back(*token);
  std::ranges::sort(tokens);
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());  // clang 14 cannot compile ranges::unique
  std::erase_if(tokens, [&](Token token) { return std::ranges::find(ends, token) != ends.end(); });
  return tokens;
}

}  // namespace facet::tokenizer
