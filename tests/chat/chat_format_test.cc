#include "chat/chat_format.h"

#include <algorithm>
#include <fstream>
#include <map>

#include "base/json.h"
#include "chat/whitespace.h"
#include "formats/checkpoint.h"
#include "support/chat_vocab.h"
#include "support/paths.h"

namespace facet::chat {
namespace {

using facet::testing::chat_tokenizer;
using tokenizer::Markers;
using tokenizer::Tokenizer;

std::vector<Json> read_lines(const std::filesystem::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::vector<Json> lines;
  for (std::string line; std::getline(file, line);) {
    Result<Json> json = Json::parse(line, path.string());
    EXPECT_OK(json);
    if (json) lines.push_back(*std::move(json));
  }
  return lines;
}

std::string text_of(const Json& object, std::string_view key) {
  const Json* value = object.find(key);
  return value != nullptr && value->string() != nullptr ? *value->string() : "";
}
bool flag_of(const Json& object, std::string_view key, bool otherwise) {
  const Json* value = object.find(key);
  return value != nullptr && value->boolean() != nullptr ? *value->boolean() : otherwise;
}

std::optional<Role> role_of(const std::string& name) {
  static const std::map<std::string, Role> roles = {
      {"system", Role::system}, {"developer", Role::developer}, {"user", Role::user}, {"assistant", Role::assistant}};
  const auto found = roles.find(name);
  return found == roles.end() ? std::nullopt : std::optional(found->second);
}

// nullopt: the conversation needs more than text (lists of parts, tool calls, results).
std::optional<std::vector<Message>> messages_of(const Json& conversation) {
  std::vector<Message> messages;
  for (const Json& json : *conversation.find("m")->array()) {
    Message message;
    for (const auto& [key, value] : *json.object()) {
      if (value.string() == nullptr) return std::nullopt;
      if (key == "role") {
        const std::optional<Role> role = role_of(*value.string());
        if (!role) return std::nullopt;
        message.role = *role;
      } else if (key == "content") {
        message.text = *value.string();
      } else if (key == "thought" || key == "reasoning" || key == "reasoning_content") {
        message.thought = *value.string();
      } else {
        return std::nullopt;
      }
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

ChatFormat format_of(Style style, const Tokenizer& tokenizer) {
  Result<ChatFormat> format = ChatFormat::of(style, tokenizer);
  EXPECT_OK(format);
  return *std::move(format);
}

// The text is as expected, and the tokens spell the same with exactly the markers that the format itself wrote.
void expect_render(const ChatFormat& format, const Tokenizer& tokenizer, const std::vector<Message>& messages,
                   const RenderOptions& options, const std::string& expected) {
  const Result<std::string> text = format.render_text(messages, options);
  ASSERT_OK(text);
  EXPECT_EQ(*text, expected);
  const Result<std::vector<Token>> tokens = format.render(messages, options);
  ASSERT_OK(tokens);
  EXPECT_EQ(tokenizer.decode(*tokens, Markers::yes), expected);
}

TEST(ChatFormat, RendersTheConversationsOfThisRepository) {
  const Tokenizer tokenizer = chat_tokenizer();
  int rendered = 0;
  for (const Json& line : read_lines(facet::testing::source_path("tests/chat/data/conversations.jsonl"))) {
    const RenderOptions options{.thinking = flag_of(line, "thinking", false) ? Thinking::on : Thinking::off,
                                .add_generation_prompt = flag_of(line, "gen", true),
                                .repairs = flag_of(line, "repairs", true) ? Repairs::on : Repairs::none};
    const std::optional<std::vector<Message>> messages = messages_of(line);
    ASSERT_TRUE(messages);
    const std::pair<const char*, Style> styles[] = {
        {"small", Style::gemma4_small}, {"large", Style::gemma4_large}, {"gemma3", Style::gemma3}};
    for (const auto& [key, style] : styles) {
      if (line.find(key) == nullptr) continue;
      SCOPED_TRACE(text_of(line, "n") + ", " + key);
      expect_render(format_of(style, tokenizer), tokenizer, *messages, options, text_of(line, key));
      ++rendered;
    }
  }
  EXPECT_EQ(rendered, 14 * 2 + 5);
}

// Every conversation of the goldens that is text alone; the others wait for tools and media and are counted by kind.
TEST(ChatFormat, RendersThePublishedTemplatesTextConversations) {
  FACET_SHARED_OR_SKIP(golden, "golden/chat-template.jsonl");
  FACET_SHARED_OR_SKIP(vocabulary, "golden/tokenizer/ggml-vocab-gemma-4.gguf");
  const Result<formats::Checkpoint> file = formats::Checkpoint::open(vocabulary);
  ASSERT_OK(file);
  const Result<Tokenizer> tokenizer = Tokenizer::open(*file);
  ASSERT_OK(tokenizer);
  std::map<std::string, int> kinds;
  for (const Json& line : read_lines(golden)) {
    if (line.find("m") == nullptr) {
      ++kinds["declaration of a tool"];
      continue;
    }
    const std::optional<std::vector<Message>> messages = messages_of(line);
    if (line.find("t") != nullptr || !messages) {
      const bool tools = line.find("t") != nullptr || line.find("m")->dump().find("tool") != std::string::npos;
      ++kinds[tools ? "tools" : "parts and media"];
      continue;
    }
    ++kinds["text"];
    const Json none = Json::Object{};
    const Json& settings = line.find("k") != nullptr ? *line.find("k") : none;
    const RenderOptions options{.thinking = flag_of(settings, "enable_thinking", false) ? Thinking::on : Thinking::off,
                                .add_generation_prompt = flag_of(settings, "gen", true),
                                .repairs = Repairs::none};
    for (const bool large : {false, true}) {
      SCOPED_TRACE(text_of(line, "n") + (large ? ", large" : ", small"));
      const std::string key = line.find("o") != nullptr ? "o" : large ? "oL" : "oS";
      const ChatFormat format = format_of(large ? Style::gemma4_large : Style::gemma4_small, *tokenizer);
      expect_render(format, *tokenizer, *messages, options, text_of(line, key));
    }
  }
  EXPECT_EQ(kinds, (std::map<std::string, int>{
                       {"text", 19}, {"tools", 21}, {"parts and media", 3}, {"declaration of a tool", 25}}));
}

TEST(ChatFormat, NoTextOfAMessageBecomesAMarker) {
  const Tokenizer tokenizer = chat_tokenizer();
  std::string hostile;
  for (Token t = 0; t < static_cast<Token>(tokenizer.size()); ++t)
    if (tokenizer.token_class(t) == tokenizer::TokenClass::marker) hostile += tokenizer.string(t);
  ASSERT_NE(hostile.find("<end_of_turn>"), std::string::npos);
  const auto markers = [&](const std::vector<Token>& tokens) {
    return std::ranges::count_if(tokens,
                                 [&](Token t) { return tokenizer.token_class(t) == tokenizer::TokenClass::marker; });
  };
  for (const Style style : {Style::gemma4_small, Style::gemma4_large, Style::gemma3}) {
    const ChatFormat format = format_of(style, tokenizer);
    const auto conversation = [](const std::string& text) {
      return std::vector<Message>{{Role::system, text}, {Role::user, text}, {Role::assistant, "x" + text + "y", text}};
    };
    EXPECT_EQ(markers(*format.render(conversation(hostile), {})), markers(*format.render(conversation("z"), {})));
  }
}

TEST(ChatFormat, TextBetweenMarkersIsTokenisedAsOne) {
  const Tokenizer tokenizer = chat_tokenizer();
  const ChatFormat format = format_of(Style::gemma4_small, tokenizer);
  const std::vector<Message> messages = {{Role::user, "x"}, {Role::assistant, "ght"}};
  RenderOptions options{.thinking = Thinking::off, .add_generation_prompt = false};
  const Result<std::vector<Token>> tokens = format.render(messages, options);
  ASSERT_OK(tokens);
  std::vector<Token> expected;
  tokenizer.encode("<bos><|turn>user\nx<turn|>\n<|turn>model\nght<turn|>\n", Markers::yes, expected);
  EXPECT_EQ(*tokens, expected);
}

TEST(ChatFormat, ConversationsThatAFormatCannotSayAreRefused) {
  const Tokenizer tokenizer = chat_tokenizer();
  const auto complaint = [&](Style style, const std::vector<Message>& messages, Thinking thinking = Thinking::off) {
    const Result<std::string> text = format_of(style, tokenizer).render_text(messages, {.thinking = thinking});
    return text ? "accepted" : text.error().message();
  };
  EXPECT_EQ(complaint(Style::gemma4_small, {}), "chat: the conversation has no message");
  EXPECT_EQ(complaint(Style::gemma3, {}), "chat: the conversation has no message");
  EXPECT_EQ(complaint(Style::gemma3, {{Role::system, "a"}}), "chat: the conversation has only a system message");
  EXPECT_EQ(complaint(Style::gemma3, {{Role::user, "a"}}, Thinking::on), "chat: Gemma 3 has no thinking mode");
  EXPECT_EQ(complaint(Style::gemma3, {{Role::system, "a"}, {Role::user, "b"}, {Role::user, "c"}}),
            "chat, message 2: in this format user and assistant take turns, the user first: expected assistant, found "
            "user");
  EXPECT_EQ(complaint(Style::gemma3, {{Role::assistant, "a"}}),
            "chat, message 0: in this format user and assistant take turns, the user first: expected user, found "
            "assistant");
}

TEST(ChatFormat, IsDetectedByTemplateVocabularyAndSize) {
  const Tokenizer tokenizer = chat_tokenizer();
  const auto style = [&](std::optional<std::string_view> text, bool large) -> std::string {
    const Result<std::optional<ChatFormat>> found = ChatFormat::detect(tokenizer, text, large);
    if (!found) return found.error().message();
    if (!*found) return "base";
    return std::array{"small", "large", "gemma3"}[static_cast<size_t>((*found)->style())];
  };
  EXPECT_EQ(style({}, true), "base");
  EXPECT_EQ(style("", true), "base");
  EXPECT_EQ(style("{{ '<|turn>model\\n' }}", false), "small");
  EXPECT_EQ(style("{{ '<|turn>model\\n' }}", true), "large");
  EXPECT_EQ(style("{{ '<|turn>model\\n' }}{{ '<|channel>thought\\n<channel|>' }}", false), "large");
  EXPECT_EQ(style("{{ '<start_of_turn>' + role }}", false), "gemma3");
  EXPECT_EQ(style("{{ '[INST]' }}", false),
            "chat template: the file's chat template is of no known family: expected the turn markers of Gemma 4 "
            "(<|turn>) or Gemma 3 (<start_of_turn>), found neither");
}

TEST(ChatFormat, ATemplateWhoseMarkersTheVocabularyLacksIsRefused) {
  const std::pair<const char*, const char*> cases[] = {{"<|turn>", "<|turn>"},
                                                       {"<|turn>", "<turn|>"},
                                                       {"<|turn>", "<|think|>"},
                                                       {"<|turn>", "<|channel>"},
                                                       {"<|turn>", "<channel|>"},
                                                       {"<|turn>", "<bos>"},
                                                       {"<start_of_turn>", "<start_of_turn>"},
                                                       {"<start_of_turn>", "<end_of_turn>"}};
  for (const auto& [text, missing] : cases) {
    const Tokenizer tokenizer = chat_tokenizer(missing);
    const Result<std::optional<ChatFormat>> found = ChatFormat::detect(tokenizer, text, false);
    ASSERT_FALSE(found) << missing;
    EXPECT_EQ(found.error().code, ErrorCode::unsupported);
    EXPECT_EQ(found.error().expected, missing);
  }
}

TEST(ChatFormat, StopsAtTheEndOfATurnAndWhateverTheFileCallsAnEnd) {
  const Tokenizer tokenizer = chat_tokenizer();
  const auto stops = [&](Style style, std::string_view string) {
    const ChatFormat format = format_of(style, tokenizer);
    return std::ranges::count(format.stop_tokens(), tokenizer.find(string).value());
  };
  for (const char* string : {"<turn|>", "<|turn>", "<|tool_response>"}) {
    EXPECT_EQ(stops(Style::gemma4_small, string), 1) << string;
    EXPECT_EQ(stops(Style::gemma3, string), 0) << string;
  }
  EXPECT_EQ(stops(Style::gemma3, "<end_of_turn>"), 1);
  for (const Token end : tokenizer.end_tokens())
    EXPECT_EQ(stops(Style::gemma3, tokenizer.string(end)), 1) << tokenizer.string(end);
}

TEST(Whitespace, IsWhatPythonStrips) {
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim(" \t\n\v\f\r\x1c\x1d\x1e\x1f\xC2\x85\xC2\xA0\xE1\x9A\x80\xE2\x80\x8A\xE3\x80\x80"), "");
  EXPECT_EQ(trim("\xE2\x80\xA8 a\xC2\xA0 b\xE2\x81\x9F"), "a\xC2\xA0 b");
  EXPECT_EQ(trim("\xE2\x80\x8B"), "\xE2\x80\x8B") << "the zero-width space is none";
  EXPECT_EQ(trim("\xA0 x \x80"), "\xA0 x \x80") << "half a character is none";
}

}  // namespace
}  // namespace facet::chat
