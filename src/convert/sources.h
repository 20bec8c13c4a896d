// Where the values of each tensor are in a checkpoint, whichever container and spelling; and what is left over.
#pragma once

#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "convert/copy.h"
#include "convert/names.h"
#include "model/tensor_names.h"

namespace facet::convert {

class Sources {
 public:
  // checkpoint and config outlive the object. Errors: not_found (no decoder in it).
  static Result<Sources> of(const formats::Checkpoint& checkpoint, const model::Config& config);

  // The tensor's elements, in order: one slice, or those of every expert. Empty where it is absent and need not be
  // there. Errors: corrupt (absent, another shape), unsupported (a type that is not converted).
  Result<std::vector<Slice>> find(const NamedTensor& tensor);

  // What was not found by any name, in sentences: encoders of pictures and sound, heads that are the token table again.
  // Errors: corrupt (a tensor that belongs to nothing).
  Result<std::vector<std::string>> leftovers() const;

 private:
  Sources(const formats::Checkpoint& checkpoint, const model::Config& config)
      : checkpoint_(checkpoint), config_(config) {}

  bool is_gguf() const { return checkpoint_.container() == formats::Container::gguf; }
  std::string name_of(const NamedTensor& tensor) const;
  Error wrong(std::string what, const std::string& tensor, std::string expected, std::string found) const;
  Result<Slice> take(const std::string& name, const std::vector<int64_t>& shape, Role role);
  Result<std::vector<Slice>> take_apart(const NamedTensor& tensor);
  Result<std::vector<Slice>> take_experts(const NamedTensor& tensor);
  bool superfluous(const std::string& name) const;

  const formats::Checkpoint& checkpoint_;
  const model::Config& config_;
  std::optional<model::TensorNames> spelling_;  // of a folder
  std::string prefix_;
  std::unordered_set<std::string> used_;
};

}  // namespace facet::convert
