//===- NestJsonTest.cpp - what nest.json may say ----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/NestJson.h"

#include "gtest/gtest.h"

using namespace nestc;
using Widths = llvm::SmallVector<int64_t>;

namespace {

/// Parses, resolves levels for four layers of 64 and checks the submodels.
std::string errorOf(const std::string &text) {
  auto nest = NestJson::parse(text, "nest.json");
  if (!nest)
    return nest.error().str();
  auto levels = nest->ffnLevels({64, 64, 64, 48});
  if (!levels)
    return levels.error().str();
  AxisTable table;
  table.numLayers = 4;
  for (int layer = 0; layer < 4; ++layer)
    table.axes[AxisTable::name(layer, "ffn")] = {layer == 3 ? 48 : 64,
                                                 (*levels)[layer]};
  rt::Status status = nest->checkSubmodels(table);
  return status.ok() ? "" : status.error().str();
}

TEST(NestJson, Levels) {
  auto nest = NestJson::parse(
      R"({"format": 1, "family": "llama", "routes": {},
          "axes": {"layers.all.ffn": {"levels": ["1", "1/8", 16]},
                   "layers.1+3.ffn": {"levels": ["1/2"]}},
          "submodels": {"small": "layers.all.ffn=1/8,skip=0", "all": ""}})",
      "nest.json");
  ASSERT_TRUE(nest) << nest.error().str();
  EXPECT_EQ(nest->family(), "llama");
  EXPECT_TRUE(nest->declaresAxes());
  auto levels = nest->ffnLevels({64, 64, 32, 48});
  ASSERT_TRUE(levels) << levels.error().str();
  EXPECT_EQ((*levels)[0], (Widths{8, 16, 64}));
  EXPECT_EQ((*levels)[1], (Widths{32}));
  EXPECT_EQ((*levels)[2], (Widths{4, 16, 32}));
  EXPECT_EQ((*levels)[3], (Widths{24}));
  ASSERT_EQ(nest->submodels().size(), 2u);
  EXPECT_EQ(nest->submodels()[0].first, "small");
  EXPECT_EQ(nest->submodels()[0].second, "layers.all.ffn=1/8,skip=0");
  EXPECT_EQ(nest->submodels()[1].second, "");
}

TEST(NestJson, NothingDeclared) {
  auto nest = NestJson::parse(R"({"format": 1})", "nest.json");
  ASSERT_TRUE(nest) << nest.error().str();
  EXPECT_FALSE(nest->declaresAxes());
  auto levels = nest->ffnLevels({64});
  ASSERT_TRUE(levels);
  EXPECT_EQ((*levels)[0], (Widths{64}));
}

TEST(NestJson, Refused) {
  EXPECT_EQ(errorOf("{}"),
            "nest.json: format: is missing; this key is required");
  EXPECT_EQ(errorOf(R"({"format": 2})"),
            "nest.json: format: is 2; this nestc knows format 1");
  EXPECT_EQ(errorOf("[]"), "nest.json: is a list; an object");
  EXPECT_EQ(errorOf(R"({"format": 1, "axis": {}})"),
            "nest.json: unknown key \"axis\"; did you mean axes? legal: "
            "format, family, axes, routes, modalities, submodels");
  EXPECT_EQ(errorOf(R"({"format": 1, "routes": {"layers.odd": {}}})"),
            "nest.json: routes: is not supported yet; axes and submodels are "
            "supported");
  EXPECT_EQ(errorOf(R"({"format": 1, "modalities": {"names": ["text"]}})"),
            "nest.json: modalities: is not supported yet; axes and submodels "
            "are supported");
  // The text itself.
  EXPECT_NE(errorOf(R"({"format": 1,})"), "");
  EXPECT_NE(errorOf(R"({"format": 1, "format": 1})"), "");
  EXPECT_NE(errorOf(""), "");
}

std::string axes(const std::string &key, const std::string &value) {
  return errorOf(R"({"format": 1, "axes": {")" + key + "\": " + value + "}}");
}

TEST(NestJson, RefusedAxes) {
  const std::string place = "nest.json: axes.layers.all.ffn";
  auto level = [&](const std::string &text) {
    return axes("layers.all.ffn", "{\"levels\": [" + text + "]}");
  };
  EXPECT_EQ(level(""), place + ".levels: is empty; at least one level");
  const std::string legal = "a fraction as a string (\"1/8\", \"1\") or an "
                            "integer count of at least 1";
  EXPECT_EQ(level("0.5"), place + ".levels[0]: is 0.5; " + legal);
  EXPECT_EQ(level("\"0.5\""), place + ".levels[0]: is \"0.5\"; " + legal);
  EXPECT_EQ(level("\"full\""), place + ".levels[0]: is \"full\"; " + legal);
  EXPECT_EQ(level("\"1/0\""), place + ".levels[0]: is \"1/0\"; " + legal);
  EXPECT_EQ(level("\"1/2/4\""), place + ".levels[0]: is \"1/2/4\"; " + legal);
  EXPECT_EQ(level("1, 0"), place + ".levels[1]: is 0; " + legal);
  EXPECT_EQ(level("null"), place + ".levels[0]: is null; " + legal);
  EXPECT_EQ(level("\"3/2\""), place + ".levels[0]: is \"3/2\"; a fraction "
                                      "above 0 and at most 1");
  EXPECT_EQ(level("\"1/9\""),
            place + ".levels[0], layer 0: 1/9 of 64 is no whole number; a "
                    "width is a fraction (1/2, 1/1), a count (8192) or full");
  EXPECT_EQ(level("64"), place + ".levels[0], layer 3: the width 64 is not "
                                 "there; legal are 1 to 48, which is what is "
                                 "stored");
  EXPECT_EQ(level("\"1/2\", 32"), place + ".levels[1], layer 0: the width 32 "
                                          "is listed twice; every level once");

  EXPECT_EQ(axes("layers.all.ffn", "[1]"), place + ": is a list; an object");
  EXPECT_EQ(axes("layers.all.ffn", "{}"),
            place + ".levels: is missing; this key is required");
  EXPECT_EQ(axes("layers.all.ffn", R"({"level": [1]})"),
            place + ": unknown key \"level\"; did you mean levels? legal: "
                    "levels");
  const std::string names = "axes are layers.SEL.ffn, SEL being all, odd, "
                            "even, 7, 0-9 or 0+4+9-24";
  EXPECT_EQ(axes("ffn", "{}"), "nest.json: axes.ffn: names no axis; " + names);
  EXPECT_EQ(axes("layers.all.heads", "{}"),
            "nest.json: axes.layers.all.heads: an axis of heads is not "
            "supported yet; " +
                names);
  EXPECT_EQ(axes("layers.2-4.ffn", R"({"levels": ["1"]})"),
            "nest.json: axes.layers.2-4.ffn: there is no layer 4; the model "
            "has layers 0-3");
  EXPECT_EQ(axes("layers.some.ffn", R"({"levels": ["1"]})"),
            "nest.json: axes.layers.some.ffn: 'some' names no layers; layers "
            "are all, odd, even, 7, 0-9 or 0+4+9-24");
}

TEST(NestJson, RefusedSubmodels) {
  auto spec = [](const std::string &name, const std::string &value) {
    return errorOf(R"({"format": 1, "submodels": {")" + name + "\": " + value +
                   "}}");
  };
  EXPECT_EQ(spec("a b", "\"skip=1\""),
            "nest.json: submodels.a b: is no name for a submodel; names are "
            "letters, digits, _ and -");
  EXPECT_EQ(spec("s", "3"), "nest.json: submodels.s: is an integer; a string");
  // Parsed and resolved when it is read, by the grammar of --submodel.
  for (const char *bad : {"layers.all.fnn=1/8", "layers.all.ffn=1/9",
                          "layers.9.ffn=1/2", "skip=0-3", "large"}) {
    std::string error = spec("s", '"' + std::string(bad) + '"');
    EXPECT_EQ(error.rfind("nest.json: submodels.s: ", 0), 0u) << error;
  }
}

} // namespace
