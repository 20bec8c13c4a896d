// facet run: continues a text, or answers a question, once.
#include <string>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "cli/answer_output.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/sampling_options.h"
#include "cli/terminal.h"

namespace facet::cli {
namespace {

constexpr const char* kRunFooter =
    R"(A model with a chat template answers the text; a base model, or --raw, continues it.

Examples:
  facet run model.gguf "Why is the sky blue?"
  facet run -m model.gguf -p "Once upon a time" --raw -n 64 --temp 0
  facet run model.gguf -f question.txt --json --logprobs 5
  echo "Translate to French: good morning" | facet run model.gguf)";

struct Run {
  ModelOptions model;
  SamplingOptions sampling;
  TextOptions text;
  std::vector<std::string> words;
  std::string system;
  bool raw = false, special = false, json = false, verbose = false, no_bos = false;

  void add_to(Command& command) {
    command.words(words, "MODEL [TEXT], or TEXT with -m").type_name("[MODEL] [TEXT]");
    model.add_to(command);
    sampling.add_to(command);
    text.add_to(command);
    command.option("--system", system, "system message of a chat");
    command.option("--logprobs", sampling.values.logprobs, "with --json: report the K likeliest tokens of every step");
    command.flag("--raw", raw, "continue the text as it is, without a chat template");
    command.flag("--special", special, "with raw text: let control-token strings in it be control tokens");
    command.flag("--no-bos", no_bos, "with raw text: do not begin with the BOS token");
    command.flag("--json", json, "print one JSON object instead of the streamed text");
    command.flag("-v,--verbose", verbose, "tokens, speed and the seed on standard error");
    command.footer(kRunFooter);
  }

  Request request(const Engine& engine, std::string prompt) const {
    Request request;
    request.sampling = sampling.sampling();
    request.max_tokens = sampling.max_tokens;
    if (raw || !engine.info().has_chat_template) {
      request.text = std::move(prompt);
      request.parse_markers = special;
      request.add_bos = !no_bos;
      return request;
    }
    request.thinking = sampling.think ? Thinking::on : Thinking::off;
    if (!system.empty()) request.messages.push_back({.role = Role::system, .text = system});
    request.messages.push_back({.role = Role::user, .text = std::move(prompt)});
    return request;
  }

  Result<int> run() {
    FACET_TRY_VOID(model.take_model(words));
    FACET_TRY(std::string prompt, text.text(words));
    const Interrupt interrupt;
    FACET_TRY(Engine engine, load_engine(model));
    if (!raw && !engine.info().has_chat_template)
      note("the model has no chat template: it continues the text as it is (--raw says so without this note)");
    const bool continues = raw || !engine.info().has_chat_template;
    if (continues) note_chat_flags(system, sampling);
    if (!continues && (special || no_bos))
      note("--special and --no-bos belong to a text that is continued; a chat has its own markers");
    if (sampling.values.logprobs > 0 && !json) note("--logprobs is shown with --json only");
    note_idle_settings(sampling);
    if (prompt.empty()) note("the text is empty: the model begins one of its own");
    AnswerOutput output(json ? AnswerOutput::Mode::silent : AnswerOutput::Mode::stream);
    const Result<Answer> made = engine.generate(request(engine, std::move(prompt)), output.callback());
    output.finish();  // ends the line of an answer that failed, too
    if (!made.ok()) return made.error();
    const Answer& answer = *made;
    if (json) show(json_of(engine.info(), answer).dump(2) + "\n");
    if (verbose) note(summary(answer));
    return answer.finish == FinishReason::cancelled ? 130 : 0;
  }
};

}  // namespace

void add_run(Program& program) { program.add<Run>("run", "continue a text or answer a question"); }

}  // namespace facet::cli
