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
  auto levels = nest->levels({kFfnAxis, {64, 64, 64, 48}});
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
  auto levels = nest->levels({kFfnAxis, {64, 64, 32, 48}});
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

// Users count query heads; an element of the axis is a KV head.
TEST(NestJson, LevelsOfHeads) {
  auto nest = NestJson::parse(
      R"({"format": 1, "axes": {"layers.all.heads": {"levels": ["1/2", 12]},
                                "layers.1.ffn": {"levels": [7]}}})",
      "nest.json");
  ASSERT_TRUE(nest) << nest.error().str();
  LayerAxes heads = {kHeadAxis, {4, 4}, 3};
  auto levels = nest->levels(heads);
  ASSERT_TRUE(levels) << levels.error().str();
  EXPECT_EQ((*levels)[0], (Widths{2, 4}));
  EXPECT_EQ((*levels)[1], (Widths{2, 4}));
  EXPECT_EQ((*nest->levels({kFfnAxis, {8, 8}}))[1], (Widths{7}));
  EXPECT_TRUE(nest->checkAxes({heads, {kFfnAxis, {8, 8}}}).ok());
  EXPECT_EQ(nest->checkAxes({heads}).error().str(),
            "nest.json: axes.layers.1.ffn: the model has no axis of this kind; "
            "legal is layers.SEL.heads");
  heads.group = 5;
  EXPECT_EQ(nest->levels(heads).error().str(),
            "nest.json: axes.layers.all.heads.levels[1], layer 0: the width 12 "
            "splits a group of heads; legal are multiples of 5, the query "
            "heads of a KV head, up to 20");
}

TEST(NestJson, NothingDeclared) {
  auto nest = NestJson::parse(R"({"format": 1})", "nest.json");
  ASSERT_TRUE(nest) << nest.error().str();
  EXPECT_FALSE(nest->declaresAxes());
  auto levels = nest->levels({kFfnAxis, {64}});
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
  const std::string names = "axes are layers.SEL.ffn and layers.SEL.heads, "
                            "SEL being all, odd, even, 7, 0-9 or 0+4+9-24";
  EXPECT_EQ(axes("ffn", "{}"), "nest.json: axes.ffn: names no axis; " + names);
  EXPECT_EQ(axes("layers.all.head", "{}"),
            "nest.json: axes.layers.all.head: names no axis; " + names);
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

//===----------------------------------------------------------------------===//
// Routes
//===----------------------------------------------------------------------===//

/// The routes of four layers, or the error.
rt::Expected<std::vector<std::optional<Route>>>
routesOf(const std::string &text) {
  auto nest = NestJson::parse(R"({"format": 1, "routes": {)" + text + "}}",
                              "nest.json");
  if (!nest)
    return nest.takeError();
  return nest->routes(4);
}

/// The error of a route of layers.odd with these keys.
std::string routeError(const std::string &keys) {
  auto routes = routesOf(R"("layers.odd": {)" + keys + "}");
  return routes ? "" : routes.error().str();
}

TEST(NestJson, RoutesByDefault) {
  auto routes = routesOf(R"("layers.odd": {"decode": "threshold:-0.25"})");
  ASSERT_TRUE(routes) << routes.error().str();
  EXPECT_FALSE((*routes)[0] || (*routes)[2]);
  ASSERT_TRUE((*routes)[1] && (*routes)[3]);
  const Route &route = *(*routes)[1];
  EXPECT_EQ(route.scope, Route::Scope::Block);
  EXPECT_EQ(route.select, Route::Rule::TopK);
  EXPECT_EQ(route.numerator, 1);
  EXPECT_EQ(route.denominator, 8);
  EXPECT_EQ(route.rounding, nest::Rounding::floor);
  EXPECT_EQ(route.minimum, 1);
  EXPECT_FALSE(route.rankOnWeight);
  EXPECT_EQ(route.weight, Route::Weight::Logit);
  EXPECT_EQ(route.gate, Route::Gate::Delta);
  EXPECT_FALSE(route.compact);
  EXPECT_FALSE(route.keepsAll);
  EXPECT_EQ(route.decode, Route::Rule::Threshold);
  EXPECT_EQ(route.limit, -0.25f);
  EXPECT_TRUE(route.decodesApart());
}

TEST(NestJson, Routes) {
  auto routes = routesOf(R"(
    "layers.0": {"scope": "ffn", "capacity": 256, "rounding": "double_floor",
                 "min": 0, "rank_on": "weight", "weight": "sigmoid",
                 "gate": "hard", "position": "compact", "decode": "topk"},
    "layers.1": {"select": "threshold", "capacity": "1"},
    "layers.2": {"select": "predictor", "kv": "all"},
    "layers.3": {"capacity": "0/3", "decode": "never"})");
  ASSERT_TRUE(routes) << routes.error().str();
  const Route &first = *(*routes)[0];
  EXPECT_EQ(first.scope, Route::Scope::Ffn);
  EXPECT_EQ(first.numerator, 256);
  EXPECT_EQ(first.denominator, 0);
  EXPECT_EQ(first.rounding, nest::Rounding::double_floor);
  EXPECT_EQ(first.minimum, 0);
  EXPECT_TRUE(first.rankOnWeight);
  EXPECT_EQ(first.weight, Route::Weight::Sigmoid);
  EXPECT_EQ(first.gate, Route::Gate::Hard);
  EXPECT_TRUE(first.compact);
  EXPECT_EQ(first.decode, Route::Rule::TopK);
  // What select implies where decode is left out.
  EXPECT_EQ((*routes)[1]->decode, Route::Rule::Threshold);
  EXPECT_EQ((*routes)[1]->limit, 0.0f);
  EXPECT_EQ((*routes)[1]->denominator, 1);
  EXPECT_FALSE((*routes)[1]->decodesApart());
  EXPECT_EQ((*routes)[2]->decode, Route::Rule::Predictor);
  EXPECT_EQ((*routes)[2]->limit, 0.5f);
  EXPECT_TRUE((*routes)[2]->keepsAll);
  EXPECT_EQ((*routes)[3]->numerator, 0);
}

TEST(NestJson, RefusedRoutes) {
  const std::string place = "nest.json: routes.layers.odd";
  EXPECT_EQ(routeError(""),
            place + ".decode: is missing beside select: topk, which a decode "
                    "cannot do; topk, threshold:T, predictor:T, always or "
                    "never");
  const std::string decode = R"("decode": "threshold:0")";
  auto with = [&](const std::string &keys) {
    return routeError(keys + ", " + decode);
  };
  EXPECT_EQ(with(R"("scop": "block")"),
            place + ": unknown key \"scop\"; did you mean scope? legal: scope, "
                    "select, capacity, rounding, min, rank_on, weight, gate, "
                    "position, kv, decode");
  EXPECT_EQ(with(R"("scope": "layer")"),
            place + ".scope: is \"layer\"; legal: block, attention, ffn");
  EXPECT_EQ(with(R"("gate": 3)").rfind(place + ".gate: is an integer", 0), 0u);
  const std::string capacity = "a part of the rows as a string (\"1/8\", "
                               "\"1\"), at most all, or an integer count of "
                               "rows from 0 on";
  for (const char *bad :
       {"0.125", "-1", "\"0.5\"", "\"3/2\"", "\"1/0\"", "\"half\"", "\"\"",
        "\"1/\"", "\"/2\"", "\"-1/2\"", "4294967296", "null", "[1]"})
    EXPECT_EQ(with(R"("capacity": )" + std::string(bad))
                  .rfind(place + ".capacity: is ", 0),
              0u)
        << bad;
  EXPECT_EQ(with(R"("capacity": 0.125)"),
            place + ".capacity: is 0.125; " + capacity);
  EXPECT_NE(with(R"("min": -1)"), "");
  for (const char *bad :
       {"threshold", "threshold:", "threshold:a", "threshold:nan",
        "threshold:1e60", "topk:1", "always:", "sometimes", "predictor:"})
    EXPECT_EQ(routeError(R"("decode": ")" + std::string(bad) + '"')
                  .rfind(place + ".decode: is \"" + bad + '"', 0),
              0u)
        << bad;

  // Words that do not go together.
  EXPECT_EQ(routeError(R"("select": "threshold", "decode": "always")"),
            place + ".decode: is another rule than select, which is threshold; "
                    "threshold:T, which both use");
  EXPECT_EQ(routeError(R"("select": "predictor", "decode": "threshold:0")"),
            place + ".decode: is another rule than select, which is predictor; "
                    "predictor:T, which both use");
  EXPECT_EQ(with(R"("position": "compact", "kv": "all")"),
            place + ".position: is compact beside kv: all; original, or kv: "
                    "selected");
  EXPECT_EQ(with(R"("rank_on": "weight", "weight": "softmax_selected")"),
            place +
                ".rank_on: is weight beside weight: softmax_selected, which "
                "is known only after the ranking; logit");
  for (const char *gate : {"ffn_gated", "ffn_gated_double"})
    EXPECT_EQ(
        with(R"("scope": "attention", "gate": ")" + std::string(gate) + '"'),
        place + ".gate: weighs the FFN of a block, and scope is no block; "
                "scope: block, or another gate");

  // Which layers.
  auto twice = routesOf(R"("layers.odd": {)" + decode + R"(}, "layers.3": {)" +
                        decode + "}");
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().str(),
            "nest.json: routes.layers.3: is a second route for layer 3, after "
            "nest.json: routes.layers.odd; one route a layer");
  auto beyond = routesOf(R"("layers.4": {)" + decode + "}");
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().str(), "nest.json: routes.layers.4: there is no "
                                  "layer 4; the model has layers 0-3");
  for (const char *key : {"odd", "layers.all.ffn"}) {
    auto other = routesOf('"' + std::string(key) + "\": {" + decode + "}");
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().str(),
              "nest.json: routes." + std::string(key) +
                  ": names no layers to route; routes are layers.SEL, SEL "
                  "being all, odd, even, 7, 0-9 or 0+4+9-24");
  }
}

//===----------------------------------------------------------------------===//
// Modalities
//===----------------------------------------------------------------------===//

std::string modalityError(const std::string &names, const std::string &tower,
                          const std::string &untied = "[]",
                          const std::string &norm = "\"pre\"") {
  return errorOf(R"({"format": 1, "modalities": {"names": )" + names +
                 R"(, "tower": )" + tower + R"(, "untied": )" + untied +
                 R"(, "norm": )" + norm + "}}");
}

TEST(NestJson, Modalities) {
  auto nest = NestJson::parse(R"({"format": 1, "modalities": {
      "names": ["text", "image", "speech"],
      "tower": {"speech": 1, "text": 0, "image": 1},
      "untied": ["ffn", "norms"], "norm": "post"}})",
                              "nest.json");
  ASSERT_TRUE(nest) << nest.error().str();
  ASSERT_TRUE(nest->modalities());
  const Modalities &list = *nest->modalities();
  EXPECT_EQ(list.names, (std::vector<std::string>{"text", "image", "speech"}));
  EXPECT_EQ(list.towers, (std::vector<int64_t>{0, 1, 1}));
  EXPECT_EQ(list.numTowers, 2);
  EXPECT_TRUE(list.isUntied("ffn") && list.isUntied("norms"));
  EXPECT_FALSE(list.isUntied("o"));
  EXPECT_TRUE(list.normsOutput);
}

TEST(NestJson, RefusedModalities) {
  const std::string place = "nest.json: modalities";
  EXPECT_EQ(errorOf(R"({"format": 1, "modalities": {"names": ["text"]}})"),
            place + ".tower: is missing; this key is required");
  EXPECT_EQ(errorOf(R"({"format": 1, "modalities": {"towers": {}}})")
                .rfind(place + ": unknown key \"towers\"", 0),
            0u);
  EXPECT_EQ(modalityError("[]", "{}"),
            place + ".names: is empty; 1 to 1024 modalities");
  EXPECT_EQ(modalityError(R"(["a", "a"])", R"({"a": 0})"),
            place + ".names[1]: \"a\" is listed twice; every word once");
  EXPECT_EQ(modalityError(R"(["a+b"])", R"({"a+b": 0})"),
            place + ".names[0]: \"a+b\" is no name; names are letters, "
                    "digits, _ and -");
  EXPECT_EQ(modalityError(R"(["text", "b"])", R"({"text": 0})"),
            place + ".tower.b: is missing; this key is required");
  EXPECT_EQ(modalityError(R"(["text"])", R"({"text": 0, "txt": 0})"),
            place + ".tower.txt: there is no modality of this name; did you "
                    "mean text? legal: text");
  EXPECT_NE(modalityError(R"(["a", "b"])", R"({"a": 0, "b": 2})"), "");
  EXPECT_EQ(modalityError(R"(["a", "b"])", R"({"a": 1, "b": 1})"),
            place + ".tower: no modality has the tower 0; towers are numbered "
                    "from 0 on without a gap");
  const std::string one = R"(["a"])", tower = R"({"a": 0})";
  EXPECT_EQ(modalityError(one, tower, R"(["ffn", "ffn"])"),
            place + ".untied[1]: \"ffn\" is listed twice; every word once");
  EXPECT_EQ(modalityError(one, tower, R"(["fnn"])"),
            place + ".untied[0]: is \"fnn\"; did you mean ffn? legal: norms, "
                    "qkv, qk_norm, o, ffn, final_norm");
  EXPECT_EQ(modalityError(one, tower, "[]", "\"both\""),
            place + ".norm: is \"both\"; legal: pre, post");
}

} // namespace
