// facet pull: fetches a model of the hub.
#include <string>
#include <vector>

#include "base/strings.h"
#include "cli/commands.h"
#include "cli/hub_options.h"
#include "cli/terminal.h"

namespace facet::cli {
namespace {

constexpr const char* kPullFooter =
    R"(The choice and its size are printed first; on standard output, at the end, the path of the model. What was interrupted
is continued by the same command. Without QUANT: Q4_K_M, else Q8_0, else the first GGUF file; safetensors where there
is no GGUF file, or with :safetensors.

Examples:
  facet pull ggml-org/gemma-4-E2B-it-GGUF
  facet pull unsloth/gemma-4-E4B-it-GGUF:UD-Q4_K_XL --no-mmproj
  facet pull google/gemma-4-E2B-it@main:safetensors)";

struct Pull {
  HubOptions hub;
  std::vector<std::string> words;

  void add_to(Command& command) {
    command.words(words, "which model").type_name("OWNER/REPO[@REVISION][:QUANT]");
    hub.add_to(command);
    command.footer(kPullFooter);
  }

  Result<int> run() const {
    std::vector<std::string> names = words;
    const bool is_default = hub.repo == variable("FACET_HF_REPO");  // gives way to a name on the command line
    if (!hub.repo.empty() && (names.empty() || !is_default)) names.push_back(hub.repo);
    if (names.size() != 1)
      return Error{.code = ErrorCode::invalid_argument,
                   .what = "one model is fetched at a time",
                   .where = "command line",
                   .expected = "OWNER/REPO[@REVISION][:QUANT]",
                   .found = cat(names.size(), " names")};
    FACET_TRY(const hub::LocalModel model, hub.fetch(names.front()));
    show(model.path().string() + "\n");
    return 0;
  }
};

}  // namespace

void add_pull(Program& program) { program.add<Pull>("pull", "fetch a model of the Hugging Face hub"); }

}  // namespace facet::cli
