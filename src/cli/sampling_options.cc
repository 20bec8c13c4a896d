#include "cli/sampling_options.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "cli/terminal.h"

namespace facet::cli {
namespace {

constexpr Numbers kNonNegative{[](double x) { return x >= 0 && std::isfinite(x); },
                               "must be a finite number, 0 or more"};
constexpr Numbers kPositive{[](double x) { return x > 0 && std::isfinite(x); }, "must be a finite number above 0"};
constexpr Numbers kOneOrMore{[](double x) { return x >= 1 && std::isfinite(x); }, "must be a finite number, 1 or more"};
constexpr Numbers kShare{[](double x) { return x >= 0 && x <= 1; }, "must be from 0 to 1"};
constexpr Numbers kFinite{[](double x) { return std::isfinite(x); }, "must be a finite number"};
constexpr Numbers kWindow{[](double x) { return x >= -1; }, "must be 0 (off) or more, or -1 for the whole context"};

void add_selection(Command& command, Sampling& values) {
  command.option("--temp", values.temperature, "temperature; 0 is greedy (default: the model file's, else 1)")
      .among(kNonNegative);
  command.option("--top-k", values.top_k, "keep the K likeliest tokens; 0 is off (default: the file's, else 64)")
      .among(kNonNegative);
  command
      .option("--typical,--typical-p", values.typical_p,
              "keep the tokens whose surprise is nearest to the average, up to this share; 1 is off (default: the "
              "file's, else 1)")
      .among(kShare);
  command
      .option("--top-p", values.top_p,
              "keep the likeliest tokens up to this share; 1 is off (default: the file's, else 0.95)")
      .among(kShare);
  command
      .option("--min-p", values.min_p,
              "drop tokens below this share of the likeliest; 0 is off (default: the file's, else 0)")
      .among(kShare);
}

void add_repetition(Command& command, SamplingOptions& options) {
  Sampling& values = options.values;
  command
      .option("--repeat-penalty", values.repeat_penalty,
              "divide the positive logits of recent tokens by this, multiply others; 1 is off (default: the file's, "
              "else 1)")
      .among(kPositive);
  command
      .option("--frequency-penalty", values.frequency_penalty,
              "subtract this from the logit of a recent token for each time it is there; 0 is off (default: 0)")
      .among(kFinite);
  command
      .option("--presence-penalty", values.presence_penalty,
              "subtract this from the logit of a recent token once; 0 is off (default: 0)")
      .among(kFinite);
  command
      .option(
          "--repeat-last-n", values.repeat_last_n,
          "recent: among so many last tokens, prompt included; 0 is off, -1 the whole context (default: the file's, "
          "else 64)")
      .among(kWindow);
  command
      .option("--dry-multiplier", values.dry_multiplier,
              "DRY: penalty of a token that would continue a repetition of the allowed length; 0 is off (default: 0)")
      .among(kNonNegative);
  command.option("--dry-base", values.dry_base, "DRY: times this for every token that is longer (default: 1.75)")
      .among(kOneOrMore);
  command
      .option("--dry-allowed-length", values.dry_allowed_length,
              "DRY: repetitions below so many tokens cost nothing (default: 2)")
      .among(kNonNegative);
  command
      .option("--dry-penalty-last-n", values.dry_penalty_last_n,
              "DRY: look at so many last tokens; 0 is off, -1 the whole context (default: -1)")
      .among(kWindow);
  command
      .option("--dry-sequence-breaker", options.breakers,
              "DRY: no repetition reaches back over this text; \\n is a newline; may be repeated; none for none "
              "(default: \\n : \" *)")
      .one_at_a_time()
      .type_name("TEXT");
}

void add_bias(Command& command, std::vector<std::string>& texts) {
  command
      .option("-l,--logit-bias", texts,
              "add to the logit of a token: ID+BIAS or ID-BIAS; ID-inf or ID=false for never; may be repeated")
      .one_at_a_time()
      .type_name("BIAS")
      .check([](const std::string& text) {
        const Result<LogitBias> parsed = parse_logit_bias(text);
        return parsed.ok() ? std::string() : parsed.error().message();
      });
}

}  // namespace

void SamplingOptions::add_to(Command& command) {
  command.option("-n,--predict", max_tokens, "tokens to write at most (-1: until the context is full)")
      .between(-1, int64_t{1} << 31);
  add_selection(command, values);
  add_repetition(command, *this);
  add_bias(command, bias);
  command.option("-s,--seed", values.seed, "seed of the draw (default: a fresh one, shown with --verbose)")
      .among(kNonNegative);
  command.option("--stop", values.stop_strings, "end the answer before this text; may be repeated").one_at_a_time();
  command.flag("--ignore-eos", values.ignore_stop_tokens, "go on after tokens that end an answer");
  command.flag("--allow-reserved", values.allow_reserved, "let reserved tokens be chosen (for comparisons)");
  command.flag("--think", think, "let a chat model think before it answers");
}

Sampling SamplingOptions::sampling() const {
  Sampling sampling = values;
  for (const std::string& text : bias)
    if (const Result<LogitBias> parsed = parse_logit_bias(text)) sampling.logit_bias.push_back(*parsed);
  if (breakers.empty()) return sampling;
  sampling.dry_sequence_breakers.clear();
  for (const std::string& text : breakers)
    if (text != "none") sampling.dry_sequence_breakers.push_back(unescaped(text));
  return sampling;
}

Result<LogitBias> parse_logit_bias(const std::string& text) {
  const Error unreadable{.code = ErrorCode::invalid_argument,
                         .what = "cannot be read",
                         .where = "logit bias",
                         .expected = "ID+BIAS, ID-BIAS, ID-inf or ID=false, such as 15043-1.5",
                         .found = text};
  LogitBias bias;
  const char* const end = text.data() + text.size();
  const auto [sign, id_error] = std::from_chars(text.data(), end, bias.token);
  if (id_error != std::errc() || bias.token < 0 || sign == end) return unreadable;
  const std::string_view value(sign + 1, end);
  if ((*sign == '-' && value == "inf") || (*sign == '=' && value == "false")) {
    bias.bias = -std::numeric_limits<float>::infinity();
    return bias;
  }
  if ((*sign != '+' && *sign != '-') || value.empty() || (value[0] != '.' && (value[0] < '0' || value[0] > '9')))
    return unreadable;
  const auto [rest, error] = std::from_chars(sign + 1, end, bias.bias);
  if (error != std::errc() || rest != end) return unreadable;
  if (*sign == '-') bias.bias = -bias.bias;
  return bias;
}

std::string unescaped(const std::string& text) {
  constexpr std::string_view kNames = "ntr\\\"'", kMeanings = "\n\t\r\\\"'";
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t which = text[i] == '\\' && i + 1 < text.size() ? kNames.find(text[i + 1]) : std::string_view::npos;
    if (which == std::string_view::npos) {
      out += text[i];
    } else {
      out += kMeanings[which];
      ++i;
    }
  }
  return out;
}

void note_idle_settings(const SamplingOptions& settings) {
  const Sampling& s = settings.values;
  if (s.temperature == 0 && (s.top_k || s.typical_p || s.top_p || s.min_p))
    note("--temp 0 takes the likeliest token: --top-k, --typical, --top-p and --min-p change nothing");
  if (s.repeat_last_n == 0 && (s.repeat_penalty || s.frequency_penalty || s.presence_penalty))
    note("--repeat-last-n 0 looks at no tokens: no repetition, frequency or presence penalty is taken");
  const bool dry = s.dry_multiplier.value_or(0) != 0;
  if (!dry && (s.dry_base || s.dry_allowed_length || s.dry_penalty_last_n || !settings.breakers.empty()))
    note("DRY is off without --dry-multiplier: its other options change nothing");
  if (dry && s.dry_penalty_last_n == 0) note("--dry-penalty-last-n 0 looks at no tokens: DRY is off");
}

}  // namespace facet::cli
