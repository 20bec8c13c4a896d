// The settings of a conversation by name: what /set changes and shows.
#include <sstream>
#include <type_traits>

#include "base/strings.h"
#include "cli/sampling_options.h"

namespace facet::cli {
namespace {

// visit(name, std::optional of a number) for each.
template <class Settings, class Visit>
void for_each_number(Settings& values, Visit visit) {
  visit("temp", values.temperature);
  visit("top_k", values.top_k);
  visit("typical_p", values.typical_p);
  visit("top_p", values.top_p);
  visit("min_p", values.min_p);
  visit("repeat_penalty", values.repeat_penalty);
  visit("frequency_penalty", values.frequency_penalty);
  visit("presence_penalty", values.presence_penalty);
  visit("repeat_last_n", values.repeat_last_n);
  visit("dry_multiplier", values.dry_multiplier);
  visit("dry_base", values.dry_base);
  visit("dry_allowed_length", values.dry_allowed_length);
  visit("dry_penalty_last_n", values.dry_penalty_last_n);
  visit("seed", values.seed);
}

// false: no number. "default" is none.
template <class Number>
bool read_number(const std::string& text, std::optional<Number>& target) {
  if (text == "default") {
    target.reset();
    return true;
  }
  if (std::is_unsigned_v<Number> && text.starts_with('-')) return false;
  std::istringstream in(text);
  Number parsed;
  if (!(in >> parsed) || !in.eof()) return false;
  target = parsed;
  return true;
}

// One more in the list; "default" empties it.
bool read_entry(const std::string& text, std::vector<std::string>& list) {
  if (text == "default")
    list.clear();
  else
    list.push_back(text);
  return true;
}

std::string all_names(const SamplingOptions& settings) {
  std::string names;
  for_each_number(settings.values, [&](const char* name, const auto&) { names += cat(name, ", "); });
  return names + "logit_bias, dry_sequence_breaker, predict or think";
}

}  // namespace

Result<void> change_setting(SamplingOptions& settings, const std::string& name, const std::string& value) {
  bool known = false, ok = false;
  const char* expected = "a number";
  for_each_number(settings.values, [&](const char* each, auto& target) {
    if (name != each) return;
    known = true;
    ok = read_number(value, target);
  });
  if (name == "logit_bias") {
    known = true;
    expected = "ID+BIAS, ID-BIAS, ID-inf or ID=false";
    ok = (value == "default" || parse_logit_bias(value).ok()) && read_entry(value, settings.bias);
  } else if (name == "dry_sequence_breaker") {
    known = true;
    ok = read_entry(value, settings.breakers);
  } else if (name == "predict") {
    known = true;
    std::optional<int64_t> most;
    ok = read_number(value, most);
    if (ok) settings.max_tokens = most.value_or(-1);
  } else if (name == "think") {
    known = true;
    expected = "on or off";
    ok = value == "on" || value == "off" || value == "default";
    if (ok) settings.think = value == "on";
  }
  if (!known)
    return Error{.code = ErrorCode::invalid_argument,
                 .what = "there is no such setting",
                 .where = "/set",
                 .expected = all_names(settings),
                 .found = name};
  if (ok) return {};
  return Error{.code = ErrorCode::invalid_argument,
               .what = cat("value of ", name, " cannot be read"),
               .where = "/set",
               .expected = expected,
               .found = value};
}

std::string settings_text(const SamplingOptions& settings) {
  std::string text;
  for_each_number(settings.values, [&](const char* name, const auto& value) {
    text += cat(name, " ", value ? cat(*value) : std::string("default"), ", ");
  });
  const auto list_text = [](const std::vector<std::string>& entries) {
    std::string joined;
    for (const std::string& entry : entries) joined += cat(joined.empty() ? "" : " ", entry);
    return joined.empty() ? "default" : joined;
  };
  return cat(text, "logit_bias ", list_text(settings.bias), ", dry_sequence_breaker ", list_text(settings.breakers),
             ", predict ", settings.max_tokens, ", think ", settings.think ? "on" : "off", "\n");
}

}  // namespace facet::cli
