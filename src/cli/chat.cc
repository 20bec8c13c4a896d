// facet chat: a conversation. Ctrl-C stops the answer, not the program.
#include <sstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/strings.h"
#include "cli/answer_output.h"
#include "cli/commands.h"
#include "cli/conversation.h"
#include "cli/line_editor.h"
#include "cli/options.h"
#include "cli/sampling_options.h"
#include "cli/terminal.h"

namespace facet::cli {
namespace {

constexpr const char* kChatFooter =
    R"(In the conversation, /help lists the commands. A base model continues what you write.

Examples:
  facet chat model.gguf
  facet chat -m model.gguf --system "Answer in one sentence." --temp 0.5)";

constexpr const char* kHelp = R"(/system TEXT   set the system message (without TEXT: remove it)
/reset         forget the conversation; the system message stays
/regen         answer the last question again
/save FILE     save the conversation
/load FILE     load a saved conversation
/set           show the settings
/set NAME VALUE  change one of them; "default" undoes it
/exit          leave (Ctrl-D too)
Ctrl-C stops an answer.
)";

constexpr uint64_t kMaxSaved = uint64_t{64} << 20;

class Chat {
 public:
  void add_to(Command& command) {
    command.words(words_, "MODEL, unless -m names it").type_name("[MODEL]");
    model_.add_to(command);
    settings_.add_to(command);
    command.option("--system", system_, "system message");
    command.flag("--raw", raw_, "continue text, without a chat template");
    command.flag("-v,--verbose", verbose_, "tokens and speed after every answer, on standard error");
    command.footer(kChatFooter);
  }

  Result<int> run() {
    FACET_TRY_VOID(model_.take_model(words_));
    if (!words_.empty())
      return Error{.code = ErrorCode::invalid_argument,
                   .what = "words are left over",
                   .where = "command line",
                   .expected = "a model only; questions are typed in the conversation",
                   .found = words_.front()};
    const Interrupt interrupt;
    FACET_TRY(Engine engine, load_engine(model_));
    Conversation conversation(raw_ || !engine.info().has_chat_template);
    if (conversation.raw() && !raw_) note("the model has no chat template: it continues the text that you write");
    if (conversation.raw()) note_chat_flags(system_, settings_);
    note_idle_settings(settings_);
    conversation.set_system(system_);
    LineEditor editor(cat(cache_folder(), "/chat_history"));
    note(cat(engine.info().description, ", context ", engine.info().context, "; /help lists the commands"));
    while (const std::optional<std::string> line = editor.line("> ")) {
      if (line->empty()) continue;
      if (!line->starts_with('/')) {
        conversation.ask(*line);
        answer(engine, conversation);
      } else if (!command(*line, engine, conversation)) {
        break;
      }
    }
    return 0;
  }

 private:
  // A failed turn leaves the conversation as it was.
  bool answer(Engine& engine, Conversation& conversation) {
    Interrupt::clear();
    Request request;
    request.sampling = settings_.sampling();
    request.max_tokens = settings_.max_tokens;
    request.thinking = settings_.think ? Thinking::on : Thinking::off;
    conversation.put_into(request);
    AnswerOutput output(AnswerOutput::Mode::stream);
    const Result<Answer> answer = engine.generate(request, output.callback());
    output.finish();
    if (!answer.ok()) {
      report(answer.error());
      conversation.take_back_question();
      return false;
    }
    conversation.keep(*answer);
    if (answer->finish == FinishReason::length && settings_.max_tokens < 0)
      note("the context is full; /reset begins a new conversation");
    if (verbose_) note(summary(*answer));
    Interrupt::clear();
    return true;
  }

  // Returns false to leave.
  bool command(const std::string& line, Engine& engine, Conversation& conversation) {
    std::istringstream in(line);
    std::string name, rest;
    in >> name >> std::ws;
    std::getline(in, rest);
    if (name == "/exit" || name == "/quit") return false;
    if (name == "/help") {
      show(kHelp);
    } else if (name == "/system") {
      if (conversation.raw())
        note("a base model has no system message");
      else
        conversation.set_system(rest);
    } else if (name == "/reset") {
      conversation.reset();
    } else if (name == "/regen") {
      Conversation before = conversation;
      if (!conversation.take_back_answer())
        note("there is no answer to make again");
      else if (!answer(engine, conversation))
        conversation = std::move(before);
    } else if (name == "/save" || name == "/load") {
      const Result<void> done = name == "/save" ? save(rest, conversation) : load(rest, conversation);
      if (!done.ok()) report(done.error());
    } else if (name == "/set") {
      set(rest);
    } else {
      note(cat("there is no command ", name, "; /help lists them"));
    }
    return true;
  }

  void set(const std::string& rest) {
    std::istringstream in(rest);
    std::string name, value;
    if (in >> name >> value) {
      const Result<void> changed = change_setting(settings_, name, value);
      if (!changed.ok()) report(changed.error());
      return;
    }
    show(settings_text(settings_));
  }

  static Result<void> need_file(const std::string& path) {
    if (!path.empty()) return {};
    return Error{.code = ErrorCode::invalid_argument, .what = "no file is named", .where = "/save and /load"};
  }
  static Result<void> save(const std::string& path, const Conversation& conversation) {
    FACET_TRY_VOID(need_file(path));
    return write_file_atomic(path, as_bytes(conversation.saved().dump(2) + "\n"));
  }
  static Result<void> load(const std::string& path, Conversation& conversation) {
    FACET_TRY_VOID(need_file(path));
    FACET_TRY(const std::string text, read_file(path, kMaxSaved));
    FACET_TRY(const Json json, Json::parse(text, path));
    return conversation.restore(json, path);
  }

  ModelOptions model_;
  SamplingOptions settings_;
  std::vector<std::string> words_;
  std::string system_;
  bool raw_ = false, verbose_ = false;
};

}  // namespace

void add_chat(Program& program) { program.add<Chat>("chat", "converse"); }

}  // namespace facet::cli
