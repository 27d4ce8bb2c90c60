//===- Error.h - errors as values -------------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Everything in lowering/runtime reports errors as values, so that code built
// without exception handling can use it. An error is three texts, printed as
//
//   PLACE: what is wrong; what is legal
//
// PLACE is a path, optionally followed by a key path ("manifest.json:
// entries[0].dims"). `legal` may be empty where nothing useful can be said.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_ERROR_H
#define NESTC_LOWERING_RUNTIME_ERROR_H

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace nestc {
namespace rt {

/// One error: where, what is wrong, and what would be legal.
struct Error {
  std::string place;
  std::string message;
  std::string legal;
  int code = 0; ///< a nest_status where one is meant; 0: the caller's default

  Error() = default;
  Error(std::string place, std::string message, std::string legal = {})
      : place(std::move(place)), message(std::move(message)),
        legal(std::move(legal)) {}

  /// The same with a nest_status.
  Error withCode(int status) && {
    code = status;
    return std::move(*this);
  }

  /// "PLACE: what is wrong; what is legal", in one line without "error: ".
  /// Control characters that came in with untrusted names are escaped.
  std::string str() const;
};

/// Success or an Error. `Status()` is success.
class [[nodiscard]] Status {
public:
  Status() = default;
  Status(Error error) : err(std::make_unique<Error>(std::move(error))) {}
  static Status success() { return {}; }

  bool ok() const { return !err; }
  bool failed() const { return static_cast<bool>(err); }
  /// Only when failed().
  const Error &error() const { return *err; }
  Error takeError() { return std::move(*err); }

private:
  std::unique_ptr<Error> err;
};

/// A value or an Error; true when there is a value.
template <typename T>
class [[nodiscard]] Expected {
public:
  Expected(T value) : storage(std::in_place_index<0>, std::move(value)) {}
  Expected(Error error) : storage(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return storage.index() == 0; }
  bool failed() const { return storage.index() == 1; }

  /// Only when there is a value.
  T &operator*() { return *std::get_if<0>(&storage); }
  const T &operator*() const { return *std::get_if<0>(&storage); }
  T *operator->() { return std::get_if<0>(&storage); }
  const T *operator->() const { return std::get_if<0>(&storage); }

  /// Only when there is none.
  const Error &error() const { return *std::get_if<1>(&storage); }
  Error takeError() { return std::move(*std::get_if<1>(&storage)); }

private:
  std::variant<T, Error> storage;
};

} // namespace rt
} // namespace nestc

/// Return early with the error of a Status.
#define NEST_RT_TRY(expr)                                                      \
  do {                                                                         \
    if (::nestc::rt::Status nestTryStatus = (expr); nestTryStatus.failed())    \
      return nestTryStatus.takeError();                                        \
  } while (false)

#define NEST_RT_CONCAT_IMPL(a, b) a##b
#define NEST_RT_CONCAT(a, b) NEST_RT_CONCAT_IMPL(a, b)

/// `NEST_RT_ASSIGN(auto x, f())`: x from an Expected, or return its error.
#define NEST_RT_ASSIGN(decl, expr)                                             \
  auto NEST_RT_CONCAT(nestTry, __LINE__) = (expr);                             \
  if (NEST_RT_CONCAT(nestTry, __LINE__).failed())                              \
    return NEST_RT_CONCAT(nestTry, __LINE__).takeError();                      \
  decl = std::move(*NEST_RT_CONCAT(nestTry, __LINE__))

#endif // NESTC_LOWERING_RUNTIME_ERROR_H
