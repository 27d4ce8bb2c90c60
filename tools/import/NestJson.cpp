//===- NestJson.cpp - nest.json, read strictly ------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/NestJson.h"

#include "lowering/runtime/Files.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <cmath>

using namespace nestc;
using namespace nestc::rt;
using llvm::ArrayRef;
using llvm::SmallVector;
using llvm::StringRef;

/// Rows that a capacity may count.
static constexpr int64_t kMaxRows = INT32_MAX;
/// Modalities at most; a family of rows has no more sets.
static constexpr size_t kMaxModalities = 1024;

Error nestc::inFile(const std::string &place, const SubmodelError &error) {
  return Error(place, error.message, error.legal);
}

Expected<NestJson> NestJson::read(const std::string &directory) {
  std::string path = joinPath(directory, "nest.json");
  if (!fileExists(path))
    return NestJson();
  NEST_RT_ASSIGN(Json json, readJsonFile(path));
  return fromJson(json, path);
}

Expected<NestJson> NestJson::parse(std::string_view text,
                                   const std::string &place) {
  NEST_RT_ASSIGN(Json json, parseJson(text, place));
  return fromJson(json, place);
}

Expected<NestJson> NestJson::fromJson(const Json &json,
                                      const std::string &place) {
  NestJson nest;
  nest.path = place;
  JsonReader root(json, place);
  NEST_RT_TRY(root.expectKeys(
      {"format", "family", "axes", "routes", "modalities", "submodels"}));
  NEST_RT_ASSIGN(int64_t format, root.getInt("format"));
  if (format != 1)
    return Error(place + ": format", "is " + std::to_string(format),
                 "this nestc knows format 1");
  if (root.has("family")) {
    NEST_RT_ASSIGN(nest.familyName, root.getString("family"));
  }
  if (root.has("routes")) {
    NEST_RT_ASSIGN(JsonReader member, root.get("routes"));
    NEST_RT_TRY(nest.readRoutes(member));
  }
  if (root.has("modalities")) {
    NEST_RT_ASSIGN(JsonReader member, root.get("modalities"));
    NEST_RT_TRY(nest.readModalities(member));
  }
  if (root.has("axes")) {
    NEST_RT_ASSIGN(JsonReader member, root.get("axes"));
    NEST_RT_TRY(nest.readAxes(member));
  }
  if (root.has("submodels")) {
    NEST_RT_ASSIGN(JsonReader member, root.get("submodels"));
    NEST_RT_TRY(nest.readSubmodels(member));
  }
  return nest;
}

/// A level: a string is a fraction ("1/8", "1"), an integer a count.
static Expected<WidthValue> readLevel(const JsonReader &reader) {
  const char *legal = "a fraction as a string (\"1/8\", \"1\") or an integer "
                      "count of at least 1";
  WidthValue level;
  if (reader.json().isInt()) {
    level.kind = WidthValue::Kind::Count;
    level.count = reader.json().asInt();
    if (level.count < 1)
      return reader.error("is " + std::to_string(level.count), legal);
    return level;
  }
  if (!reader.json().isString())
    return reader.error("is " + (reader.json().isNumber()
                                     ? reader.json().str()
                                     : std::string(reader.json().kindName())),
                        legal);
  // As a string "1" is all of the axis, and not one element as in --submodel.
  std::string text = reader.json().asString();
  if (text.find('/') == std::string::npos)
    text += "/1";
  SubmodelError error;
  std::optional<WidthValue> value =
      WidthValue::parse(text, reader.place(), error);
  if (!value || value->kind != WidthValue::Kind::Fraction)
    return reader.error("is \"" + reader.json().asString() + "\"", legal);
  if (value->numerator < 1 || value->numerator > value->denominator)
    return reader.error("is \"" + reader.json().asString() + "\"",
                        "a fraction above 0 and at most 1");
  return *value;
}

Status NestJson::readAxes(const JsonReader &reader) {
  NEST_RT_TRY(reader.expectObject());
  for (const Json::Member &member : reader.json().members()) {
    NEST_RT_ASSIGN(JsonReader declaration, reader.get(member.first));
    StringRef key = member.first;
    Axis axis;
    for (StringRef kind : kAxisKinds)
      if (key.ends_with(("." + kind).str()))
        axis.kind = kind.str();
    if (axis.kind.empty() || !key.consume_front("layers."))
      return declaration.error("names no axis",
                               "axes are layers.SEL.ffn and layers.SEL.heads, "
                               "SEL being all, odd, even, 7, 0-9 or 0+4+9-24");
    key = key.drop_back(axis.kind.size() + 1);
    axis.place = declaration.place();
    SubmodelError error;
    std::optional<LayerSelector> layers =
        LayerSelector::parse(key, axis.place, error);
    if (!layers)
      return inFile(axis.place, error);
    axis.layers = *layers;

    NEST_RT_TRY(declaration.expectKeys({"levels"}));
    NEST_RT_ASSIGN(JsonReader levels, declaration.get("levels"));
    NEST_RT_TRY(levels.expectArray());
    if (levels.size() == 0)
      return levels.error("is empty", "at least one level");
    for (size_t i = 0; i < levels.size(); ++i) {
      NEST_RT_ASSIGN(WidthValue level, readLevel(levels.at(i)));
      axis.levels.push_back({levels.at(i).place(), level});
    }
    axes.push_back(std::move(axis));
  }
  return Status::success();
}

//===----------------------------------------------------------------------===//
// Routes
//===----------------------------------------------------------------------===//

/// Sets `value` to the index of an optional word.
template <typename T>
static Status readWord(const JsonReader &reader, const char *key,
                       const std::vector<std::string> &words, T &value) {
  if (!reader.has(key))
    return Status::success();
  NEST_RT_ASSIGN(JsonReader member, reader.get(key));
  NEST_RT_ASSIGN(size_t index, member.asOneOf(words));
  value = static_cast<T>(index);
  return Status::success();
}

/// "1/8", "1" (all rows), or a count.
static Status readCapacity(const JsonReader &reader, Route &route) {
  const char *legal = "a part of the rows as a string (\"1/8\", \"1\"), at "
                      "most all, or an integer count of rows from 0 on";
  const Json &json = reader.json();
  if (json.isInt()) {
    route.numerator = json.asInt();
    route.denominator = 0;
    if (route.numerator < 0 || route.numerator > kMaxRows)
      return reader.error("is " + json.str(), legal);
    return Status::success();
  }
  StringRef text = json.asString();
  auto [first, second] = text.split('/');
  route.denominator = 1;
  bool legalText =
      json.isString() && llvm::all_of(first, llvm::isDigit) &&
      !first.getAsInteger(10, route.numerator) &&
      (!text.contains('/') || (llvm::all_of(second, llvm::isDigit) &&
                               !second.getAsInteger(10, route.denominator)));
  if (!legalText || route.denominator < 1 || route.denominator > kMaxRows ||
      route.numerator > route.denominator)
    return reader.error("is " + json.str(), legal);
  return Status::success();
}

/// topk, threshold:T, predictor[:T], always, never.
static Status readDecode(const JsonReader &reader, Route &route) {
  static const std::vector<std::string> kRules = {
      "topk", "threshold:T", "predictor:T", "always", "never"};
  NEST_RT_ASSIGN(std::string text, reader.asString());
  auto [word, number] = StringRef(text).split(':');
  bool hasNumber = word.size() != text.size();
  std::vector<StringRef> words = {"topk", "threshold", "predictor", "always",
                                  "never"};
  auto found = llvm::find(words, word);
  if (found == words.end())
    return reader.error("is \"" + text + "\"", legalNames(text, kRules));
  route.decode = static_cast<Route::Rule>(found - words.begin());
  bool takesNumber = route.decode == Route::Rule::Threshold ||
                     route.decode == Route::Rule::Predictor;
  bool needsNumber = route.decode == Route::Rule::Threshold;
  if ((hasNumber && !takesNumber) || (!hasNumber && needsNumber))
    return reader.error("is \"" + text + "\"", legalNames("", kRules));
  route.limit = 0.5f;
  if (!hasNumber)
    return Status::success();
  double limit = 0;
  bool isNumber = !number.empty() && llvm::all_of(number, [](char c) {
    return llvm::isDigit(c) || c == '.' || c == '-' || c == '+' || c == 'e' ||
           c == 'E';
  }) && llvm::to_float(number, limit);
  route.limit = static_cast<float>(limit);
  if (!isNumber || !std::isfinite(route.limit))
    return reader.error("is \"" + text + "\", where " +
                            (number.empty() ? "nothing" : number.str()) +
                            " is no number",
                        "a finite number, as threshold:0.5");
  return Status::success();
}

/// What a route's keys may not say together.
static Status checkRoute(const JsonReader &reader, const Route &route) {
  auto error = [&](const char *key, const std::string &message,
                   const std::string &legal) -> Status {
    if (!reader.has(key))
      return reader.error(std::string(key) + " " + message, legal);
    NEST_RT_ASSIGN(JsonReader member, reader.get(key));
    return member.error(message, legal);
  };
  using Rule = Route::Rule;
  if (route.select != Rule::TopK && route.decode != route.select) {
    std::string rule =
        route.select == Rule::Threshold ? "threshold" : "predictor";
    return error("decode", "is another rule than select, which is " + rule,
                 rule + ":T, which both use");
  }
  if (route.compact && route.keepsAll)
    return error("position", "is compact beside kv: all",
                 "original, or kv: selected");
  if (route.weight == Route::Weight::SoftmaxSelected && route.rankOnWeight)
    return error("rank_on",
                 "is weight beside weight: softmax_selected, which "
                 "is known only after the ranking",
                 "logit");
  bool gatesFfn = route.gate == Route::Gate::FfnGated ||
                  route.gate == Route::Gate::FfnGatedDouble;
  if (gatesFfn && route.scope != Route::Scope::Block)
    return error("gate", "weighs the FFN of a block, and scope is no block",
                 "scope: block, or another gate");
  return Status::success();
}

Status NestJson::readRoutes(const JsonReader &reader) {
  NEST_RT_TRY(reader.expectObject());
  for (const Json::Member &member : reader.json().members()) {
    NEST_RT_ASSIGN(JsonReader declaration, reader.get(member.first));
    StringRef key = member.first;
    if (!key.consume_front("layers.") || key.contains('.'))
      return declaration.error("names no layers to route",
                               "routes are layers.SEL, SEL being all, odd, "
                               "even, 7, 0-9 or 0+4+9-24");
    Route route;
    route.place = declaration.place();
    SubmodelError error;
    std::optional<LayerSelector> layers =
        LayerSelector::parse(key, route.place, error);
    if (!layers)
      return inFile(route.place, error);
    NEST_RT_TRY(declaration.expectKeys({"scope", "select", "capacity",
                                        "rounding", "min", "rank_on", "weight",
                                        "gate", "position", "kv", "decode"}));
    NEST_RT_TRY(readWord(declaration, "scope", {"block", "attention", "ffn"},
                         route.scope));
    NEST_RT_TRY(readWord(declaration, "select",
                         {"topk", "threshold", "predictor"}, route.select));
    if (declaration.has("capacity")) {
      NEST_RT_ASSIGN(JsonReader capacity, declaration.get("capacity"));
      NEST_RT_TRY(readCapacity(capacity, route));
    }
    NEST_RT_TRY(readWord(declaration, "rounding",
                         {"floor", "ceil", "nearest_even", "double_floor"},
                         route.rounding));
    if (declaration.has("min")) {
      NEST_RT_ASSIGN(route.minimum, declaration.getInt("min", 0, kMaxRows));
    }
    NEST_RT_TRY(readWord(declaration, "rank_on", {"logit", "weight"},
                         route.rankOnWeight));
    NEST_RT_TRY(readWord(declaration, "weight",
                         {"logit", "sigmoid", "softmax_selected", "one"},
                         route.weight));
    NEST_RT_TRY(readWord(declaration, "gate",
                         {"delta", "double_residual", "additive", "replace",
                          "ffn_gated_double", "ffn_gated", "hard"},
                         route.gate));
    NEST_RT_TRY(readWord(declaration, "position", {"original", "compact"},
                         route.compact));
    NEST_RT_TRY(
        readWord(declaration, "kv", {"selected", "all"}, route.keepsAll));
    if (declaration.has("decode")) {
      NEST_RT_ASSIGN(JsonReader decode, declaration.get("decode"));
      NEST_RT_TRY(readDecode(decode, route));
    } else if (route.select == Route::Rule::TopK) {
      return Error(route.place + ".decode",
                   "is missing beside select: topk, which a decode cannot do",
                   "topk, threshold:T, predictor:T, always or never");
    } else {
      route.decode = route.select;
      route.limit = route.select == Route::Rule::Predictor ? 0.5f : 0.0f;
    }
    NEST_RT_TRY(checkRoute(declaration, route));
    routeList.push_back({*layers, std::move(route)});
  }
  return Status::success();
}

Expected<std::vector<std::optional<Route>>>
NestJson::routes(int64_t numLayers) const {
  std::vector<std::optional<Route>> routes(numLayers);
  SubmodelError error;
  for (const auto &[selector, route] : routeList) {
    std::optional<SmallVector<int64_t>> layers =
        selector.resolve(numLayers, route.place, error);
    if (!layers)
      return inFile(route.place, error);
    for (int64_t layer : *layers) {
      if (routes[layer])
        return Error(route.place,
                     "is a second route for layer " + std::to_string(layer) +
                         ", after " + routes[layer]->place,
                     "one route a layer");
      routes[layer] = route;
    }
  }
  return routes;
}

//===----------------------------------------------------------------------===//
// Modalities
//===----------------------------------------------------------------------===//

/// Letters, digits, _ and -: what names are made of.
static bool isName(StringRef text) {
  return !text.empty() && llvm::all_of(text, [](char c) {
    return llvm::isAlnum(c) || c == '_' || c == '-';
  });
}

/// A list of distinct strings.
static Status readDistinct(const JsonReader &reader,
                           std::vector<std::string> &list) {
  NEST_RT_ASSIGN(list, reader.asStringList());
  for (size_t i = 0; i < list.size(); ++i)
    if (llvm::is_contained(ArrayRef(list).take_front(i), list[i]))
      return reader.at(i).error("\"" + list[i] + "\" is listed twice",
                                "every word once");
  return Status::success();
}

Status NestJson::readModalities(const JsonReader &reader) {
  NEST_RT_TRY(reader.expectKeys({"names", "tower", "untied", "norm"}));
  if (reader.size() == 0)
    return Status::success();
  Modalities list;
  list.place = reader.place();
  NEST_RT_ASSIGN(JsonReader names, reader.get("names"));
  NEST_RT_TRY(readDistinct(names, list.names));
  if (list.names.empty() || list.names.size() > kMaxModalities)
    return names.error(
        list.names.empty()
            ? "is empty"
            : "has " + std::to_string(list.names.size()) + " elements",
        "1 to " + std::to_string(kMaxModalities) + " modalities");
  for (size_t i = 0; i < list.names.size(); ++i)
    if (!isName(list.names[i]))
      return names.at(i).error("\"" + list.names[i] + "\" is no name",
                               "names are letters, digits, _ and -");

  NEST_RT_ASSIGN(JsonReader tower, reader.get("tower"));
  NEST_RT_TRY(tower.expectObject());
  for (const Json::Member &member : tower.json().members())
    if (!llvm::is_contained(list.names, member.first)) {
      NEST_RT_ASSIGN(JsonReader unknown, tower.get(member.first));
      return unknown.error("there is no modality of this name",
                           legalNames(member.first, list.names));
    }
  auto most = static_cast<int64_t>(list.names.size()) - 1;
  for (const std::string &name : list.names) {
    NEST_RT_ASSIGN(int64_t index, tower.getInt(name, 0, most));
    list.towers.push_back(index);
    list.numTowers = std::max(list.numTowers, index + 1);
  }
  for (int64_t index = 0; index < list.numTowers; ++index)
    if (!llvm::is_contained(list.towers, index))
      return tower.error("no modality has the tower " + std::to_string(index),
                         "towers are numbered from 0 on without a gap");

  static const std::vector<std::string> kParts = {"norms", "qkv", "qk_norm",
                                                  "o",     "ffn", "final_norm"};
  NEST_RT_ASSIGN(JsonReader untied, reader.get("untied"));
  NEST_RT_TRY(readDistinct(untied, list.untied));
  for (size_t i = 0; i < list.untied.size(); ++i)
    NEST_RT_TRY([&]() -> Status {
      NEST_RT_ASSIGN(size_t part, untied.at(i).asOneOf(kParts));
      (void)part;
      return Status::success();
    }());
  NEST_RT_ASSIGN(JsonReader norm, reader.get("norm"));
  NEST_RT_ASSIGN(size_t place, norm.asOneOf({"pre", "post"}));
  list.normsOutput = place == 1;
  modalityList = std::move(list);
  return Status::success();
}

//===----------------------------------------------------------------------===//
// Submodels
//===----------------------------------------------------------------------===//

Status NestJson::readSubmodels(const JsonReader &reader) {
  NEST_RT_TRY(reader.expectObject());
  for (const Json::Member &member : reader.json().members()) {
    NEST_RT_ASSIGN(JsonReader spec, reader.get(member.first));
    if (!isName(member.first))
      return spec.error("is no name for a submodel",
                        "names are letters, digits, _ and -");
    NEST_RT_ASSIGN(std::string text, spec.asString());
    SubmodelError error;
    if (!SubmodelSpec::parse(text, error))
      return inFile(spec.place(), error);
    named.push_back({member.first, std::move(text)});
  }
  return Status::success();
}

Expected<std::vector<SmallVector<int64_t>>>
NestJson::levels(const LayerAxes &kind) const {
  const std::vector<int64_t> &sizes = kind.sizes;
  std::vector<SmallVector<int64_t>> levels;
  levels.reserve(sizes.size());
  for (int64_t size : sizes)
    levels.push_back({size});
  SubmodelError error;
  for (const Axis &axis : axes) {
    if (axis.kind != kind.kind)
      continue;
    std::optional<SmallVector<int64_t>> layers = axis.layers.resolve(
        static_cast<int64_t>(sizes.size()), axis.place, error);
    if (!layers)
      return inFile(axis.place, error);
    for (int64_t layer : *layers) {
      SmallVector<int64_t> widths;
      for (const auto &[place, level] : axis.levels) {
        std::string where = place + ", layer " + std::to_string(layer);
        std::optional<int64_t> width =
            level.resolve(sizes[layer], kind.group, where, error);
        if (!width)
          return inFile(where, error);
        if (llvm::is_contained(widths, *width))
          return Error(where,
                       "the width " + std::to_string(*width * kind.group) +
                           " is listed twice",
                       "every level once");
        widths.push_back(*width);
      }
      llvm::sort(widths);
      levels[layer] = std::move(widths);
    }
  }
  return levels;
}

Status NestJson::checkAxes(ArrayRef<LayerAxes> kinds) const {
  for (const Axis &axis : axes) {
    std::string known;
    bool found = false;
    for (const LayerAxes &kind : kinds) {
      found |= axis.kind == kind.kind;
      known +=
          (known.empty() ? "layers.SEL." : ", layers.SEL.") + kind.kind.str();
    }
    if (!found)
      return Error(axis.place, "the model has no axis of this kind",
                   "legal is " + known);
  }
  return Status::success();
}

Status NestJson::checkSubmodels(const AxisTable &table) const {
  for (const auto &[name, text] : named) {
    std::string place = path + ": submodels." + name;
    SubmodelError error;
    std::optional<SubmodelSpec> spec = SubmodelSpec::parse(text, error);
    if (!spec || !resolveSubmodel(*spec, table, error))
      return inFile(place, error);
  }
  return Status::success();
}
