// Error and Result: how facet reports that the world is wrong (a file, a request, a flag). Nothing here throws.
//
//   Result<Model> model = Model::load("gemma.gguf");
//   if (!model) return report(model.error().message());
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace facet {

// What kind of failure it is. One table (engine/error_table) maps codes to exit status and, later, to HTTP status.
enum class ErrorCode {
  invalid_argument,  // the caller asked for something that makes no sense
  not_found,         // a file, tensor, token or name that is not there
  corrupt,           // a file that breaks its own format
  unsupported,       // well-formed, but facet does not know it
  exhausted,         // memory, context, cache blocks or a disk's room would not suffice
  io,                // the operating system refused
  unavailable,       // a service or the network is not there now
  cancelled,         // the caller stopped it
  non_finite,        // the model produced NaN or infinity
};

const char* name(ErrorCode code);

// One failure, complete enough that the reader can act on it. Fields may be empty, `what` never is.
struct Error {
  ErrorCode code = ErrorCode::invalid_argument;
  std::string what = {};      // "tensor has the wrong shape"
  std::string where = {};     // "model.gguf: blk.3.attn_q.weight"
  std::string expected = {};  // "[2048, 1536]"
  std::string found = {};     // "[2048, 1535]"

  // One line: "where: what: expected E, found F".
  std::string message() const;
};

// A value or an Error. Must be looked at.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  // Requires ok().
  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }

  // Requires !ok().
  Error& error() & { return *std::get_if<1>(&state_); }
  const Error& error() const& { return *std::get_if<1>(&state_); }
  Error&& error() && { return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  Error& error() & { return *error_; }
  const Error& error() const& { return *error_; }
  Error&& error() && { return *std::move(error_); }

 private:
  std::optional<Error> error_;
};

}  // namespace facet

#define FACET_CONCAT_(a, b) a##b
#define FACET_CONCAT(a, b) FACET_CONCAT_(a, b)

// FACET_TRY(MappedFile file, MappedFile::open(path));   declares `file`, or returns the Error upwards.
#define FACET_TRY(declaration, ...) FACET_TRY_(FACET_CONCAT(facet_result_, __LINE__), declaration, __VA_ARGS__)
#define FACET_TRY_(result, declaration, ...)          \
  auto result = (__VA_ARGS__);                        \
  if (!result.ok()) return std::move(result).error(); \
  declaration = std::move(result).value()

// FACET_TRY_VOID(reader.skip(8));   for calls that return Result<void>, or whose value is not wanted. One statement.
#define FACET_TRY_VOID(...)                                         \
  do {                                                              \
    auto facet_result = (__VA_ARGS__);                              \
    if (!facet_result.ok()) return std::move(facet_result).error(); \
  } while (false)
