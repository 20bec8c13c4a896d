#include <array>

#include "chat/chat_format.h"
#include "chat/whitespace.h"

namespace facet::chat {
namespace {

// Channels that hold no thought. `thought` is the only one in use otherwise; an unknown name is read as thought.
constexpr std::array<std::string_view, 2> kTextChannels = {"final\n", "answer\n"};
constexpr std::string_view kThoughtChannel = "thought\n";

// Appends bytes to out but holds their white space at the end back in `space`.
void append_held(std::string_view bytes, std::string& space, std::string& out) {
  const size_t tail = trailing_space(bytes);
  if (tail == bytes.size()) {
    space += bytes;
    return;
  }
  out += space;
  out += bytes.substr(0, bytes.size() - tail);
  space = bytes.substr(bytes.size() - tail);
}

}  // namespace

AnswerParser::AnswerParser(const ChatFormat& format, const tokenizer::Tokenizer& tokenizer)
    : open_(format.open_channel()), close_(format.close_channel()), decoder_(tokenizer) {}

AnswerParser::Piece AnswerParser::push(Token token) {
  Piece out;
  if (token != open_ && token != close_) {
    take(decoder_.push(token), out);
    return out;
  }
  take(decoder_.finish(), out);  // a character that a marker cuts is over
  name_.clear();                 // a channel that closes or opens again within its name was empty
  if (token == open_) {
    state_ = State::channel_name;
  } else {
    if (state_ != State::text) text_begins_ = true;
    thought_space_.clear();
    state_ = State::text;
  }
  return out;
}

AnswerParser::Piece AnswerParser::finish() {
  Piece out;
  take(decoder_.finish(), out);
  name_.clear();
  text_space_.clear();
  thought_space_.clear();
  return out;
}

void AnswerParser::take(std::string_view bytes, Piece& out) {
  switch (state_) {
    case State::text: return say(bytes, out);
    case State::thought: return think(bytes, out);
    case State::channel_name: name_ += bytes; return take_name(out);
  }
}

// Decides as soon as the bytes so far can be only one thing.
void AnswerParser::take_name(Piece& out) {
  const std::string_view name = name_;
  if (name.starts_with(kThoughtChannel)) {
    state_ = State::thought;
    think(name.substr(kThoughtChannel.size()), out);
    return;
  }
  bool open = kThoughtChannel.starts_with(name);
  for (const std::string_view channel : kTextChannels) {
    if (name.starts_with(channel)) {
      state_ = State::text;
      text_begins_ = true;
      say(name.substr(channel.size()), out);
      return;
    }
    open = open || channel.starts_with(name);
  }
  if (open) return;
  state_ = State::thought;  // no name at all
  think(name, out);
}

void AnswerParser::say(std::string_view bytes, Piece& out) {
  if (text_begins_) {
    bytes.remove_prefix(leading_space(bytes));
    if (bytes.empty()) return;
    text_begins_ = false;
  }
  append_held(bytes, text_space_, out.text);
}

void AnswerParser::think(std::string_view bytes, Piece& out) { append_held(bytes, thought_space_, out.thought); }

}  // namespace facet::chat
