//===- Json.cpp - JSON values, untrusted ------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The only file that includes nlohmann-json. Its event interface is used: it
// throws nothing for bad text, does not recurse, and shows duplicate keys.
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Json.h"
#include "lowering/runtime/Files.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <unordered_map>

using namespace nestc::rt;

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

void Json::setUInt(uint64_t value) {
  type = value <= INT64_MAX ? Kind::Int : Kind::UInt;
  integer = static_cast<int64_t>(value);
}

const char *Json::kindName() const {
  switch (type) {
  case Kind::Null:
    return "null";
  case Kind::Bool:
    return "a boolean";
  case Kind::Int:
  case Kind::UInt:
    return "an integer";
  case Kind::Real:
    return "a number with a fraction";
  case Kind::String:
    return "a string";
  case Kind::Array:
    return "a list";
  case Kind::Object:
    return "an object";
  }
  return "";
}

double Json::asDouble() const {
  switch (type) {
  case Kind::Int:
    return static_cast<double>(integer);
  case Kind::UInt:
    return static_cast<double>(static_cast<uint64_t>(integer));
  case Kind::Real:
    return real;
  default:
    return 0;
  }
}

struct Json::Composite {
  std::vector<Json> items;
  std::vector<Member> fields;
  std::unordered_map<std::string, size_t> index;
};

Json::Composite &Json::own() {
  if (!inner)
    inner = std::make_shared<Composite>();
  else if (inner.use_count() > 1)
    inner = std::make_shared<Composite>(*inner);
  return *inner;
}

const std::vector<Json> &Json::elements() const {
  static const std::vector<Json> none;
  return inner ? inner->items : none;
}

const std::vector<Json::Member> &Json::members() const {
  static const std::vector<Member> none;
  return inner ? inner->fields : none;
}

size_t Json::size() const {
  return isObject() ? members().size() : elements().size();
}

const Json *Json::find(std::string_view key) const {
  if (!inner)
    return nullptr;
  // A few members are found faster by looking at them.
  if (inner->fields.size() <= 8) {
    for (const Member &member : inner->fields)
      if (member.first == key)
        return &member.second;
    return nullptr;
  }
  auto it = inner->index.find(std::string(key));
  return it == inner->index.end() ? nullptr : &inner->fields[it->second].second;
}

void Json::push(Json value) { own().items.push_back(std::move(value)); }

void Json::set(std::string key, Json value) {
  Composite &mine = own();
  auto [it, inserted] = mine.index.try_emplace(key, mine.fields.size());
  if (inserted)
    mine.fields.emplace_back(std::move(key), std::move(value));
  else
    mine.fields[it->second].second = std::move(value);
}

namespace nestc {
namespace rt {
bool operator==(const Json &a, const Json &b) {
  return a.type == b.type && a.integer == b.integer && a.real == b.real &&
         a.text == b.text && a.elements() == b.elements() &&
         a.members() == b.members();
}
} // namespace rt
} // namespace nestc

/// Length of the UTF-8 sequence at `at`, or 0 when it is invalid.
static unsigned utf8Length(std::string_view text, size_t at) {
  auto byte = [&](size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0;
  };
  auto tail = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  unsigned first = byte(0);
  if (first < 0x80)
    return 1;
  if (first >= 0xc2 && first < 0xe0)
    return tail(1) ? 2 : 0;
  if (first >= 0xe0 && first < 0xf0) {
    bool legal =
        (first != 0xe0 || byte(1) >= 0xa0) && (first != 0xed || byte(1) < 0xa0);
    return legal && tail(1) && tail(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first < 0xf5) {
    bool legal =
        (first != 0xf0 || byte(1) >= 0x90) && (first != 0xf4 || byte(1) < 0x90);
    return legal && tail(1) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

static void quoteInto(std::string &out, std::string_view text) {
  out += '"';
  for (size_t i = 0; i < text.size();) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c < 0x20 || c == 0x7f) {
      char buffer[8];
      std::snprintf(buffer, sizeof buffer, "\\u%04x", c);
      out += buffer;
    } else if (unsigned length = utf8Length(text, i)) {
      out.append(text.substr(i, length));
      i += length;
      continue;
    } else {
      out += "\xef\xbf\xbd";
    }
    ++i;
  }
  out += '"';
}

void Json::strInto(std::string &out, unsigned indent, unsigned depth) const {
  auto newline = [&](unsigned depth) {
    if (indent) {
      out += '\n';
      out.append(indent * depth, ' ');
    }
  };
  switch (type) {
  case Kind::Null:
    out += "null";
    return;
  case Kind::Bool:
    out += integer ? "true" : "false";
    return;
  case Kind::Int:
    out += std::to_string(integer);
    return;
  case Kind::UInt:
    out += std::to_string(static_cast<uint64_t>(integer));
    return;
  case Kind::Real: {
    if (!std::isfinite(real)) { // JSON has no such number
      out += "null";
      return;
    }
    char buffer[40];
    std::snprintf(buffer, sizeof buffer, "%.17g", real);
    char shortText[40];
    for (int digits = 6; digits < 17; ++digits) {
      std::snprintf(shortText, sizeof shortText, "%.*g", digits, real);
      double shorter = std::strtod(shortText, nullptr);
      if (shorter == real) {
        std::snprintf(buffer, sizeof buffer, "%s", shortText);
        break;
      }
    }
    // A host with another decimal point, and reals that look like integers.
    std::string number = buffer;
    std::replace(number.begin(), number.end(), ',', '.');
    if (number.find_first_of(".e") == std::string::npos)
      number += ".0";
    out += number;
    return;
  }
  case Kind::String:
    quoteInto(out, text);
    return;
  case Kind::Array: {
    const std::vector<Json> &items = elements();
    out += '[';
    // Lists of plain values stay on one line.
    bool flat = std::none_of(items.begin(), items.end(), [](const Json &item) {
      return item.isArray() || item.isObject();
    });
    for (size_t i = 0; i < items.size(); ++i) {
      if (i)
        out += flat && indent ? ", " : ",";
      if (!flat)
        newline(depth + 1);
      items[i].strInto(out, indent, depth + 1);
    }
    if (!flat)
      newline(depth);
    out += ']';
    return;
  }
  case Kind::Object: {
    const std::vector<Member> &fields = members();
    out += '{';
    for (size_t i = 0; i < fields.size(); ++i) {
      if (i)
        out += ',';
      newline(depth + 1);
      quoteInto(out, fields[i].first);
      out += indent ? ": " : ":";
      fields[i].second.strInto(out, indent, depth + 1);
    }
    if (!fields.empty())
      newline(depth);
    out += '}';
    return;
  }
  }
}

std::string Json::str(unsigned indent) const {
  std::string out;
  strInto(out, indent, 0);
  return out;
}

//===----------------------------------------------------------------------===//
// Parsing
//===----------------------------------------------------------------------===//

namespace {
/// Builds a Json from parse events and stops at the first error. `open` holds
/// the containers on the way, which move into their parent when they end.
class Builder {
public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  Builder(std::string_view text, const std::string &place, unsigned maxDepth)
      : text(text), place(place), maxDepth(maxDepth) {}

  // Names that the parser calls. NOLINTBEGIN(readability-identifier-naming)
  bool null() { return value(Json()); }
  bool boolean(bool v) { return value(Json(v)); }
  bool number_integer(number_integer_t v) { return value(Json(v)); }
  bool number_unsigned(number_unsigned_t v) { return value(Json(v)); }
  bool number_float(number_float_t v, const string_t &token) {
    // Integers that fit no 64 bits arrive here too; they stay a real.
    return value(Json(static_cast<double>(v)));
  }
  bool string(string_t &v) { return value(Json(std::move(v))); }
  bool binary(binary_t &) { return false; }
  bool start_object(size_t) { return start(Json::object()); }
  bool start_array(size_t) { return start(Json::array()); }
  bool end_object() { return end(); }
  bool end_array() { return end(); }
  bool key(string_t &v) {
    Frame &frame = open.back();
    if (frame.container.find(v)) {
      failure = Error(place, "the key \"" + v + "\" stands twice" + path(),
                      "every key once");
      return false;
    }
    frame.key = std::move(v);
    return true;
  }
  bool parse_error(size_t position, const std::string &,
                   const nlohmann::detail::exception &problem) {
    // The library says "[json...] parse error at ...: what"; the place is
    // given in our own way, and what it wanted is kept.
    std::string what = problem.what();
    size_t cut = what.find("syntax error");
    if (cut != std::string::npos) {
      what = what.substr(cut);
    } else {
      cut = what.rfind("] ");
      if (cut != std::string::npos)
        what = what.substr(cut + 2);
    }
    size_t at = std::min(position ? position - 1 : 0, text.size());
    size_t line = 1 + std::count(text.begin(), text.begin() + at, '\n');
    size_t start = text.rfind('\n', at ? at - 1 : 0);
    size_t column =
        start == std::string_view::npos || start >= at ? at + 1 : at - start;
    failure =
        Error(place + ":" + std::to_string(line) + ":" + std::to_string(column),
              "not JSON: " + what.substr(0, 200), "one JSON value");
    return false;
  }
  // NOLINTEND(readability-identifier-naming)

  Json result;
  std::optional<Error> failure;

private:
  struct Frame {
    Json container;
    std::string key;
  };

  bool value(Json v) {
    if (open.empty()) {
      result = std::move(v);
      return true;
    }
    Frame &frame = open.back();
    if (frame.container.isObject())
      frame.container.set(std::move(frame.key), std::move(v));
    else
      frame.container.push(std::move(v));
    return true;
  }
  bool start(Json container) {
    if (open.size() >= maxDepth) {
      failure = Error(place,
                      "nested deeper than " + std::to_string(maxDepth) +
                          " levels" + path(),
                      "at most " + std::to_string(maxDepth) + " levels");
      return false;
    }
    open.push_back({std::move(container), {}});
    return true;
  }
  bool end() {
    Json done = std::move(open.back().container);
    open.pop_back();
    return value(std::move(done));
  }
  std::string path() const {
    std::string text;
    for (size_t i = 0; i + 1 < open.size() && text.size() < 200; ++i)
      if (open[i].container.isObject())
        text += (text.empty() ? "" : ".") + open[i].key;
      else
        text += "[" + std::to_string(open[i].container.size()) + "]";
    return text.empty() ? "" : " in " + text;
  }

  std::string_view text;
  const std::string &place;
  unsigned maxDepth;
  std::vector<Frame> open;
};
} // namespace

Expected<Json> nestc::rt::parseJson(std::string_view text,
                                    const std::string &place,
                                    unsigned maxDepth) {
  Builder builder(text, place, maxDepth);
  bool done = nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  if (builder.failure)
    return std::move(*builder.failure);
  if (!done)
    return Error(place, "not JSON", "one JSON value");
  return std::move(builder.result);
}

Expected<Json> nestc::rt::readJsonFile(const std::string &path,
                                       uint64_t maxBytes, unsigned maxDepth) {
  NEST_RT_ASSIGN(std::string text, readFile(path, maxBytes));
  return parseJson(text, path, maxDepth);
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

static size_t editDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1), previous(b.size() + 1), before;
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before = previous;
    previous = row;
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t change = previous[j - 1] + (a[i - 1] != b[j - 1]);
      row[j] = std::min({row[j - 1] + 1, previous[j] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1); // two letters swapped
    }
  }
  return row[b.size()];
}

std::string nestc::rt::nearestMatch(std::string_view word,
                                    const std::vector<std::string> &legal) {
  std::string best;
  if (word.empty() || word.size() > 200)
    return best;
  // Fewer changes than this; at least one is forgiven.
  size_t limit = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string &candidate : legal) {
    size_t longer = std::max(candidate.size(), word.size());
    if (longer - std::min(candidate.size(), word.size()) >= limit)
      continue;
    size_t distance = editDistance(word, candidate);
    if (distance < limit) {
      limit = distance;
      best = candidate;
    }
  }
  return best;
}

std::string nestc::rt::legalNames(std::string_view word,
                                  const std::vector<std::string> &legal) {
  std::string text;
  std::string nearest = nearestMatch(word, legal);
  if (!nearest.empty())
    text = "did you mean " + nearest + "? ";
  text += "legal: ";
  size_t shown = std::min<size_t>(legal.size(), 24);
  for (size_t i = 0; i < shown; ++i)
    text += (i ? ", " : "") + legal[i];
  if (shown < legal.size())
    text += ", ... (" + std::to_string(legal.size()) + " in all)";
  if (legal.empty())
    text += "none";
  return text;
}

//===----------------------------------------------------------------------===//
// Reader
//===----------------------------------------------------------------------===//

std::string JsonReader::memberPlace(std::string_view key) const {
  return where + (inside ? "." : ": ") + std::string(key);
}

Status JsonReader::expectObject() const {
  if (value->isObject())
    return Status::success();
  return error(std::string("is ") + value->kindName(), "an object");
}

Status JsonReader::expectArray() const {
  if (value->isArray())
    return Status::success();
  return error(std::string("is ") + value->kindName(), "a list");
}

Status JsonReader::expectKeys(std::initializer_list<const char *> legal) const {
  NEST_RT_TRY(expectObject());
  for (const Json::Member &member : value->members()) {
    auto same = [&](const char *name) { return member.first == name; };
    if (std::any_of(legal.begin(), legal.end(), same))
      continue;
    return error("unknown key \"" + member.first + "\"",
                 legalNames(member.first, {legal.begin(), legal.end()}));
  }
  return Status::success();
}

Expected<JsonReader> JsonReader::get(std::string_view key) const {
  NEST_RT_TRY(expectObject());
  const Json *member = value->find(key);
  if (!member) {
    std::vector<std::string> names;
    for (const Json::Member &candidate : value->members())
      names.push_back(candidate.first);
    std::string nearest = nearestMatch(key, names);
    std::string hint = "this key is required";
    if (!nearest.empty())
      hint += "; is \"" + nearest + "\" meant for it?";
    return Error(memberPlace(key), "is missing", hint);
  }
  JsonReader reader(*member, memberPlace(key));
  reader.inside = true;
  return reader;
}

JsonReader JsonReader::at(size_t i) const {
  JsonReader reader(value->elements()[i],
                    where + (inside ? "[" : ": [") + std::to_string(i) + "]");
  reader.inside = true;
  return reader;
}

Expected<bool> JsonReader::asBool() const {
  if (!value->isBool())
    return error(std::string("is ") + value->kindName(), "true or false");
  return value->asBool();
}

static std::string rangeText(int64_t min, int64_t max) {
  if (min == INT64_MIN && max == INT64_MAX)
    return "an integer";
  if (max == INT64_MAX)
    return "an integer of at least " + std::to_string(min);
  if (min == INT64_MIN)
    return "an integer of at most " + std::to_string(max);
  return "an integer from " + std::to_string(min) + " to " +
         std::to_string(max);
}

Expected<int64_t> JsonReader::asInt(int64_t min, int64_t max) const {
  if (value->kind() == Json::Kind::UInt || value->kind() == Json::Kind::Real)
    return error("is " + value->str(), rangeText(min, max));
  if (!value->isInt())
    return error(std::string("is ") + value->kindName(), rangeText(min, max));
  int64_t number = value->asInt();
  if (number < min || number > max)
    return error("is " + std::to_string(number), rangeText(min, max));
  return number;
}

Expected<double> JsonReader::asNumber() const {
  if (!value->isNumber())
    return error(std::string("is ") + value->kindName(), "a number");
  double number = value->asDouble();
  if (!std::isfinite(number))
    return error("is no finite number", "a finite number");
  return number;
}

Expected<std::string> JsonReader::asString() const {
  if (!value->isString())
    return error(std::string("is ") + value->kindName(), "a string");
  return value->asString();
}

Expected<std::vector<int64_t>> JsonReader::asIntList(int64_t min,
                                                     int64_t max) const {
  NEST_RT_TRY(expectArray());
  std::vector<int64_t> list;
  for (size_t i = 0; i < size(); ++i) {
    NEST_RT_ASSIGN(int64_t number, at(i).asInt(min, max));
    list.push_back(number);
  }
  return list;
}

Expected<std::vector<std::string>> JsonReader::asStringList() const {
  NEST_RT_TRY(expectArray());
  std::vector<std::string> list;
  for (size_t i = 0; i < size(); ++i) {
    NEST_RT_ASSIGN(std::string text, at(i).asString());
    list.push_back(std::move(text));
  }
  return list;
}

Expected<size_t>
JsonReader::asOneOf(const std::vector<std::string> &names) const {
  if (!value->isString())
    return error(std::string("is ") + value->kindName(), legalNames("", names));
  auto it = std::find(names.begin(), names.end(), value->asString());
  if (it == names.end())
    return error("is \"" + value->asString() + "\"",
                 legalNames(value->asString(), names));
  return static_cast<size_t>(it - names.begin());
}

Expected<bool> JsonReader::getBool(std::string_view key) const {
  NEST_RT_ASSIGN(JsonReader member, get(key));
  return member.asBool();
}

Expected<int64_t> JsonReader::getInt(std::string_view key, int64_t min,
                                     int64_t max) const {
  NEST_RT_ASSIGN(JsonReader member, get(key));
  return member.asInt(min, max);
}

Expected<double> JsonReader::getNumber(std::string_view key) const {
  NEST_RT_ASSIGN(JsonReader member, get(key));
  return member.asNumber();
}

Expected<std::string> JsonReader::getString(std::string_view key) const {
  NEST_RT_ASSIGN(JsonReader member, get(key));
  return member.asString();
}

Expected<bool> JsonReader::getBoolOr(std::string_view key,
                                     bool otherwise) const {
  NEST_RT_TRY(expectObject());
  if (!hasValue(key))
    return otherwise;
  return getBool(key);
}

Expected<int64_t> JsonReader::getIntOr(std::string_view key, int64_t otherwise,
                                       int64_t min, int64_t max) const {
  NEST_RT_TRY(expectObject());
  if (!hasValue(key))
    return otherwise;
  return getInt(key, min, max);
}

Expected<double> JsonReader::getNumberOr(std::string_view key,
                                         double otherwise) const {
  NEST_RT_TRY(expectObject());
  if (!hasValue(key))
    return otherwise;
  return getNumber(key);
}

Expected<std::string> JsonReader::getStringOr(std::string_view key,
                                              std::string otherwise) const {
  NEST_RT_TRY(expectObject());
  if (!hasValue(key))
    return otherwise;
  return getString(key);
}
