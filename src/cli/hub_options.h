// Models by their name on the hub: the options that say which, fetching one with a progress line, and finding one that
// was fetched before.
#pragma once

#include <optional>
#include <string>

#include "cli/command_line.h"
#include "hub/hub.h"

namespace facet::cli {

struct HubOptions {
  std::string repo, file, token;
  bool offline = false, no_mmproj = false, no_drafter = false;

  void add_to(Command& command);

  // The hub as the environment and these options describe it. Errors: those of hub::read_settings.
  Result<hub::Hub> open() const;
  hub::Wanted wanted() const;

  // Says what was chosen, fetches what is absent; offline, or when the server is out of reach, the cache has to do.
  Result<hub::LocalModel> fetch(const std::string& name) const;
  // The path of a model that a user named: itself, when it is there or cannot be a name of the hub; else that of the
  // model in the cache. Errors: not_found, saying how to fetch it.
  Result<std::string> local_path(const std::string& model) const;
};

// The environment, for hub::read_settings.
std::optional<std::string> variable(const char* name);

}  // namespace facet::cli
