// What tells whether packed weights on disk are those of a model: from which files, and how they were packed.
#pragma once

#include <optional>
#include <string>

#include "formats/requantize.h"

namespace facet::formats {

// A text of some lines that is the same exactly when packing gives the same bytes: version and panel layout of facet;
// of each file its size, the two times of its FileStamp and a hash of samples, not its path; a hash of the names, types
// and shapes of the tensors, and of what they become (types; may be null). Reads some hundred kilobytes a file.
// nullopt: the tensors do not lie in files. Errors: io.
Result<std::optional<std::string>> pack_identity(const Checkpoint& checkpoint, const TypeMap* types);

// Whether the files still are what they were when they were opened, and had been long enough for any change to show
// (FileStamp::settled). Otherwise nothing that was made from them may be kept.
bool is_settled(const Checkpoint& checkpoint);

}  // namespace facet::formats
