// The Gemma 4 format, text part (the template of 2026-07-09; spec/chat.md 2 and 6):
//
//   <bos>[<|turn>system⏎[<|think|>⏎]SYSTEM<turn|>⏎] {<|turn>ROLE⏎TEXT<turn|>⏎} <|turn>model⏎
//
// Thoughts are written into the turns behind the last user message only. A large model with thinking off begins its
// turn with an empty thought channel.
#include "chat/whitespace.h"
#include "chat/writers.h"

namespace facet::chat {
namespace {

bool instructs(Role role) { return role == Role::system || role == Role::developer; }

std::string_view role_name(Role role, bool repairs) {
  switch (role) {
    case Role::system: return "system";
    case Role::developer: return repairs ? "system" : "developer";
    case Role::user: return "user";
    case Role::assistant: return "model";
  }
  return "user";
}

// An answer that carries thoughts in its text loses them: of each piece before a closing marker, what precedes the
// first opening one stays.
std::string without_thoughts(std::string_view text) {
  constexpr std::string_view kOpen = "<|channel>", kClose = "<channel|>";
  std::string kept;
  for (;;) {
    const size_t close = text.find(kClose);
    const std::string_view piece = text.substr(0, close);
    kept += piece.substr(0, piece.find(kOpen));
    if (close == std::string_view::npos) return kept;
    text.remove_prefix(close + kClose.size());
  }
}

}  // namespace

Result<std::vector<Segment>> Gemma4Writer::write(std::span<const Message> messages) {
  if (messages.empty() && repairs())
    return Error{.code = ErrorCode::invalid_argument, .what = "the conversation has no message", .where = "chat"};
  out_.marker(format_.bos_);
  const bool instructed = !messages.empty() && instructs(messages.front().role);
  if (instructed || options_.thinking == Thinking::on) system_turn(instructed ? &messages.front() : nullptr);
  if (instructed) messages = messages.subspan(1);

  size_t after_user = 0;  // first message behind the last one of the user
  for (size_t i = 0; i < messages.size(); ++i)
    if (messages[i].role == Role::user) after_user = i + 1;
  for (size_t i = 0; i < messages.size(); ++i) message(messages, i, i >= after_user);
  if (options_.add_generation_prompt) generation_prompt();
  return out_.take();
}

void Gemma4Writer::system_turn(const Message* first) {
  out_.marker(format_.open_turn_);
  out_.text("system\n");
  if (options_.thinking == Thinking::on) {
    out_.marker(*format_.think_);
    out_.text("\n");
  }
  if (first != nullptr) out_.text(trim(first->text));
  out_.marker(format_.close_turn_);
  out_.text("\n");
}

// Answers that follow each other share a turn.
void Gemma4Writer::message(std::span<const Message> messages, size_t index, bool keep_thought) {
  const Message& message = messages[index];
  const bool answer = message.role == Role::assistant;
  const auto is_answer = [&](size_t i) { return i < messages.size() && messages[i].role == Role::assistant; };
  if (answer && index > 0 && is_answer(index - 1)) {
    if (repairs()) out_.text("\n");
  } else {
    out_.marker(format_.open_turn_);
    out_.text(role_name(message.role, repairs()));
    out_.text("\n");
  }
  if (answer && keep_thought && !message.thought.empty()) {
    out_.marker(*format_.open_channel_);
    out_.text("thought\n");
    out_.text(message.thought);
    out_.text("\n");
    out_.marker(*format_.close_channel_);
  }
  out_.text(trim(answer ? without_thoughts(message.text) : message.text));
  if (answer && is_answer(index + 1)) return;
  out_.marker(format_.close_turn_);
  out_.text("\n");
}

void Gemma4Writer::generation_prompt() {
  out_.marker(format_.open_turn_);
  out_.text("model\n");
  if (format_.style_ != Style::gemma4_large || options_.thinking == Thinking::on) return;
  out_.marker(*format_.open_channel_);
  out_.text("thought\n");
  out_.marker(*format_.close_channel_);
}

}  // namespace facet::chat
