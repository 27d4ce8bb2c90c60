//===- FrontierTest.cpp - submodels by the rule of Mix'n'Match --*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/nestc/Frontier.h"

#include "gtest/gtest.h"

using namespace nestc;

namespace {

using Widths = std::vector<std::vector<int64_t>>;

/// A table of layers of a size and its levels each.
AxisTable tableOf(std::vector<AxisTable::Axis> layers) {
  AxisTable table;
  for (AxisTable::Axis &axis : layers)
    table.axes[AxisTable::name(table.numLayers++, "ffn")] = std::move(axis);
  return table;
}

TEST(Frontier, RaisesDeepLayersFirst) {
  EXPECT_EQ(mixAndMatch(tableOf({{8, {2, 4, 8}}, {8, {2, 4, 8}}})),
            (Widths{{2, 2}, {2, 4}, {4, 4}, {4, 8}, {8, 8}}));
}

TEST(Frontier, ComparesPartsOfLayers) {
  // Half and all of layers of two sizes.
  EXPECT_EQ(mixAndMatch(tableOf({{16, {8, 16}}, {6, {3, 6}}})),
            (Widths{{8, 3}, {8, 6}, {16, 6}}));
  // Sizes whose products do not fit 32 bits.
  int64_t large = INT32_MAX;
  EXPECT_EQ(mixAndMatch(tableOf({{large, {large - 1, large}},
                                 {large - 1, {large - 2, large - 1}}})),
            (Widths{{large - 1, large - 2},
                    {large - 1, large - 1},
                    {large, large - 1}}));
}

TEST(Frontier, LayersWithFewerLevels) {
  // A quarter, a half and all; the second layer has no half, the third one
  // level.
  EXPECT_EQ(mixAndMatch(tableOf({{8, {2, 4, 8}}, {8, {2, 8}}, {8, {8}}})),
            (Widths{{2, 2, 8}, {4, 2, 8}, {4, 8, 8}, {8, 8, 8}}));
  // What is smaller than a layer's smallest level is that level.
  EXPECT_EQ(mixAndMatch(tableOf({{8, {1, 8}}, {8, {4, 8}}})),
            (Widths{{1, 4}, {1, 8}, {8, 8}}));
}

TEST(Frontier, NothingToChoose) {
  EXPECT_LT(mixAndMatch(tableOf({{8, {8}}, {8, {8}}})).size(), 2u);
  EXPECT_TRUE(mixAndMatch(AxisTable()).empty());
  AxisTable holes = tableOf({{8, {4, 8}}});
  holes.numLayers = 2;
  EXPECT_TRUE(mixAndMatch(holes).empty());
}

TEST(Frontier, WidthsAsText) {
  EXPECT_EQ(describeWidths({4, 4, 4}), "layers.all.ffn=4");
  EXPECT_EQ(describeWidths({4, 8, 8, 4}),
            "layers.0.ffn=4,layers.1-2.ffn=8,layers.3.ffn=4");
}

} // namespace
