// What a chat has said so far: messages for a model with a chat format, a growing text for a base model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "facet/engine.h"

namespace facet::cli {

class Conversation {
 public:
  explicit Conversation(bool raw) : raw_(raw) {}

  bool raw() const { return raw_; }
  void set_system(std::string text);
  void reset();  // the system message stays
  void ask(std::string text);
  // Takes the last answer back; false: there is none.
  bool take_back_answer();
  // The last question too: nothing of a failed turn stays.
  void take_back_question();
  void keep(const Answer& answer);
  void put_into(Request& request) const;

  // {"messages": [{"role": …, "text": …}, …]} or {"text": …}.
  Json saved() const;
  // Errors: corrupt, unsupported (saved by a chat of the other kind). Unchanged then.
  Result<void> restore(const Json& json, const std::string& where);

 private:
  bool raw_;
  std::vector<Message> messages_;
  std::string text_;
  std::vector<size_t> marks_;  // raw: ends of the text before each question and each answer
};

}  // namespace facet::cli
