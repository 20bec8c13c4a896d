#include "cli/sampling_options.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "cli/terminal.h"

namespace facet::cli {
namespace {

// Unlike CLI11's own, with a message that can be read.
CLI::Validator number_that(bool (*fits)(double), const char* otherwise) {
  return {[=](const std::string& text) {
            double value = 0;
            return CLI::detail::lexical_cast(text, value) && fits(value) ? std::string() : std::string(otherwise);
          },
          ""};
}
CLI::Validator non_negative() {
  return number_that([](double x) { return x >= 0 && std::isfinite(x); }, "must be a finite number, 0 or more");
}
CLI::Validator share() {
  return number_that([](double x) { return x >= 0 && x <= 1; }, "must be from 0 to 1");
}
CLI::Validator finite() {
  return number_that([](double x) { return std::isfinite(x); }, "must be a finite number");
}
CLI::Validator window() {
  return number_that([](double x) { return x >= -1; }, "must be 0 (off) or more, or -1 for the whole context");
}

void add_selection(CLI::App& app, Sampling& values) {
  add_option(app, "--temp", values.temperature, "temperature; 0 is greedy (default: the model file's, else 1)")
      ->check(non_negative());
  add_option(app, "--top-k", values.top_k, "keep the K likeliest tokens; 0 is off (default: the file's, else 64)")
      ->check(non_negative());
  add_option(app, "--typical,--typical-p", values.typical_p,
             "keep the tokens whose surprise is nearest to the average, up to this share; 1 is off (default: the "
             "file's, else 1)")
      ->check(share());
  add_option(app, "--top-p", values.top_p,
             "keep the likeliest tokens up to this share; 1 is off (default: the file's, else 0.95)")
      ->check(share());
  add_option(app, "--min-p", values.min_p,
             "drop tokens below this share of the likeliest; 0 is off (default: the file's, else 0)")
      ->check(share());
}

void add_repetition(CLI::App& app, SamplingOptions& options) {
  Sampling& values = options.values;
  add_option(app, "--repeat-penalty", values.repeat_penalty,
             "divide the positive logits of recent tokens by this, multiply others; 1 is off (default: the file's, "
             "else 1)")
      ->check(number_that([](double x) { return x > 0 && std::isfinite(x); }, "must be a finite number above 0"));
  add_option(app, "--frequency-penalty", values.frequency_penalty,
             "subtract this from the logit of a recent token for each time it is there; 0 is off (default: 0)")
      ->check(finite());
  add_option(app, "--presence-penalty", values.presence_penalty,
             "subtract this from the logit of a recent token once; 0 is off (default: 0)")
      ->check(finite());
  add_option(app, "--repeat-last-n", values.repeat_last_n,
             "recent: among so many last tokens, prompt included; 0 is off, -1 the whole context (default: the file's, "
             "else 64)")
      ->check(window());
  add_option(app, "--dry-multiplier", values.dry_multiplier,
             "DRY: penalty of a token that would continue a repetition of the allowed length; 0 is off (default: 0)")
      ->check(non_negative());
  add_option(app, "--dry-base", values.dry_base, "DRY: times this for every token that is longer (default: 1.75)")
      ->check(number_that([](double x) { return x >= 1 && std::isfinite(x); }, "must be a finite number, 1 or more"));
  add_option(app, "--dry-allowed-length", values.dry_allowed_length,
             "DRY: repetitions below so many tokens cost nothing (default: 2)")
      ->check(non_negative());
  add_option(app, "--dry-penalty-last-n", values.dry_penalty_last_n,
             "DRY: look at so many last tokens; 0 is off, -1 the whole context (default: -1)")
      ->check(window());
  add_option(app, "--dry-sequence-breaker", options.breakers,
             "DRY: no repetition reaches back over this text; \\n is a newline; may be repeated; none for none "
             "(default: \\n : \" *)")
      ->allow_extra_args(false)
      ->type_name("TEXT");
}

void add_bias(CLI::App& app, std::vector<std::string>& texts) {
  add_option(app, "-l,--logit-bias", texts,
             "add to the logit of a token: ID+BIAS or ID-BIAS; ID-inf or ID=false for never; may be repeated")
      ->allow_extra_args(false)
      ->type_name("BIAS")
      ->check(CLI::Validator(
          [](const std::string& text) {
            const Result<LogitBias> parsed = parse_logit_bias(text);
            return parsed.ok() ? std::string() : parsed.error().message();
          },
          ""));
}

}  // namespace

void SamplingOptions::add_to(CLI::App& app) {
  add_option(app, "-n,--predict", max_tokens, "tokens to write at most (-1: until the context is full)")
      ->check(CLI::Range(int64_t{-1}, int64_t{1} << 31));
  add_selection(app, values);
  add_repetition(app, *this);
  add_bias(app, bias);
  add_option(app, "-s,--seed", values.seed, "seed of the draw (default: a fresh one, shown with --verbose)")
      ->check(non_negative());
  app.add_option("--stop", values.stop_strings, "end the answer before this text; may be repeated")
      ->envname("FACET_STOP")
      ->allow_extra_args(false);
  add_flag(app, "--ignore-eos", values.ignore_stop_tokens, "go on after tokens that end an answer");
  add_flag(app, "--allow-reserved", values.allow_reserved, "let reserved tokens be chosen (for comparisons)");
  add_flag(app, "--think", think, "let a chat model think before it answers");
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
