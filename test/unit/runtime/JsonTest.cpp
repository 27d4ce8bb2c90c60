//===- JsonTest.cpp - JSON values and readers -------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Json.h"
#include "Support.h"

using namespace nestc::rt;

static Json parsed(std::string_view text) {
  Expected<Json> json = parseJson(text, "t");
  EXPECT_FALSE(json.failed()) << json.error().str();
  return json ? *json : Json();
}

TEST(Json, RoundTrip) {
  const char *text = R"({"b":1,"a":[true,null,-3,1.5,"x\n\u00e9\\"],"c":{}})";
  Json json = parsed(text);
  EXPECT_EQ(json.str(), "{\"b\":1,\"a\":[true,null,-3,1.5,\"x\\n\xc3\xa9\\\\\"]"
                        ",\"c\":{}}");
  EXPECT_EQ(parsed(json.str(2)), json);
  EXPECT_EQ(parsed("9223372036854775807").asInt(), INT64_MAX);
  EXPECT_EQ(parsed("18446744073709551615").kind(), Json::Kind::UInt);
  EXPECT_EQ(parsed("18446744073709551615").str(), "18446744073709551615");
  EXPECT_EQ(Json(0.1).str(), "0.1");
  EXPECT_EQ(Json(2.0).str(), "2.0");
  EXPECT_EQ(Json(1e300).str(), "1e+300");
  EXPECT_EQ(Json("\xff").str(), "\"\xef\xbf\xbd\"");
}

TEST(Json, CopiesAreIndependent) {
  Json a = parsed("{\"x\":[1]}");
  Json b = a;
  b.set("y", 2);
  b.set("x", 3);
  EXPECT_EQ(a.str(), "{\"x\":[1]}");
  EXPECT_EQ(b.str(), "{\"x\":3,\"y\":2}");
}

TEST(Json, FindsInLargeObjects) {
  Json json = Json::object();
  for (int i = 0; i < 1000; ++i)
    json.set("k" + std::to_string(i), i);
  EXPECT_EQ(json.find("k999")->asInt(), 999);
  EXPECT_EQ(json.find("k1000"), nullptr);
}

TEST(Json, BadText) {
  expectError(parseJson("", "t"), "t:1:1: not JSON");
  expectError(parseJson("{\"a\":1,}", "t"), "not JSON");
  expectError(parseJson("{} x", "t"), "not JSON");
  expectError(parseJson("// c\n{}", "t"), "not JSON");
  expectError(parseJson("{\n \"a\": x\n}", "t"), "t:2:7: not JSON");
  expectError(parseJson("\"\xff\"", "t"), "not JSON");
  expectError(parseJson("1e999", "t"), "not JSON");
  expectError(parseJson("NaN", "t"), "not JSON");
  expectError(parseJson("{\"a\":{\"b\":1,\"b\":2}}", "t"),
              "the key \"b\" stands twice in a");
  expectError(parseJson(std::string(100000, '['), "t"),
              "nested deeper than 64");
  std::string deep = std::string(64, '[') + std::string(64, ']');
  EXPECT_OK(parseJson(deep, "t"));
  for (size_t size = 0; size < 40; ++size) // no prefix is JSON
    EXPECT_TRUE(parseJson(std::string_view(
                              "{\"abc\":[1,2,{\"d\":\"\\u1234\"}],\"e\":f}")
                              .substr(0, size),
                          "t")
                    .failed());
}

TEST(Json, ReaderNamesThePlace) {
  Json json = parsed(R"({"a":{"b":[1,"x",2.5,-1]},"n":null,"s":"t"})");
  JsonReader reader(json, "config.json");
  Expected<JsonReader> list = reader.get("a");
  ASSERT_TRUE(list);
  list = list->get("b");
  ASSERT_TRUE(list);
  EXPECT_EQ(list->at(1).place(), "config.json: a.b[1]");
  expectError(list->at(1).asInt(), "config.json: a.b[1]: is a string");
  expectError(list->at(2).asInt(), "config.json: a.b[2]: is 2.5; an integer");
  expectError(list->at(3).asInt(0), "is -1; an integer of at least 0");
  expectError(list->at(0).asInt(2, 4), "is 1; an integer from 2 to 4");
  expectError(reader.getInt("missing"), "config.json: missing: is missing");
  expectError(reader.getString("n"), "config.json: n: is null; a string");
  expectError(reader.expectKeys({"aa", "n", "s"}),
              "unknown key \"a\"; did you mean aa? legal: aa, n, s");
  EXPECT_EQ(*reader.getIntOr("n", 7), 7);
  EXPECT_EQ(*reader.getIntOr("absent", 8), 8);
  expectError(reader.getIntOr("s", 7), "config.json: s: is a string");
  Expected<JsonReader> word = reader.get("s");
  expectError(word->asOneOf({"u", "v"}), "is \"t\"");
}

TEST(Json, NearestMatch) {
  EXPECT_EQ(nearestMatch("capasity", {"select", "capacity", "min"}),
            "capacity");
  EXPECT_EQ(nearestMatch("abcdef", {"zzzzzz"}), "");
  EXPECT_EQ(nearestMatch("", {"a"}), "");
  EXPECT_EQ(nearestMatch("tpok", {"topk", "threshold"}), "topk");
}
