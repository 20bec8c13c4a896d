// The Gemma 3 format:
//
//   <bos>{<start_of_turn>ROLE⏎TEXT<end_of_turn>⏎} <start_of_turn>model⏎
//
// There is no system turn: a system text stands, untrimmed and with an empty line behind it, in the first user turn.
// User and model alternate. There are no thoughts.
#include "base/strings.h"
#include "chat/whitespace.h"
#include "chat/writers.h"

namespace facet::chat {
namespace {

const char* name(Role role) {
  switch (role) {
    case Role::system: return "system";
    case Role::developer: return "developer";
    case Role::user: return "user";
    case Role::assistant: return "assistant";
  }
  return "";
}

}  // namespace

Result<std::vector<Segment>> Gemma3Writer::write(std::span<const Message> messages) {
  if (options_.thinking == Thinking::on)
    return Error{.code = ErrorCode::unsupported, .what = "Gemma 3 has no thinking mode", .where = "chat"};
  const bool instructed =
      !messages.empty() && (messages.front().role == Role::system || messages.front().role == Role::developer);
  const std::string_view instruction = instructed ? std::string_view(messages.front().text) : "";
  if (instructed) messages = messages.subspan(1);
  if (messages.empty())
    return Error{.code = ErrorCode::invalid_argument,
                 .what = instructed ? "the conversation has only a system message" : "the conversation has no message",
                 .where = "chat"};
  out_.marker(format_.bos_);
  for (size_t i = 0; i < messages.size(); ++i) {
    const Role expected = i % 2 == 0 ? Role::user : Role::assistant;
    if (messages[i].role != expected)
      return Error{.code = ErrorCode::invalid_argument,
                   .what = "in this format user and assistant take turns, the user first",
                   .where = cat("chat, message ", i + (instructed ? 1 : 0)),
                   .expected = name(expected),
                   .found = name(messages[i].role)};
    out_.marker(format_.open_turn_);
    out_.text(expected == Role::user ? "user\n" : "model\n");
    if (i == 0 && instructed) {
      out_.text(instruction);
      out_.text("\n\n");
    }
    out_.text(trim(messages[i].text));
    out_.marker(format_.close_turn_);
    out_.text("\n");
  }
  if (options_.add_generation_prompt) {
    out_.marker(format_.open_turn_);
    out_.text("model\n");
  }
  return out_.take();
}

}  // namespace facet::chat
