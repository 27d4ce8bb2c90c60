//===- Frontier.h - submodels by the rule of Mix'n'Match --------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_NESTC_FRONTIER_H
#define NESTC_TOOLS_NESTC_FRONTIER_H

#include "passes/CostModel.h"
#include "passes/Submodel.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nestc {

/// A width for every layer, 0 for one that is skipped, and what the submodel
/// costs. Rows of a slicing table have a name.
struct FrontierPoint {
  std::string name;
  std::vector<int64_t> widths;
  ModelCost cost;
};

/// The widths that the rule of MatFormer's Mix'n'Match allows (arXiv
/// 2310.07707): trained levels that do not fall with depth, and with the least
/// slope, so that a submodel takes two neighbouring levels at most. From the
/// smallest to the largest; each is the one before with one layer raised by a
/// level. Levels are compared as parts of their layer; a layer takes its next
/// lower one where it has not this one. Empty when no layer has two levels.
std::vector<std::vector<int64_t>> mixAndMatch(const AxisTable &table);

/// The inline text of --submodel for widths, 0 for a layer that is skipped.
std::string describeWidths(const std::vector<int64_t> &widths);

/// What a picture of a frontier shows.
struct FrontierPicture {
  std::string title;                 ///< what was planned
  std::string unit;                  ///< of the figures
  std::vector<FrontierPoint> points; ///< from the smallest on
  std::vector<int64_t> figures;      ///< of each
  std::vector<int64_t> sizes;        ///< the layers' full widths
  int64_t budget = 0;                ///< of the figure
  size_t chosen = 0;                 ///< index in points
};

/// A picture as SVG: a line for each submodel, with a bar for its figure and a
/// cell for each layer, the darker the wider.
std::string drawFrontier(const FrontierPicture &picture);

} // namespace nestc

#endif // NESTC_TOOLS_NESTC_FRONTIER_H
