#include "tokenizer/tokenizer.h"

#include <deque>
#include <variant>

#include "base/file.h"
#include "tokenizer/merger.h"
#include "tokenizer/roles.h"
#include "tokenizer/run_cutter.h"
#include "tokenizer/run_memory.h"
#include "tokenizer/special_tokens.h"
#include "tokenizer/vocab.h"
#include "tokenizer/vocab_file.h"

namespace facet::tokenizer {

// Nothing in here changes after it has been built.
struct Tokenizer::State {
  Vocab vocab;
  SpecialTokens special;
  RunCutter cutter;
  std::variant<std::monostate, RankedMerges, ScoredPieces> rules;
  std::optional<Token> bos;
  bool adds_bos = false;
  std::vector<Token> ends, never_sampled;
  std::optional<std::string> chat_template;

  static Result<std::unique_ptr<State>> build(const VocabFile& file);
};

Result<std::unique_ptr<Tokenizer::State>> Tokenizer::State::build(const VocabFile& file) {
  auto state = std::make_unique<State>();
  FACET_TRY(state->vocab, Vocab::build(file));
  FACET_TRY(state->special, SpecialTokens::build(file, state->vocab));
  state->cutter = RunCutter(state->vocab);
  if (file.algorithm == Algorithm::ranked_merges) {
    FACET_TRY(state->rules, RankedMerges::build(file, state->vocab));
  } else {
    state->rules = ScoredPieces(file, state->vocab);
  }
  state->bos = file.bos ? file.bos : state->vocab.find("<bos>");
  state->adds_bos = file.adds_bos && state->bos.has_value();
  state->ends = file.ends;
  state->never_sampled = never_sampled_tokens(state->vocab, state->ends);
  if (file.chat_template) state->chat_template = std::string(*file.chat_template);
  return state;
}

namespace {

// One call of encode: raw text in, tokens out.
template <class Rules>
class Encoder {
 public:
  Encoder(const Vocab& vocab, const RunCutter& cutter, const Rules& rules, size_t text_bytes, std::vector<Token>& out)
      : vocab_(vocab),
        cutter_(cutter),
        newlines_alone_(std::is_same_v<Rules, RankedMerges> && !cutter.mixes_newlines()),
        merger_(vocab, rules),
        memory_(text_bytes),
        out_(out) {}

  // A stretch without special tokens.
  void append(std::string_view text) {
    if (text.find(kSpaceMark) != text.npos) text = spaced(text);
    for (size_t at = 0; at < text.size();) {
      const size_t end = cutter_.run_end(text, at);
      append_run(text.substr(at, end - at));
      at = end;
    }
  }

 private:
  // The text with every U+2581 as the space that it stands for. Lives as long as this object.
  std::string_view spaced(std::string_view text) {
    std::string& copy = spaced_.emplace_back();
    copy.reserve(text.size());
    for (size_t mark; (mark = text.find(kSpaceMark)) != text.npos; text.remove_prefix(mark + kSpaceMark.size())) {
      copy += text.substr(0, mark);
      copy += ' ';
    }
    return copy += text;
  }

  void append_run(std::string_view run) {
    if (!memory_.remembers(run)) return append_new_run(run);
    const uint64_t hash = hash_text(run);
    if (memory_.recall(run, hash, out_)) return;
    const size_t first = out_.size();
    append_new_run(run);
    memory_.keep(run, hash, first, out_);
  }

  void append_new_run(std::string_view run) {
    // Newlines that are a token are that token, even if no merges lead to it (spec/tokenizer.md 4.2).
    if (newlines_alone_ && run.front() == '\n' && run.size() <= vocab_.longest_piece())
      if (const Token token = vocab_.find_piece(run); token >= 0) return out_.push_back(token);
    merger_.append(run, out_);
  }

  const Vocab& vocab_;
  const RunCutter& cutter_;
  bool newlines_alone_;
  Merger<Rules> merger_;
  RunMemory memory_;
  std::deque<std::string> spaced_;
  std::vector<Token>& out_;
};

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::open(const formats::Checkpoint& checkpoint) {
  if (checkpoint.container() == formats::Container::gguf)
    return from_gguf(checkpoint.metadata(), checkpoint.path().string());
  if (const std::optional<std::filesystem::path> file = checkpoint.tokenizer_file()) return from_json_file(*file);
  return Error{ErrorCode::not_found,
               "model has no tokenizer",
               checkpoint.path().string(),
               "a GGUF file, or tokenizer.json in the model's folder",
               {}};
}

Result<Tokenizer> Tokenizer::from_gguf(const formats::GgufMetadata& metadata, std::string_view where) {
  FACET_TRY(const VocabFile file, read_gguf_vocab(metadata, where));
  FACET_TRY(std::unique_ptr<State> state, State::build(file));
  return Tokenizer(std::move(state));
}

Result<Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json, std::string_view where) {
  JsonVocab json;
  FACET_TRY_VOID(json.read(tokenizer_json, where));
  FACET_TRY(std::unique_ptr<State> state, State::build(json.file()));
  return Tokenizer(std::move(state));
}

Result<Tokenizer> Tokenizer::from_json_file(const std::filesystem::path& tokenizer_json) {
  FACET_TRY(const MappedFile file, MappedFile::open(tokenizer_json));
  return from_json(as_text(file.bytes()), tokenizer_json.string());
}

std::vector<Token> Tokenizer::encode(std::string_view text, Markers markers) const {
  std::vector<Token> out;
  encode(text, markers, out);
  return out;
}

void Tokenizer::encode(std::string_view text, Markers markers, std::vector<Token>& out) const {
  const auto encode_by = [&]<class Rules>(const Rules& rules) {
    Encoder<Rules> encoder(state_->vocab, state_->cutter, rules, text.size(), out);
    for (size_t at = 0; at < text.size();) {
      const SpecialTokens::Match special = state_->special.find(text, at, markers);
      encoder.append(text.substr(at, special.begin - at));
      if (special.token >= 0) out.push_back(special.token);
      at = special.begin + special.size;
    }
  };
  if (const auto* merges = std::get_if<RankedMerges>(&state_->rules)) encode_by(*merges);
  if (const auto* scores = std::get_if<ScoredPieces>(&state_->rules)) encode_by(*scores);
}

std::string_view Tokenizer::piece(Token token, Markers markers) const {
  if (!state_->vocab.contains(token)) return {};
  const TokenClass token_class = state_->vocab.token_class(token);
  const bool hidden = token_class == TokenClass::marker || token_class == TokenClass::reserved;
  return hidden && markers == Markers::no ? std::string_view() : state_->vocab.piece(token);
}

std::string Tokenizer::decode(std::span<const Token> tokens, Markers markers) const {
  std::string text;
  for (const Token token : tokens) text += piece(token, markers);
  return text;
}

int64_t Tokenizer::size() const { return state_->vocab.size(); }

std::string_view Tokenizer::string(Token token) const {
  return state_->vocab.contains(token) ? state_->vocab.string(token) : std::string_view();
}

std::optional<Token> Tokenizer::find(std::string_view string) const { return state_->vocab.find(string); }

TokenClass Tokenizer::token_class(Token token) const {
  return state_->vocab.contains(token) ? state_->vocab.token_class(token) : TokenClass::reserved;
}

std::optional<Token> Tokenizer::bos() const { return state_->bos; }
bool Tokenizer::adds_bos() const { return state_->adds_bos; }
std::span<const Token> Tokenizer::end_tokens() const { return state_->ends; }
std::span<const Token> Tokenizer::never_sampled() const { return state_->never_sampled; }

std::optional<std::string_view> Tokenizer::chat_template() const {
  if (!state_->chat_template) return std::nullopt;
  return *state_->chat_template;
}

}  // namespace facet::tokenizer
