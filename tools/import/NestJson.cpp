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

using namespace nestc;
using namespace nestc::rt;
using llvm::SmallVector;
using llvm::StringRef;

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

/// A part of the format that nothing is built for yet.
static Status refuseNonEmpty(const JsonReader &root, const char *key) {
  if (!root.has(key))
    return Status::success();
  NEST_RT_ASSIGN(JsonReader member, root.get(key));
  NEST_RT_TRY(member.expectObject());
  if (member.size() == 0)
    return Status::success();
  return member.error("is not supported yet",
                      "axes and submodels are supported");
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
  NEST_RT_TRY(refuseNonEmpty(root, "routes"));
  NEST_RT_TRY(refuseNonEmpty(root, "modalities"));
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
    const char *legal = "axes are layers.SEL.ffn, SEL being all, odd, even, "
                        "7, 0-9 or 0+4+9-24";
    if (key.starts_with("layers.") && key.ends_with(".heads"))
      return declaration.error("an axis of heads is not supported yet", legal);
    if (!key.consume_front("layers.") || !key.consume_back(".ffn"))
      return declaration.error("names no axis", legal);
    Axis axis;
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

Status NestJson::readSubmodels(const JsonReader &reader) {
  NEST_RT_TRY(reader.expectObject());
  auto isNameChar = [](char c) {
    return llvm::isAlnum(c) || c == '_' || c == '-';
  };
  for (const Json::Member &member : reader.json().members()) {
    NEST_RT_ASSIGN(JsonReader spec, reader.get(member.first));
    if (member.first.empty() || !llvm::all_of(member.first, isNameChar))
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
NestJson::ffnLevels(const std::vector<int64_t> &sizes) const {
  std::vector<SmallVector<int64_t>> levels;
  levels.reserve(sizes.size());
  for (int64_t size : sizes)
    levels.push_back({size});
  SubmodelError error;
  for (const Axis &axis : axes) {
    std::optional<SmallVector<int64_t>> layers = axis.layers.resolve(
        static_cast<int64_t>(sizes.size()), axis.place, error);
    if (!layers)
      return inFile(axis.place, error);
    for (int64_t layer : *layers) {
      SmallVector<int64_t> widths;
      for (const auto &[place, level] : axis.levels) {
        std::optional<int64_t> width =
            level.resolve(sizes[layer], place, error);
        std::string where = place + ", layer " + std::to_string(layer);
        if (!width)
          return inFile(where, error);
        if (llvm::is_contained(widths, *width))
          return Error(
              where, "the width " + std::to_string(*width) + " is listed twice",
              "every level once");
        widths.push_back(*width);
      }
      llvm::sort(widths);
      levels[layer] = std::move(widths);
    }
  }
  return levels;
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
