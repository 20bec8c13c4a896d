// The keys of a GGUF file to tokenizer.json and tokenizer_config.json.
#include <algorithm>
#include <unordered_map>

#include "base/strings.h"
#include "base/utf8.h"
#include "convert/vocabulary.h"
#include "tokenizer/characters.h"

namespace facet::convert {
namespace {

using tokenizer::MergeText;
using tokenizer::TokenType;
using tokenizer::VocabFile;

// An entry that stands for nothing: a hole of another vocabulary.
bool is_hole(const VocabFile& file, size_t i) {
  const std::string_view string = file.strings[i];
  return string.empty() || (file.types[i] == TokenType::unused && string.starts_with("[PAD"));
}

bool has_marker_form(std::string_view s) {
  return s.size() >= 4 && s.front() == '<' && s.back() == '>' && (s[1] == '|' || s[s.size() - 2] == '|');
}

bool is_added(TokenType type) {
  return type == TokenType::control || type == TokenType::unknown || type == TokenType::user_defined;
}

// Pieces of text take part in merges. Those with a plain space do not: text has none left when it is merged (runs of
// spaces, which Gemma 3 cuts out whole, are spelled so).
bool merges_pieces(const VocabFile& file, size_t i) {
  const bool text = file.types[i] == TokenType::normal || file.types[i] == TokenType::user_defined;
  return text && file.strings[i].find(' ') == std::string_view::npos;
}

// What only scores say: every way to make a token of two, the best token first. Among the ways of one token, those with
// the longer left part come first, as published conversions of such vocabularies have it.
std::vector<MergeText> merges_of_scores(const VocabFile& file) {
  std::unordered_map<std::string_view, size_t> index;
  for (size_t i = 0; i < file.strings.size(); ++i)
    if (merges_pieces(file, i)) index.emplace(file.strings[i], i);
  struct Way {
    MergeText text;
    float score;
  };
  std::vector<Way> ways;
  for (const auto& [string, token] : index)
    for (size_t cut = 1; cut < string.size(); ++cut) {
      if ((static_cast<unsigned char>(string[cut]) & 0xC0) == 0x80) continue;  // inside a character
      const MergeText text{string.substr(0, cut), string.substr(cut)};
      if (index.contains(text.left) && index.contains(text.right)) ways.push_back({text, file.scores[token]});
    }
  std::ranges::sort(ways, [](const Way& a, const Way& b) {
    if (a.score != b.score) return a.score > b.score;
    if (a.text.left.size() != b.text.left.size()) return a.text.left.size() > b.text.left.size();
    return std::pair(a.text.left, a.text.right) < std::pair(b.text.left, b.text.right);
  });
  std::vector<MergeText> merges;
  merges.reserve(ways.size());
  for (const Way& way : ways) merges.push_back(way.text);
  return merges;
}

// Strings of a vocabulary are mostly plain; the rest goes through Json.
void append_string(std::string& out, std::string_view string) {
  const bool plain = std::ranges::none_of(
      string, [](char c) { return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
  out += plain ? cat('"', string, '"') : Json(std::string(string)).dump();
}

class VocabularyWriter {
 public:
  VocabularyWriter(const VocabFile& file, model::Family family) : file_(file), family_(family) {}

  Result<std::string> write() {
    for (size_t i = 0; i < file_.strings.size(); ++i)
      if (!utf8_valid(file_.strings[i]))
        return file_.unsupported(cat("token ", i, " cannot be written as JSON"), "UTF-8", excerpt(file_.strings[i]));
    out_ = "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [";
    added_tokens();
    out_ += R"(
  ],
  "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
  "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
  "post_processor": )";
    post_processor();
    out_ += R"(,
  "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
  "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
    "vocab": {)";
    vocab();
    out_ += "\n    },\n    \"merges\": [";
    merges();
    out_ += "\n    ]\n  }\n}\n";
    return std::move(out_);
  }

 private:
  void added_tokens() {
    bool first = true;
    for (size_t i = 0; i < file_.strings.size(); ++i) {
      if (!is_added(file_.types[i]) || is_hole(file_, i)) continue;
      const bool special = file_.types[i] != TokenType::user_defined || has_marker_form(file_.strings[i]);
      append(out_, cat(first ? "\n" : ",\n", "    {\"id\": ", i, ", \"content\": "));
      append_string(out_, file_.strings[i]);
      append(out_, cat(R"(, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": )",
                       special, "}"));
      first = false;
    }
  }

  // Gemma 3 begins every text with <bos> here; Gemma 4 leaves that to the chat template.
  void post_processor() {
    constexpr const char* kText = R"({"Sequence": {"id": "A", "type_id": 0}})";
    constexpr const char* kSecond = R"({"Sequence": {"id": "B", "type_id": 0}})";
    std::string begin, table;
    if (family_ == model::Family::gemma3 && file_.adds_bos && file_.bos) {
      const std::string bos = Json(std::string(file_.strings[static_cast<size_t>(*file_.bos)])).dump();
      begin = cat(R"({"SpecialToken": {"id": )", bos, R"(, "type_id": 0}}, )");
      table = cat(bos, ": {\"id\": ", bos, ", \"ids\": [", *file_.bos, "], \"tokens\": [", bos, "]}");
    }
    out_ += cat(R"({"type": "TemplateProcessing", "single": [)", begin, kText, R"(], "pair": [)", begin, kText, ", ",
                begin, kSecond, R"(], "special_tokens": {)", table, "}}");
  }

  // In the order of ids: of a string that occurs twice the later one counts, here and in every reader.
  void vocab() {
    bool first = true;
    for (size_t i = 0; i < file_.strings.size(); ++i) {
      if (is_hole(file_, i)) continue;
      known_.emplace(file_.strings[i], i);
      out_ += first ? "\n      " : ",\n      ";
      append_string(out_, file_.strings[i]);
      append(out_, cat(": ", i));
      first = false;
    }
  }

  // Merges of strings that are no tokens are never taken, and readers refuse them.
  void merges() {
    const bool ranked = file_.algorithm == tokenizer::Algorithm::ranked_merges;
    const std::vector<MergeText> made = ranked ? std::vector<MergeText>() : merges_of_scores(file_);
    bool first = true;
    std::string whole;
    for (const MergeText& merge : ranked ? file_.merges : made) {
      whole.assign(merge.left).append(merge.right);
      if (!known_.contains(merge.left) || !known_.contains(merge.right) || !known_.contains(whole)) continue;
      out_ += first ? "\n      [" : ",\n      [";
      append_string(out_, merge.left);
      out_ += ", ";
      append_string(out_, merge.right);
      out_ += ']';
      first = false;
    }
  }

  const VocabFile& file_;
  model::Family family_;
  std::string out_;
  std::unordered_map<std::string_view, size_t> known_;
};

}  // namespace

Result<std::string> tokenizer_json(const VocabFile& file, model::Family family) {
  return VocabularyWriter(file, family).write();
}

Json tokenizer_config_json(const VocabFile& file, const model::Config& config) {
  Json out(Json::Object{});
  out.set("tokenizer_class", "GemmaTokenizer");
  out.set("add_bos_token", file.adds_bos);
  out.set("add_eos_token", false);
  out.set("clean_up_tokenization_spaces", false);
  out.set("model_max_length", config.context);
  out.set("padding_side", "left");
  const auto find = [&](std::string_view string) { return std::ranges::find(file.strings, string); };
  const auto role = [&](const char* name, std::string_view string) {
    if (find(string) != file.strings.end()) out.set(name, std::string(string));
  };
  role("bos_token", "<bos>");
  role("eos_token", "<eos>");
  role("unk_token", "<unk>");
  role("pad_token", "<pad>");
  role("mask_token", "<mask>");
  for (const auto& [name, token] : {std::pair{"bos_token", config.bos}, std::pair{"eos_token", config.eos}})
    if (!token.empty() && static_cast<size_t>(token.front()) < file.strings.size())
      out.set(name, std::string(file.strings[static_cast<size_t>(token.front())]));
  if (config.family != model::Family::gemma4) return out;
  for (const auto& [name, string] : {std::pair{"image_token", "<|image|>"},
                                     {"boi_token", "<|image>"},
                                     {"eoi_token", "<image|>"},
                                     {"audio_token", "<|audio|>"},
                                     {"boa_token", "<|audio>"},
                                     {"eoa_token", "<audio|>"},
                                     {"sot_token", "<|turn>"},
                                     {"eot_token", "<turn|>"},
                                     {"soc_token", "<|channel>"},
                                     {"eoc_token", "<channel|>"},
                                     {"think_token", "<|think|>"},
                                     {"escape_token", "<|\"|>"},
                                     {"std_token", "<|tool>"},
                                     {"etd_token", "<tool|>"},
                                     {"stc_token", "<|tool_call>"},
                                     {"etc_token", "<tool_call|>"},
                                     {"str_token", "<|tool_response>"},
                                     {"etr_token", "<tool_response|>"}})
    role(name, string);
  return out;
}

}  // namespace facet::convert
