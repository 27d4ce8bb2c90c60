//===- SubmodelTest.cpp - the grammar of --submodel -------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Submodel.h"

#include "gtest/gtest.h"

using namespace nestc;

namespace {

/// A model of six layers, FFN 96, trained at 12, 24, 48 and 96.
AxisTable makeTable() {
  AxisTable table;
  table.numLayers = 6;
  for (int64_t layer = 0; layer < 6; ++layer)
    table.axes[AxisTable::name(layer, "ffn")] = {96, {12, 24, 48, 96}};
  return table;
}

std::vector<int64_t> widths(const std::string &text) {
  SubmodelError error;
  std::optional<SubmodelSpec> spec = SubmodelSpec::parse(text, error);
  EXPECT_TRUE(spec) << error.str();
  if (!spec)
    return {};
  std::optional<Binding> binding = resolveSubmodel(*spec, makeTable(), error);
  EXPECT_TRUE(binding) << error.str();
  std::vector<int64_t> result;
  if (binding)
    for (int64_t layer = 0; layer < 6; ++layer)
      result.push_back(binding->skipped[layer]
                           ? 0
                           : binding->widths[AxisTable::name(layer, "ffn")]);
  return result;
}

SubmodelError refusal(const std::string &text) {
  SubmodelError error;
  std::optional<SubmodelSpec> spec = SubmodelSpec::parse(text, error);
  if (spec)
    EXPECT_FALSE(resolveSubmodel(*spec, makeTable(), error)) << text;
  return error;
}

using Widths = std::vector<int64_t>;

TEST(Submodel, Widths) {
  EXPECT_EQ(widths(""), Widths({96, 96, 96, 96, 96, 96}));
  EXPECT_EQ(widths("layers.all.ffn=1/4"), Widths({24, 24, 24, 24, 24, 24}));
  EXPECT_EQ(widths("layers.*.ffn=1/1"), Widths({96, 96, 96, 96, 96, 96}));
  EXPECT_EQ(widths("layers.all.ffn=12,layers.0-1.ffn=full"),
            Widths({96, 96, 12, 12, 12, 12}));
  EXPECT_EQ(widths("layers.odd.ffn=1/2"), Widths({96, 48, 96, 48, 96, 48}));
  EXPECT_EQ(widths("layers.even.ffn=1/2"), Widths({48, 96, 48, 96, 48, 96}));
  EXPECT_EQ(widths("layers.0+2-3+5.ffn=1"), Widths({1, 96, 1, 1, 96, 1}));
}

TEST(Submodel, LaterEntriesOverrideEarlierOnes) {
  EXPECT_EQ(widths("layers.0.ffn=12,layers.all.ffn=24"),
            Widths({24, 24, 24, 24, 24, 24}));
  EXPECT_EQ(widths("skip=0-2,skip=5"), Widths({96, 96, 96, 96, 96, 0}));
}

TEST(Submodel, Skip) {
  EXPECT_EQ(widths("skip=1+4-5"), Widths({96, 0, 96, 96, 0, 0}));
}

TEST(Submodel, WhatCannotBeParsedIsUsage) {
  for (const char *text :
       {"layers.0.ffn=1/0", "layers.3-1.ffn=12", "layers.0.ffn=-8",
        "layers.0.ffn=half", "layers.0.ffn=", "layers.0.ffn=1/",
        "layers..ffn=1", "layers.x.ffn=1", "layers.0.ffn=abc..def",
        "layers.0.ffn=1....2", "layer.0.ffn=1", "skip=", "skip=a", "skip=1,",
        "skip", "skip=1++2", "skip=-1", "foo=1"})
    EXPECT_EQ(refusal(text).kind, SubmodelError::Kind::Syntax) << text;
}

TEST(Submodel, WhatIsNotThereIsTheInputsFault) {
  for (const char *text :
       {"layers.0.ffn=97", "layers.0.ffn=0", "layers.0.ffn=1/5",
        "layers.0.ffn=3/2", "layers.6.ffn=12", "skip=6", "skip=all",
        "layers.0.ffn=99999999999999999999", "skip=99999999999999999999",
        "layers.0.ffn=1/8..1/1", "layers.all.heads=1/2", "modalities=text",
        "routes.odd=dense", "preset=Main"})
    EXPECT_EQ(refusal(text).kind, SubmodelError::Kind::Illegal) << text;
}

TEST(Submodel, ErrorsNamePlaceAndLegalValues) {
  EXPECT_EQ(refusal("layers.2.ffn=97").str(),
            "submodel entry 'layers.2.ffn=97': the width 97 is not there; "
            "legal are 1 to 96, which is what is stored");
  EXPECT_NE(refusal("skip=3,skp=1").str().find("did you mean skip?"),
            std::string::npos);
}

TEST(Submodel, AWidthThatIsNoLevelIsAWarning) {
  SubmodelError error;
  auto spec = SubmodelSpec::parse("layers.0+2.ffn=13,layers.1.ffn=12", error);
  ASSERT_TRUE(spec);
  auto binding = resolveSubmodel(*spec, makeTable(), error);
  ASSERT_TRUE(binding);
  ASSERT_EQ(binding->warnings.size(), 1u);
  EXPECT_EQ(binding->warnings[0],
            "layers.0+2.ffn: the width 13 is no trained level; levels are 12, "
            "24, 48, 96");
}

} // namespace
