//===- NestJson.h - nest.json, read strictly --------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_IMPORT_NESTJSON_H
#define NESTC_TOOLS_IMPORT_NESTJSON_H

#include "lowering/runtime/Json.h"
#include "passes/Submodel.h"
#include "tools/import/Routes.h"

#include "llvm/ADT/STLExtras.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace nestc {

/// Modalities of nest.json: which tower a row takes, and what towers differ in.
struct Modalities {
  std::string place;
  std::vector<std::string> names;
  std::vector<int64_t> towers; ///< one for each name
  int64_t numTowers = 0;
  std::vector<std::string> untied;
  bool normsOutput = false; ///< norms stand behind a sub-layer, else before it

  bool isUntied(llvm::StringRef part) const {
    return llvm::is_contained(untied, part);
  }
};

/// The axes of one kind, one for each layer.
struct LayerAxes {
  llvm::StringRef kind; ///< kFfnAxis, kHeadAxis
  std::vector<int64_t> sizes;
  int64_t group = 1; ///< how many of what users count is an element
};

/// What nest.json adds to a checkpoint: the levels that axes were trained at,
/// routes, modalities, and names for submodels. Unknown keys, wrong types and
/// values out of range are errors that name the file, the key and what is
/// legal.
class NestJson {
public:
  /// Reads `directory`/nest.json; nothing declared when it is not there.
  static rt::Expected<NestJson> read(const std::string &directory);
  /// Of a text, `place` being its path in errors.
  static rt::Expected<NestJson> parse(std::string_view text,
                                      const std::string &place);

  /// "family", or empty.
  const std::string &family() const { return familyName; }
  /// Where the family is named, for errors.
  std::string familyPlace() const { return path + ": family"; }
  bool declaresAxes() const { return !axes.empty(); }

  /// The levels of layers.N.KIND for every layer N, ascending, in elements of
  /// the axis. A layer with no declaration has its full size as the only level;
  /// a later declaration replaces an earlier one.
  rt::Expected<std::vector<llvm::SmallVector<int64_t>>>
  levels(const LayerAxes &kind) const;
  /// An error for a declared axis that is of none of these kinds.
  rt::Status checkAxes(llvm::ArrayRef<LayerAxes> kinds) const;

  bool hasRoutes() const { return !routeList.empty(); }
  std::string routesPlace() const { return path + ": routes"; }
  /// The route of every layer that has one. Two routes on one layer and a layer
  /// that is not there are errors.
  rt::Expected<std::vector<std::optional<Route>>>
  routes(int64_t numLayers) const;

  const std::optional<Modalities> &modalities() const { return modalityList; }
  std::string modalitiesPlace() const { return path + ": modalities"; }

  /// Names and specs, in the order of the file.
  const std::vector<std::pair<std::string, std::string>> &submodels() const {
    return named;
  }
  /// Checks every named submodel against the axes of the model.
  rt::Status checkSubmodels(const AxisTable &table) const;

private:
  struct Axis {
    std::string place, kind;
    LayerSelector layers;
    std::vector<std::pair<std::string, WidthValue>> levels; ///< with places
  };

  static rt::Expected<NestJson> fromJson(const rt::Json &json,
                                         const std::string &place);
  rt::Status readAxes(const rt::JsonReader &reader);
  rt::Status readRoutes(const rt::JsonReader &reader);
  rt::Status readModalities(const rt::JsonReader &reader);
  rt::Status readSubmodels(const rt::JsonReader &reader);

  std::string path, familyName;
  std::vector<Axis> axes;
  std::vector<std::pair<LayerSelector, Route>> routeList;
  std::optional<Modalities> modalityList;
  std::vector<std::pair<std::string, std::string>> named;
};

/// An error of the submodel grammar found at `place` of a file.
rt::Error inFile(const std::string &place, const SubmodelError &error);

} // namespace nestc

#endif // NESTC_TOOLS_IMPORT_NESTJSON_H
