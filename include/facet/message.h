// Messages of a chat.
#pragma once

#include <string>
#include <vector>

namespace facet {

enum class Role { system, developer, user, assistant };
enum class Thinking { off, on };

struct Message {
  Role role = Role::user;
  std::string text;
  std::string thought = {};  // assistant only: what it thought before answering
};

}  // namespace facet
