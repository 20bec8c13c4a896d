// What the name of a GGUF file says: the quantisation, the part of a split file, and whether it is a model at all.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace facet::hub {

// "model-00002-of-00003.gguf": the name without the part, the part (1-based) and how many there are.
struct SplitName {
  std::string stem;  // "model"
  int part = 1, count = 1;
};

// The last part of a path; the path without it ("" at the top); without the suffix ".gguf".
std::string_view base_name(std::string_view path);
std::string_view folder_of(std::string_view path);

bool is_gguf(std::string_view path);  // by its suffix, in any case
// stem and part of a file name with `suffix` (".gguf", ".safetensors"); count is 1 for a file in one part.
SplitName split_name(std::string_view path, std::string_view suffix);

// The quantisation that a file's name ends with, in capitals, with the variant before it:
// "gemma-4-E2B-it-UD-Q4_K_XL.gguf" gives "UD-Q4_K_XL". Without one in the name, the innermost folder that looks like
// one ("BF16/model.gguf"). "" for none.
std::string quant_label(std::string_view path);

// The first number in a label: Q4_K_M 4, F16 16. nullopt for none.
std::optional<int> quant_bits(std::string_view label);

std::string lower(std::string_view text);
std::string upper(std::string_view text);

}  // namespace facet::hub
