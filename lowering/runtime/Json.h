//===- Json.h - JSON values, untrusted --------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A JSON value that remembers nothing of the library that parses it: code
// built without exceptions can include this header. Objects keep the order of
// the text. Duplicate keys, nesting deeper than a limit and numbers that do not
// fit are errors with the place in the text.
//
// To read a file with good errors, wrap the value in a JsonReader: it carries
// the place ("config.json: rope_scaling.factor") through every access.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_JSON_H
#define NESTC_LOWERING_RUNTIME_JSON_H

#include "lowering/runtime/Error.h"

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace nestc {
namespace rt {

/// A JSON value. Integers that fit int64 are kept exactly; larger unsigned
/// ones become UInt; everything with a fraction or an exponent is Real.
class Json {
public:
  enum class Kind : uint8_t {
    Null,
    Bool,
    Int,
    UInt,
    Real,
    String,
    Array,
    Object
  };
  using Member = std::pair<std::string, Json>;

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool value) : type(Kind::Bool), integer(value) {}
  template <typename T,
            std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>,
                             int> = 0>
  Json(T value) {
    if constexpr (std::is_signed_v<T>)
      setInt(value);
    else
      setUInt(value);
  }
  Json(double value) : type(Kind::Real), real(value) {}
  Json(const char *value) : type(Kind::String), text(value) {}
  Json(std::string value) : type(Kind::String), text(std::move(value)) {}
  Json(std::string_view value) : type(Kind::String), text(value) {}
  static Json array() { return ofKind(Kind::Array); }
  static Json object() { return ofKind(Kind::Object); }
  template <typename Range>
  static Json arrayOf(const Range &range) {
    Json result = array();
    for (const auto &element : range)
      result.push(Json(element));
    return result;
  }

  Kind kind() const { return type; }
  /// "a number", "an object"...: for messages.
  const char *kindName() const;
  bool isNull() const { return type == Kind::Null; }
  bool isBool() const { return type == Kind::Bool; }
  bool isInt() const { return type == Kind::Int; }
  bool isNumber() const {
    return type == Kind::Int || type == Kind::UInt || type == Kind::Real;
  }
  bool isString() const { return type == Kind::String; }
  bool isArray() const { return type == Kind::Array; }
  bool isObject() const { return type == Kind::Object; }

  /// The value, when it is of that kind (else a zero value).
  bool asBool() const { return type == Kind::Bool && integer; }
  int64_t asInt() const { return type == Kind::Int ? integer : 0; }
  double asDouble() const;
  const std::string &asString() const { return text; }

  /// Elements of an array (empty for other kinds).
  const std::vector<Json> &elements() const;
  /// Members of an object in the order of the text.
  const std::vector<Member> &members() const;
  size_t size() const;

  /// A member, or null when it is absent. O(1).
  const Json *find(std::string_view key) const;

  void push(Json value);
  /// Sets or replaces a member.
  void set(std::string key, Json value);

  /// Text; indent 0 is one line. Integers exact, reals round-trip. Strings are
  /// written as UTF-8; invalid UTF-8 becomes U+FFFD.
  std::string str(unsigned indent = 0) const;

  friend bool operator==(const Json &a, const Json &b);

private:
  struct Composite;
  Composite &own();

  void setInt(int64_t value) {
    type = Kind::Int;
    integer = value;
  }
  void setUInt(uint64_t value);
  static Json ofKind(Kind kind) {
    Json result;
    result.type = kind;
    return result;
  }
  void strInto(std::string &out, unsigned indent, unsigned depth) const;

  Kind type = Kind::Null;
  int64_t integer = 0;
  double real = 0;
  std::string text;
  std::shared_ptr<Composite> inner; // of arrays and objects, copied on write
};

/// Parses `text`. `place` begins every error message. Comments and trailing
/// commas are errors, as are duplicate keys, invalid UTF-8 and nesting deeper
/// than `maxDepth`.
Expected<Json> parseJson(std::string_view text, const std::string &place,
                         unsigned maxDepth = 64);

/// Reads and parses a file of at most `maxBytes`.
Expected<Json> readJsonFile(const std::string &path,
                            uint64_t maxBytes = uint64_t(1) << 28,
                            unsigned maxDepth = 64);

/// The name of `legal` nearest to `word` by edit distance, when it is near
/// enough to be a likely typing error; else empty.
std::string nearestMatch(std::string_view word,
                         const std::vector<std::string> &legal);

/// "legal: a, b, c" with "did you mean b?" in front where something is near. A
/// long list is cut.
std::string legalNames(std::string_view word,
                       const std::vector<std::string> &legal);

/// A value and its place. Cheap to copy; the Json must outlive it. Every
/// getter yields an error that names file, key path, what was found and what
/// is legal.
class JsonReader {
public:
  JsonReader(const Json &value, std::string place)
      : value(&value), where(std::move(place)) {}

  const Json &json() const { return *value; }
  /// "config.json: rope_scaling.factor".
  const std::string &place() const { return where; }

  /// An error at this place.
  Error error(std::string message, std::string legal = {}) const {
    return Error(where, std::move(message), std::move(legal));
  }

  bool has(std::string_view key) const { return value->find(key); }
  /// Present and not null.
  bool hasValue(std::string_view key) const {
    const Json *member = value->find(key);
    return member && !member->isNull();
  }
  /// The member `key`; an error when this is no object or has no such key.
  Expected<JsonReader> get(std::string_view key) const;
  /// The i-th element of an array; `i` must be in range.
  JsonReader at(size_t i) const;
  size_t size() const { return value->size(); }

  Status expectObject() const;
  Status expectArray() const;
  /// An error when the object has a key that is not in `legal`; names the
  /// nearest.
  Status expectKeys(std::initializer_list<const char *> legal) const;

  /// This value as a type. Integers are exact ("3.0" is no integer) and must
  /// lie in [min, max]; numbers are finite.
  Expected<bool> asBool() const;
  Expected<int64_t> asInt(int64_t min = INT64_MIN,
                          int64_t max = INT64_MAX) const;
  Expected<double> asNumber() const;
  Expected<std::string> asString() const;
  Expected<std::vector<int64_t>> asIntList(int64_t min = INT64_MIN,
                                           int64_t max = INT64_MAX) const;
  Expected<std::vector<std::string>> asStringList() const;
  /// The index in `names`; an error lists them.
  Expected<size_t> asOneOf(const std::vector<std::string> &names) const;

  /// A required member as a type.
  Expected<bool> getBool(std::string_view key) const;
  Expected<int64_t> getInt(std::string_view key, int64_t min = INT64_MIN,
                           int64_t max = INT64_MAX) const;
  Expected<double> getNumber(std::string_view key) const;
  Expected<std::string> getString(std::string_view key) const;

  /// An optional member: the default when it is absent or null.
  Expected<bool> getBoolOr(std::string_view key, bool otherwise) const;
  Expected<int64_t> getIntOr(std::string_view key, int64_t otherwise,
                             int64_t min = INT64_MIN,
                             int64_t max = INT64_MAX) const;
  Expected<double> getNumberOr(std::string_view key, double otherwise) const;
  Expected<std::string> getStringOr(std::string_view key,
                                    std::string otherwise) const;

private:
  std::string memberPlace(std::string_view key) const;

  const Json *value;
  std::string where;
  bool inside = false; // where already has a key path
};

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_JSON_H
