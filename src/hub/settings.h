// Settings: where the cache is, which server is asked, and in whose name. They come from the variables that Python's
// huggingface_hub and llama.cpp read, in their order, so that all three share one folder and one login.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "facet/result.h"

namespace facet::hub {

// The value of a variable of the environment; nullopt where it is not set. (Only a main reads the environment.)
using Variables = std::function<std::optional<std::string>(const char* name)>;

struct Settings {
  // LLAMA_CACHE, HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub,
  // HOME/.cache/huggingface/hub, the same below the home folder of the user's account.
  std::filesystem::path cache;
  std::string endpoint = "https://huggingface.co";  // MODEL_ENDPOINT, HF_ENDPOINT; without a slash at the end
  // HF_TOKEN, HUGGING_FACE_HUB_TOKEN, the file HF_TOKEN_PATH, the file "token" in HF_HOME or in the folder that holds
  // the cache by default; empty: none. HF_HUB_DISABLE_IMPLICIT_TOKEN leaves the file alone.
  std::string token;
  std::string certificates;  // CURL_CA_BUNDLE, REQUESTS_CA_BUNDLE, SSL_CERT_FILE; empty: the system's
  bool offline = false;      // HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE: only the cache is asked
  bool symlinks = true;      // HF_HUB_DISABLE_SYMLINKS: files instead of links in snapshots
  double retry_seconds = 2;  // FACET_RETRY_SECONDS: the wait before the second attempt; it doubles then
  int stall_seconds = 30;    // FACET_STALL_SECONDS: a transfer that brings nothing for so long is given up
};

// Errors: invalid_argument (a malformed endpoint, token or number), not_found (no home folder), io.
Result<Settings> read_settings(const Variables& variables);

// A token goes into a header line: visible ASCII without spaces. Errors: invalid_argument; the token is not repeated.
Result<void> check_token(std::string_view token, std::string_view where);

}  // namespace facet::hub
