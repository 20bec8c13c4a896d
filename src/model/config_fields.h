// What both readers of a configuration share: limits, the collection of the first error, and the checks that follow.
// Private to model/config*.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/config.h"

namespace facet::model {

struct Range {
  int64_t low, high;
};

// No configuration needs more. They keep products of two sizes inside int64 and allocations inside reason.
inline constexpr Range kLayerRange{1, 1024};
inline constexpr Range kHeadRange{1, 1024};
inline constexpr Range kHeadDimRange{2, 4096};
inline constexpr Range kWidthRange{1, 1 << 20};
inline constexpr Range kVocabRange{1, 1 << 24};
inline constexpr Range kExpertRange{1, 4096};
inline constexpr Range kPositionRange{1, 1 << 24};  // float32 counts positions exactly up to here
inline constexpr Range kTopKRange{0, 1 << 24};
inline constexpr double kSmallestPenalty = 1e-3;    // it divides
inline constexpr int64_t kPleColumnsMax = 1 << 24;  // layers times per-layer width

// Keeps the first thing that is wrong; reading goes on with harmless values, so that a reader is a plain list of
// fields.
class FieldErrors {
 public:
  explicit FieldErrors(std::string where) : where_(std::move(where)) {}

  bool failed() const { return error_.has_value(); }
  const std::optional<Error>& error() const { return error_; }
  const std::string& where() const { return where_; }

  void corrupt(std::string_view key, std::string what, std::string expected = {}, std::string found = {});
  void unsupported(std::string_view key, std::string what, std::string found = {});
  // value, or the lower bound where it is outside.
  int64_t bounded(std::string_view key, int64_t value, Range range);
  double bounded(std::string_view key, double value, double low, double high);

 private:
  void fail(ErrorCode code, std::string_view key, std::string what, std::string expected, std::string found);
  std::string where_;
  std::optional<Error> error_;
};

// Layer i is full iff (i + 1) % period == 0.
std::vector<bool> full_layers_by_period(int64_t layers, int64_t period);
// Layers first_shared … read the cache of the last storing layer of their kind.
void share_caches(Config& config, int64_t first_shared, FieldErrors& errors);
// Which of the two a configuration must describe.
enum class ModelKind : uint8_t { decoder, drafter };
// All layers read the cache of another model.
void share_all(Config& config);
// Appends tokens that are not there yet.
void add_tokens(std::vector<Token>& tokens, const std::vector<int64_t>& ids, std::string_view key, int64_t vocab_size,
                FieldErrors& errors);
// Cross-checks a filled configuration.
void check_config(const Config& config, FieldErrors& errors);
// sqrt(D) as the float that multiplies embeddings.
double embedding_scale(int64_t width);

}  // namespace facet::model
