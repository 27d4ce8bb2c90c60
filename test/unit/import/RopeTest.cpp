//===- RopeTest.cpp - frequencies as transformers has them ------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/Rope.h"

#include "gtest/gtest.h"

using namespace nestc;

namespace {

/// A config of one rotary embedding, and what LlamaRotaryEmbedding of
/// transformers 5.23 computes from it for heads of 32 elements.
struct RopeCase {
  const char *config;
  float magnitude;
  float frequencies[16];
};

const RopeCase kCases[] = {
    // default
    {R"({"rope_theta": 10000.0})",
     1.0f,
     {1.0f, 0.562341332f, 0.316227764f, 0.177827939f, 0.100000001f,
      0.0562341288f, 0.0316227786f, 0.0177827943f, 0.00999999978f,
      0.00562341325f, 0.00316227786f, 0.00177827943f, 0.00100000005f,
      0.000562341302f, 0.000316227786f, 0.00017782794f}},
    // default, both places of theta: the inner one wins
    {R"({"rope_theta": 10000.0,
         "rope_parameters": {"rope_type": "default", "rope_theta": 500000}})",
     1.0f,
     {1.0f, 0.440366626f, 0.193922758f, 0.0853971019f, 0.0376060307f,
      0.0165604409f, 0.00729266508f, 0.00321144611f, 0.00141421345f,
      0.000622772437f, 0.000274248188f, 0.000120769742f, 5.31829573e-05f,
      2.34199979e-05f, 1.03133852e-05f, 4.54167048e-06f}},
    // linear, as older files write it, beside an empty newer description
    {R"({"rope_theta": 10000.0, "rope_parameters": {},
         "rope_scaling": {"type": "linear", "factor": 4.0}})",
     1.0f,
     {0.25f, 0.140585333f, 0.079056941f, 0.0444569848f, 0.0250000004f,
      0.0140585322f, 0.00790569466f, 0.00444569858f, 0.00249999994f,
      0.00140585331f, 0.000790569466f, 0.000444569858f, 0.000250000012f,
      0.000140585325f, 7.90569466e-05f, 4.44569851e-05f}},
    {R"({"rope_theta": 500000.0,
         "rope_scaling": {"rope_type": "llama3", "factor": 8.0,
           "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 8192}})",
     1.0f,
     {1.0f, 0.440366626f, 0.193922758f, 0.0853971019f, 0.0376060307f,
      0.0165604409f, 0.00729266508f, 0.00321144611f, 0.000524846022f,
      7.78465546e-05f, 3.42810235e-05f, 1.50962178e-05f, 6.64786967e-06f,
      2.92749974e-06f, 1.28917316e-06f, 5.6770881e-07f}},
    {R"({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1000000.0,
           "factor": 4.0, "original_max_position_embeddings": 32768}})",
     1.138629436111989f,
     {1.0f, 0.421696514f, 0.177827939f, 0.0749894157f, 0.0316227786f,
      0.0133352149f, 0.00477990136f, 0.00165996165f, 0.000549999997f,
      0.000168678584f, 4.44569851e-05f, 1.87473561e-05f, 7.90569356e-06f,
      3.33380353e-06f, 1.40585337e-06f, 5.92843435e-07f}},
    // yarn with two scales for the magnitude; the original length is the
    // maximum of the config
    {R"({"rope_theta": 10000.0,
         "rope_scaling": {"type": "yarn", "factor": 40.0, "mscale": 0.707,
           "mscale_all_dim": 1.0, "beta_fast": 32, "beta_slow": 1}})",
     0.9210423553163399f,
     {1.0f, 0.562341332f, 0.316227764f, 0.177827939f, 0.100000001f,
      0.0562341288f, 0.0272181761f, 0.0128290169f, 0.00582142826f,
      0.00249036867f, 0.000959977158f, 0.000292145909f, 2.49999994e-05f,
      1.40585325e-05f, 7.90569447e-06f, 4.44569832e-06f}},
    // yarn without rounding of the ramp's ends
    {R"({"rope_theta": 10000.0,
         "rope_parameters": {"rope_type": "yarn", "factor": 2.5,
           "beta_fast": 4.0, "beta_slow": 0.5, "truncate": false,
           "original_max_position_embeddings": 24}})",
     1.0916290731874154f,
     {1.0f, 0.466820002f, 0.208796576f, 0.0872084498f, 0.0399999991f,
      0.022493653f, 0.0126491114f, 0.00711311772f, 0.00400000019f,
      0.00224936521f, 0.00126491114f, 0.000711311761f, 0.00039999999f,
      0.000224936521f, 0.000126491112f, 7.11311732e-05f}},
    // yarn whose factor is the ratio of 4096 to the original length
    {R"({"rope_theta": 10000.0,
         "rope_parameters": {"rope_type": "yarn", "factor": null,
           "attention_factor": 1.5,
           "original_max_position_embeddings": 1024}})",
     1.5f,
     {1.0f, 0.562341332f, 0.316227764f, 0.158774942f, 0.0785714313f,
      0.0381588712f, 0.0180701576f, 0.00825629756f, 0.00357142836f,
      0.00140585331f, 0.000790569466f, 0.000444569858f, 0.000250000012f,
      0.000140585325f, 7.90569466e-05f, 4.44569851e-05f}},
};

TEST(Rope, FrequenciesOfTransformers) {
  for (const RopeCase &test : kCases) {
    SCOPED_TRACE(test.config);
    auto config = Config::parse(test.config, "config.json");
    ASSERT_TRUE(config) << config.error().str();
    auto rope = readRope(*config, 4096);
    ASSERT_TRUE(rope) << rope.error().str();
    auto table = computeRope(*rope, 32);
    ASSERT_TRUE(table) << table.error().str();
    EXPECT_FLOAT_EQ(table->magnitude, test.magnitude);
    ASSERT_EQ(table->frequencies.size(), 16u);
    for (int i = 0; i < 16; ++i)
      EXPECT_FLOAT_EQ(table->frequencies[i], test.frequencies[i]) << i;
  }
}

TEST(Rope, PartOfAHead) {
  RopeConfig rope;
  rope.partial = 0.5;
  auto table = computeRope(rope, 32);
  ASSERT_TRUE(table);
  ASSERT_EQ(table->frequencies.size(), 8u);
  EXPECT_FLOAT_EQ(table->frequencies[4], 0.01f);
}

std::string errorOf(const char *text, int64_t headDim = 32) {
  auto config = Config::parse(text, "config.json");
  if (!config)
    return config.error().str();
  auto rope = readRope(*config, 4096);
  if (!rope)
    return rope.error().str();
  auto table = computeRope(*rope, headDim);
  return table ? "" : table.error().str();
}

TEST(Rope, Refused) {
  EXPECT_EQ(errorOf(R"({"rope_scaling": {"type": "dynamic", "factor": 2}})"),
            "config.json: rope_scaling.type: \"dynamic\" is not supported: its "
            "frequencies depend on the length of the sequence; default, "
            "linear, llama3 and yarn are supported");
  EXPECT_EQ(errorOf(R"({"rope_parameters": {"rope_type": "spiral"}})"),
            "config.json: rope_parameters.rope_type: \"spiral\" is not "
            "supported; default, linear, llama3 and yarn are supported");
  EXPECT_EQ(errorOf(R"({"rope_scaling": {"type": "linear"}})"),
            "config.json: rope_scaling.factor: is missing; this key is "
            "required");
  EXPECT_EQ(errorOf(R"({"rope_scaling": {"type": "linear", "factor": -2}})"),
            "config.json: rope_scaling.factor: is -2; a number above 0");
  EXPECT_EQ(errorOf(R"({"rope_scaling": "linear"})"),
            "config.json: rope_scaling: is a string; an object");
  EXPECT_EQ(
      errorOf(R"({"rope_theta": 0})"),
      "config.json: rope_theta: is 0; a number above 0 in the range of f32");
  EXPECT_EQ(errorOf(R"({"rope_theta": true})"),
            "config.json: rope_theta: is a boolean; a number");
  EXPECT_EQ(errorOf("{}", 7),
            "config.json: rope_theta: the rotary embedding turns 7 elements of "
            "a head of 7; an even number of at least 2, in a head of even "
            "width");
  EXPECT_EQ(
      errorOf(R"({"rope_scaling": {"type": "linear", "factor": 1e-300}})"),
      "config.json: rope_scaling: these values give rotary frequencies "
      "that are no finite f32; factors and theta of a usual size");
  EXPECT_EQ(errorOf(R"({"rope_scaling": {"rope_type": "llama3", "factor": 8,
                        "low_freq_factor": 4, "high_freq_factor": 4}})"),
            "config.json: rope_scaling: high_freq_factor is not above "
            "low_freq_factor; two numbers, the high one larger");
  EXPECT_EQ(errorOf(R"({"rope_parameters": {"full_attention": {}}})"),
            "config.json: rope_parameters: describes full_attention by itself; "
            "one rotary embedding for each layer type is not supported; one "
            "description for all layers");
}

} // namespace
