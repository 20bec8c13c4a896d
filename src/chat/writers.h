// The published formats, written out: a conversation to segments. One writer a family; used once.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "chat/chat_format.h"

namespace facet::chat {

// A list of segments in which neighbouring texts are one: they are tokenised together, as the models were trained.
class SegmentList {
 public:
  void marker(Token token) { segments_.push_back({.marker = token, .text = {}}); }
  void text(std::string_view text) {
    if (segments_.empty() || segments_.back().marker) segments_.push_back({});
    segments_.back().text += text;
  }
  std::vector<Segment> take() { return std::move(segments_); }

 private:
  std::vector<Segment> segments_;
};

class Gemma4Writer {
 public:
  Gemma4Writer(const ChatFormat& format, const RenderOptions& options) : format_(format), options_(options) {}
  Result<std::vector<Segment>> write(std::span<const Message> messages);

 private:
  void system_turn(const Message* first);
  void message(std::span<const Message> messages, size_t index, bool keep_thought);
  void generation_prompt();
  bool repairs() const { return options_.repairs == Repairs::on; }

  const ChatFormat& format_;
  const RenderOptions options_;
  SegmentList out_;
};

class Gemma3Writer {
 public:
  Gemma3Writer(const ChatFormat& format, const RenderOptions& options) : format_(format), options_(options) {}
  Result<std::vector<Segment>> write(std::span<const Message> messages);

 private:
  const ChatFormat& format_;
  const RenderOptions options_;
  SegmentList out_;
};

}  // namespace facet::chat
