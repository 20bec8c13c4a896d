#include "cli/conversation.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace facet::cli {
namespace {

constexpr std::pair<Role, const char*> kRoles[] = {
    {Role::system, "system"}, {Role::developer, "developer"}, {Role::user, "user"}, {Role::assistant, "assistant"}};

const char* name_of(Role role) { return std::ranges::find(kRoles, role, &std::pair<Role, const char*>::first)->second; }

Error unreadable(std::string what, const std::string& where, std::string expected) {
  return {.code = ErrorCode::corrupt,
          .what = std::move(what),
          .where = where,
          .expected = std::move(expected),
          .found = ""};
}

Result<Message> message_of(const Json& json, const std::string& where) {
  const Json *role = json.find("role"), *text = json.find("text"), *thought = json.find("thought");
  if (role == nullptr || role->string() == nullptr || text == nullptr || text->string() == nullptr)
    return unreadable("message lacks a role or a text", where, "{\"role\": …, \"text\": …}");
  const auto* found = std::ranges::find_if(kRoles, [&](const auto& row) { return row.second == *role->string(); });
  if (found == std::end(kRoles))
    return unreadable("message has an unknown role", where, "system, developer, user or assistant");
  Message message{.role = found->first, .text = *text->string()};
  if (thought != nullptr && thought->string() != nullptr) message.thought = *thought->string();
  return message;
}

}  // namespace

void Conversation::set_system(std::string text) {
  if (!messages_.empty() && messages_.front().role == Role::system) messages_.erase(messages_.begin());
  if (!text.empty()) messages_.insert(messages_.begin(), {.role = Role::system, .text = std::move(text)});
}

void Conversation::reset() {
  std::erase_if(messages_, [](const Message& message) { return message.role != Role::system; });
  text_.clear();
  marks_.clear();
}

void Conversation::ask(std::string text) {
  if (!raw_) {
    messages_.push_back({.role = Role::user, .text = std::move(text)});
    return;
  }
  marks_.push_back(text_.size());
  if (!text_.empty() && !text_.ends_with('\n')) text_ += '\n';
  text_ += text;
}

bool Conversation::take_back_answer() {
  if (!raw_) {
    if (messages_.empty() || messages_.back().role != Role::assistant) return false;
    messages_.pop_back();
    return true;
  }
  if (marks_.size() < 2 || marks_.size() % 2 != 0) return false;
  text_.resize(marks_.back());
  marks_.pop_back();
  return true;
}

void Conversation::take_back_question() {
  if (!raw_) {
    if (!messages_.empty() && messages_.back().role == Role::user) messages_.pop_back();
  } else if (marks_.size() % 2 == 1) {
    text_.resize(marks_.back());
    marks_.pop_back();
  }
}

void Conversation::keep(const Answer& answer) {
  if (!raw_) {
    messages_.push_back({.role = Role::assistant, .text = answer.text, .thought = answer.thought});
    return;
  }
  marks_.push_back(text_.size());
  text_ += answer.text;
}

void Conversation::put_into(Request& request) const {
  if (raw_) {
    request.text = text_;
  } else {
    request.messages = messages_;
  }
}

Json Conversation::saved() const {
  Json json;
  if (raw_) {
    json.set("text", text_);
    return json;
  }
  Json::Array messages;
  for (const Message& message : messages_) {
    Json one;
    one.set("role", name_of(message.role));
    one.set("text", message.text);
    if (!message.thought.empty()) one.set("thought", message.thought);
    messages.push_back(std::move(one));
  }
  json.set("messages", std::move(messages));
  return json;
}

Result<void> Conversation::restore(const Json& json, const std::string& where) {
  const Json* text = json.find("text");
  const Json* messages = json.find("messages");
  if (raw_ ? text == nullptr && messages != nullptr : messages == nullptr && text != nullptr)
    return Error{.code = ErrorCode::unsupported,
                 .what = raw_ ? "is a chat, but this model only continues text" : "is a continued text, not a chat",
                 .where = where};
  if (raw_) {
    if (text == nullptr || text->string() == nullptr) return unreadable("is not a saved text", where, "{\"text\": …}");
    text_ = *text->string();
    marks_.clear();
    return {};
  }
  if (messages == nullptr || messages->array() == nullptr)
    return unreadable("is not a saved chat", where, "{\"messages\": [ … ]}");
  std::vector<Message> read;
  for (const Json& message : *messages->array()) {
    FACET_TRY(read.emplace_back(), message_of(message, where));
  }
  messages_ = std::move(read);
  return {};
}

}  // namespace facet::cli
