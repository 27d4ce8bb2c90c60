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

TEST(Submodel, LayersAsText) {
  EXPECT_EQ(LayerSelector::text({0, 1, 2}, 3), "all");
  EXPECT_EQ(LayerSelector::text({2}, 3), "2");
  EXPECT_EQ(LayerSelector::text({0, 1, 3, 5, 6, 7}, 9), "0-1+3+5-7");
}

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

// A range is what a call may bind; the largest is the width.
TEST(Submodel, OpenWidths) {
  SubmodelError error;
  auto bind = [&](const std::string &text) {
    std::optional<SubmodelSpec> spec = SubmodelSpec::parse(text, error);
    EXPECT_TRUE(spec) << error.str();
    return resolveSubmodel(*spec, makeTable(), error);
  };
  EXPECT_EQ(widths("layers.all.ffn=1/8..1/2"),
            Widths({48, 48, 48, 48, 48, 48}));
  auto binding = bind("layers.1-2.ffn=1/8..full,layers.2.ffn=24");
  ASSERT_TRUE(binding) << error.str();
  EXPECT_EQ(binding->open,
            (std::map<std::string, int64_t>{{"layers.1.ffn", 12}}));
  EXPECT_EQ(binding->widths["layers.1.ffn"], 96);
  EXPECT_EQ(binding->widths["layers.2.ffn"], 24);
  EXPECT_FALSE(bind("layers.0.ffn=1/2..1/4"));
  EXPECT_EQ(error.str(),
            "submodel entry 'layers.0.ffn=1/2..1/4': the range runs "
            "backwards; the smaller width first: 1/8..1/1");
}

// Query heads are counted, in whole groups; an element is a KV head.
TEST(Submodel, Heads) {
  AxisTable table = makeTable();
  for (int64_t layer = 0; layer < 6; ++layer)
    table.axes[AxisTable::name(layer, "heads")] = {4, {2, 4}, 3};
  auto bind = [&](const std::string &text) {
    SubmodelError error;
    std::optional<SubmodelSpec> spec = SubmodelSpec::parse(text, error);
    EXPECT_TRUE(spec) << error.str();
    auto binding = resolveSubmodel(*spec, table, error);
    std::string result = binding ? "" : error.str();
    for (int64_t layer = 0; binding && layer < 6; ++layer)
      result +=
          std::to_string(
              binding->widths["layers." + std::to_string(layer) + ".heads"]) +
          " ";
    for (size_t i = 0; binding && i < binding->warnings.size(); ++i)
      result += binding->warnings[i];
    return result;
  };
  EXPECT_EQ(bind(""), "4 4 4 4 4 4 ");
  EXPECT_EQ(bind("layers.all.heads=1/2,layers.2.heads=full"), "2 2 4 2 2 2 ");
  EXPECT_EQ(bind("layers.0-1.heads=3"),
            "1 1 4 4 4 4 layers.0+1.heads: the width 3 is no trained level; "
            "levels are 6, 12");
  const std::string place = "submodel entry 'layers.0.heads=";
  EXPECT_EQ(bind("layers.0.heads=4"),
            place + "4': the width 4 splits a group of heads; legal are "
                    "multiples of 3, the query heads of a KV head, up to 12");
  EXPECT_EQ(bind("layers.0.heads=1/6"),
            place + "1/6': the width 2 splits a group of heads; legal are "
                    "multiples of 3, the query heads of a KV head, up to 12");
  EXPECT_EQ(bind("layers.0.heads=13"),
            place + "13': the width 13 is not there; legal are 3 to 12, which "
                    "is what is stored");
}

TEST(Submodel, Skip) {
  EXPECT_EQ(widths("skip=1+4-5"), Widths({96, 0, 96, 96, 0, 0}));
}

TEST(Submodel, WhatCannotBeParsedIsUsage) {
  for (const char *text : {"layers.0.ffn=1/0",
                           "layers.3-1.ffn=12",
                           "layers.0.ffn=-8",
                           "layers.0.ffn=half",
                           "layers.0.ffn=",
                           "layers.0.ffn=1/",
                           "layers..ffn=1",
                           "layers.x.ffn=1",
                           "layers.0.ffn=abc..def",
                           "layers.0.ffn=1....2",
                           "layer.0.ffn=1",
                           "skip=",
                           "skip=a",
                           "skip=1,",
                           "skip",
                           "skip=1++2",
                           "skip=-1",
                           "foo=1",
                           "routes.odd=sparse",
                           "routes.odd=",
                           "routes.1.capacity=",
                           "routes.1.capacity=0.5",
                           "routes.1.capacity=1/0",
                           "routes.1.capacity=full",
                           "routes.x=dense",
                           "routes.1.capacit=1",
                           "modalities=",
                           "modalities=text++image",
                           "modalities=text+text"})
    EXPECT_EQ(refusal(text).kind, SubmodelError::Kind::Syntax) << text;
}

TEST(Submodel, WhatIsNotThereIsTheInputsFault) {
  for (const char *text : {"layers.0.ffn=97",
                           "layers.0.ffn=0",
                           "layers.0.ffn=1/5",
                           "layers.0.ffn=3/2",
                           "layers.6.ffn=12",
                           "skip=6",
                           "skip=all",
                           "layers.0.ffn=99999999999999999999",
                           "skip=99999999999999999999",
                           "layers.0.ffn=1/1..1/8",
                           "layers.0.ffn=0..1/1",
                           "layers.0.ffn=1/5..1/1",
                           "layers.0.ffn=12..97",
                           "layers.all.heads=1/2..1/1",
                           "layers.all.heads=1/2",
                           "layers.all.heads=0",
                           "modalities=text",
                           "routes.odd=dense",
                           "routes.1.capacity=1/2",
                           "preset=Main"})
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

//===----------------------------------------------------------------------===//
// Routes and modalities
//===----------------------------------------------------------------------===//

/// Layers 1, 3 and 5 are routed: ranked in a prefill, ranked in both, never.
class SubmodelOfRoutes : public testing::Test {
protected:
  SubmodelOfRoutes() {
    context.loadDialect<nest::NestDialect>();
    auto capacity =
        nest::CapacityAttr::get(&context, 1, 8, nest::Rounding::ceil, 2);
    table = makeTable();
    table.routes[1] = {true, false, capacity};
    table.routes[3] = {true, true, capacity};
    table.routes[5] = {false, false, capacity};
    table.modalities = {"text", "image", "speech"};
  }

  std::optional<Binding> resolve(const std::string &text) {
    error = {};
    std::optional<SubmodelSpec> spec = SubmodelSpec::parse(text, error);
    if (!spec)
      return std::nullopt;
    return resolveSubmodel(*spec, table, error);
  }

  mlir::MLIRContext context;
  AxisTable table;
  SubmodelError error;
};

TEST_F(SubmodelOfRoutes, Capacity) {
  auto binding = resolve("routes.1+3.capacity=1/4,routes.3.capacity=1");
  ASSERT_TRUE(binding) << error.str();
  ASSERT_EQ(binding->routes.size(), 2u);
  // Rounding and minimum are the route's.
  EXPECT_EQ(binding->routes[1],
            nest::CapacityAttr::get(&context, 1, 4, nest::Rounding::ceil, 2));
  EXPECT_EQ(binding->routes[3],
            nest::CapacityAttr::get(&context, 1, 0, nest::Rounding::ceil, 2));
  EXPECT_TRUE(binding->warnings.empty());
}

TEST_F(SubmodelOfRoutes, Dense) {
  // A word for layers means those that are routed; later entries override.
  auto binding = resolve("routes.all=dense,routes.3.capacity=1/1");
  ASSERT_TRUE(binding) << error.str();
  ASSERT_EQ(binding->routes.size(), 3u);
  EXPECT_FALSE(binding->routes[1]);
  EXPECT_TRUE(binding->routes[3].isAll());
  EXPECT_FALSE(binding->routes[5]);
}

TEST_F(SubmodelOfRoutes, WhatIsNotRouted) {
  EXPECT_FALSE(resolve("routes.1+2=dense"));
  EXPECT_EQ(error.str(), "submodel entry 'routes.1+2=dense': layer 2 has no "
                         "route; routed are the layers 1+3+5");
  EXPECT_FALSE(resolve("routes.even.capacity=1/2"));
  EXPECT_EQ(error.str(),
            "submodel entry 'routes.even.capacity=1/2': none of these layers "
            "has a route; routed are the layers 1+3+5");
  EXPECT_FALSE(resolve("routes.1.capacity=3/2"));
  EXPECT_EQ(error.kind, SubmodelError::Kind::Illegal);
  auto binding = resolve("routes.all.capacity=1/2");
  ASSERT_TRUE(binding);
  EXPECT_EQ(binding->warnings,
            std::vector<std::string>{"routes.5: rows are not ranked there, so "
                                     "a capacity changes nothing"});
}

TEST_F(SubmodelOfRoutes, Modalities) {
  auto binding = resolve("modalities=image,modalities=speech+text");
  ASSERT_TRUE(binding) << error.str();
  EXPECT_EQ(binding->modalities, (std::vector<bool>{true, false, true}));
  EXPECT_FALSE(resolve("modalities=text+imag"));
  EXPECT_EQ(error.str(),
            "submodel entry 'modalities=text+imag': there is no modality "
            "'imag' (did you mean image?); modalities are text, image, speech");
  EXPECT_EQ(error.kind, SubmodelError::Kind::Illegal);
}

} // namespace
