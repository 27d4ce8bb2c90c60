//===- ConfigTest.cpp - typed access to config.json -------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/Config.h"

#include "gtest/gtest.h"

using namespace nestc;

namespace {

Config parse(const char *text) {
  auto config = Config::parse(text, "config.json");
  EXPECT_TRUE(config) << config.error().str();
  return std::move(*config);
}

template <typename T>
std::string errorOf(rt::Expected<T> value) {
  return value ? "" : value.error().str();
}

TEST(Config, Sizes) {
  Config config = parse(R"({"a": 7, "n": null, "s": "7", "r": 7.0, "z": 0,
                            "big": 2147483648, "huge": 1e30, "list": [1, 2]})");
  EXPECT_EQ(*config.size("a"), 7);
  EXPECT_EQ(*config.sizeOr("n", 3), 3);
  EXPECT_EQ(*config.sizeOr("absent", 3), 3);
  EXPECT_TRUE(config.isNull("n"));
  EXPECT_FALSE(config.isNull("absent"));
  const std::string legal = "; an integer from 1 to 2147483647";
  EXPECT_EQ(errorOf(config.size("z")), "config.json: z: is 0" + legal);
  EXPECT_EQ(errorOf(config.size("s")), "config.json: s: is a string" + legal);
  EXPECT_EQ(errorOf(config.size("r")), "config.json: r: is 7.0" + legal);
  EXPECT_EQ(errorOf(config.size("big")),
            "config.json: big: is 2147483648" + legal);
  EXPECT_NE(errorOf(config.size("huge")), "");
  EXPECT_EQ(errorOf(config.size("n")),
            "config.json: n: is null; an integer of at least 1");
  EXPECT_EQ(errorOf(config.size("absent")),
            "config.json: absent: is missing; this key is required");
}

TEST(Config, SizesPerLayer) {
  Config config = parse(R"({"a": 7, "list": [1, 2], "bad": [1, 0]})");
  EXPECT_EQ(*config.sizesPerLayer("a", 2), (std::vector<int64_t>{7, 7}));
  EXPECT_EQ(*config.sizesPerLayer("list", 2), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(errorOf(config.sizesPerLayer("list", 3)),
            "config.json: list: has 2 elements; one integer, or a list of one "
            "for each of the 3 layers");
  EXPECT_EQ(errorOf(config.sizesPerLayer("bad", 2)),
            "config.json: bad[1]: is 0; an integer from 1 to 2147483647");
}

TEST(Config, Activations) {
  Config config = parse(R"({"a": "gelu_new", "b": "swish", "c": "gelo",
                            "d": 1})");
  EXPECT_EQ(*config.activation("a", "silu"), nest::Activation::gelu_tanh);
  EXPECT_EQ(*config.activation("b", "relu"), nest::Activation::silu);
  EXPECT_EQ(*config.activation("absent", "relu2"), nest::Activation::relu2);
  std::string error = errorOf(config.activation("c", "silu"));
  EXPECT_EQ(error.rfind("config.json: c: the activation \"gelo\" is not "
                        "supported; did you mean gelu? legal: silu, ",
                        0),
            0u)
      << error;
  EXPECT_EQ(errorOf(config.activation("d", "silu")),
            "config.json: d: is an integer; a string");
}

TEST(Config, TokenIds) {
  Config config = parse(R"({"one": 3, "list": [1, 99], "none": null,
                            "bad": "</s>", "minus": -1})");
  using Ids = std::vector<int64_t>;
  Ids dropped;
  EXPECT_EQ(*config.tokenIds("one", 2, 10, dropped), Ids{3});
  EXPECT_EQ(*config.tokenIds("none", 2, 10, dropped), Ids{});
  EXPECT_EQ(*config.tokenIds("absent", 2, 10, dropped), Ids{2});
  EXPECT_EQ(*config.tokenIds("absent", 50279, 10, dropped), Ids{});
  EXPECT_EQ(dropped, Ids{});
  EXPECT_EQ(*config.tokenIds("list", 2, 10, dropped), Ids{1});
  EXPECT_EQ(dropped, Ids{99});
  EXPECT_EQ(*config.tokenIds("minus", 2, 10, dropped), Ids{});
  EXPECT_EQ(errorOf(config.tokenIds("bad", 2, 10, dropped)),
            "config.json: bad: is a string; an integer");
}

TEST(Config, NotAnObject) {
  EXPECT_EQ(errorOf(Config::parse("[]", "config.json")),
            "config.json: is a list; an object");
  EXPECT_NE(errorOf(Config::parse("{\"a\": 1,}", "config.json")), "");
  EXPECT_NE(errorOf(Config::parse("", "config.json")), "");
}

} // namespace
