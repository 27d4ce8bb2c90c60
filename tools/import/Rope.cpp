//===- Rope.cpp - rotary frequencies from a config --------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/Rope.h"

#include <algorithm>
#include <cmath>

using namespace nestc;
using namespace nestc::rt;

static constexpr double kPi = 3.14159265358979323846;

/// A positive number that must be there.
static Expected<double> required(const JsonReader &reader, const char *key) {
  NEST_RT_ASSIGN(JsonReader member, reader.get(key));
  NEST_RT_ASSIGN(double number, member.asNumber());
  if (!(number > 0))
    return member.error("is " + member.json().str(), "a number above 0");
  return number;
}

/// A number of at least 0 that may be absent, null or 0, all meaning
/// `otherwise`.
static Expected<double> positiveOr(const JsonReader &reader, const char *key,
                                   double otherwise) {
  NEST_RT_ASSIGN(double number, reader.getNumberOr(key, 0));
  if (number < 0) {
    NEST_RT_ASSIGN(JsonReader member, reader.get(key));
    return member.error("is " + member.json().str(), "a number above 0");
  }
  return number == 0 ? otherwise : number;
}

static Expected<RopeConfig::Type> readType(const JsonReader &reader) {
  using Type = RopeConfig::Type;
  const char *key = reader.hasValue("rope_type") ? "rope_type" : "type";
  if (!reader.hasValue(key))
    return Type::Default;
  NEST_RT_ASSIGN(JsonReader member, reader.get(key));
  NEST_RT_ASSIGN(std::string name, member.asString());
  const std::string legal = "default, linear, llama3 and yarn are supported";
  if (name == "default")
    return Type::Default;
  if (name == "linear")
    return Type::Linear;
  if (name == "llama3")
    return Type::Llama3;
  if (name == "yarn")
    return Type::Yarn;
  if (name == "dynamic" || name == "longrope" || name == "su")
    return member.error("\"" + name +
                            "\" is not supported: its frequencies depend on "
                            "the length of the sequence",
                        legal);
  return member.error("\"" + name + "\" is not supported", legal);
}

Expected<RopeConfig> nestc::readRope(const Config &config, int64_t maxLength) {
  JsonReader root = config.root();
  static const Json none = Json::object();
  // An empty or null rope_scaling gives way to rope_parameters.
  JsonReader reader(none, root.place() + ": rope_theta");
  for (const char *key : {"rope_parameters", "rope_scaling"}) {
    if (!root.hasValue(key))
      continue;
    NEST_RT_ASSIGN(JsonReader member, root.get(key));
    NEST_RT_TRY(member.expectObject());
    if (member.size() != 0)
      reader = member;
  }
  for (const Json::Member &member : reader.json().members())
    if (member.second.isObject())
      return reader.error("describes " + member.first +
                              " by itself; one rotary embedding for each "
                              "layer type is not supported",
                          "one description for all layers");
  NEST_RT_ASSIGN(double theta, config.positive("rope_theta", 10000.0));
  return readRope(config, reader, theta, maxLength);
}

Expected<RopeConfig> nestc::readRope(const Config &config,
                                     const JsonReader &reader, double theta,
                                     int64_t maxLength) {
  JsonReader root = config.root();
  RopeConfig rope;
  rope.place = reader.place();
  NEST_RT_ASSIGN(rope.type, readType(reader));
  rope.theta = theta;
  if (reader.hasValue("rope_theta")) {
    NEST_RT_ASSIGN(rope.theta, required(reader, "rope_theta"));
  }
  for (const JsonReader &from : {root, reader}) {
    if (!from.hasValue("partial_rotary_factor"))
      continue;
    NEST_RT_ASSIGN(rope.partial, required(from, "partial_rotary_factor"));
    NEST_RT_ASSIGN(JsonReader member, from.get("partial_rotary_factor"));
    rope.partialPlace = member.place();
    if (rope.partial > 1)
      return member.error("is above 1", "a number above 0 and at most 1");
  }

  using Type = RopeConfig::Type;
  if (rope.type == Type::Default)
    return rope;

  if (rope.type != Type::Linear) {
    // The value beside the description wins.
    const char *key = "original_max_position_embeddings";
    if (config.has(key)) {
      NEST_RT_ASSIGN(rope.originalLength, required(root, key));
    } else if (reader.hasValue(key)) {
      NEST_RT_ASSIGN(rope.originalLength, required(reader, key));
    } else {
      rope.originalLength = static_cast<double>(maxLength);
    }
  }
  // In yarn a null factor is the ratio of the lengths.
  if (rope.type == Type::Yarn && reader.has("factor") &&
      !reader.hasValue("factor")) {
    rope.factor = static_cast<double>(maxLength) / rope.originalLength;
  } else {
    NEST_RT_ASSIGN(rope.factor, required(reader, "factor"));
  }

  if (rope.type == Type::Llama3) {
    NEST_RT_ASSIGN(rope.lowFreqFactor, required(reader, "low_freq_factor"));
    NEST_RT_ASSIGN(rope.highFreqFactor, required(reader, "high_freq_factor"));
    if (rope.highFreqFactor <= rope.lowFreqFactor)
      return reader.error("high_freq_factor is not above low_freq_factor",
                          "two numbers, the high one larger");
  }
  if (rope.type == Type::Yarn) {
    if (rope.theta <= 1)
      return reader.error("rope_theta is not above 1", "a number above 1");
    NEST_RT_ASSIGN(rope.betaFast, positiveOr(reader, "beta_fast", 32));
    NEST_RT_ASSIGN(rope.betaSlow, positiveOr(reader, "beta_slow", 1));
    NEST_RT_ASSIGN(rope.mscale, positiveOr(reader, "mscale", 0));
    NEST_RT_ASSIGN(rope.mscaleAllDim, positiveOr(reader, "mscale_all_dim", 0));
    NEST_RT_ASSIGN(rope.truncate, reader.getBoolOr("truncate", true));
    if (reader.hasValue("attention_factor")) {
      NEST_RT_ASSIGN(rope.attentionFactor,
                     required(reader, "attention_factor"));
    }
  }
  return rope;
}

/// Frequencies below a wavelength stay, those above another one are divided by
/// the factor, those between are blended.
static void scaleLlama3(const RopeConfig &rope,
                        std::vector<float> &frequencies) {
  float length = static_cast<float>(rope.originalLength);
  float factor = static_cast<float>(rope.factor);
  float low = static_cast<float>(rope.lowFreqFactor);
  float span = static_cast<float>(rope.highFreqFactor - rope.lowFreqFactor);
  float longest = static_cast<float>(rope.originalLength / rope.lowFreqFactor);
  float shortest =
      static_cast<float>(rope.originalLength / rope.highFreqFactor);
  for (float &frequency : frequencies) {
    float wavelength = static_cast<float>(2 * kPi) / frequency;
    if (wavelength < shortest)
      continue;
    if (wavelength > longest) {
      frequency = frequency / factor;
      continue;
    }
    float smooth = (length / wavelength - low) / span;
    frequency = (1 - smooth) * frequency / factor + smooth * frequency;
  }
}

/// Pairs that turn often in the original length stay, pairs that turn seldom
/// are divided by the factor, with a linear ramp between.
static void scaleYarn(const RopeConfig &rope, int64_t dim,
                      const std::vector<float> &powers,
                      std::vector<float> &frequencies) {
  auto pairOfTurns = [&](double turns) {
    return dim * std::log(rope.originalLength / (turns * 2 * kPi)) /
           (2 * std::log(rope.theta));
  };
  double low = pairOfTurns(rope.betaFast);
  double high = pairOfTurns(rope.betaSlow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dim - 1));
  if (low == high)
    high += 0.001;
  float factor = static_cast<float>(rope.factor);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    float ramp = (static_cast<float>(i) - static_cast<float>(low)) /
                 static_cast<float>(high - low);
    float keep = 1 - std::clamp(ramp, 0.0f, 1.0f);
    frequencies[i] =
        1.0f / (factor * powers[i]) * (1 - keep) + frequencies[i] * keep;
  }
}

static double yarnScale(double factor, double weight) {
  return factor <= 1 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

Expected<RopeTable> nestc::computeRope(const RopeConfig &rope,
                                       int64_t headDim) {
  using Type = RopeConfig::Type;
  int64_t dim = static_cast<int64_t>(headDim * rope.partial);
  if (headDim % 2 != 0 || dim < 2 || dim % 2 != 0)
    return Error(rope.place,
                 "the rotary embedding turns " + std::to_string(dim) +
                     " elements of a head of " + std::to_string(headDim),
                 "an even number of at least 2, in a head of even width");

  RopeTable table;
  std::vector<float> powers;
  float theta = static_cast<float>(rope.theta);
  for (int64_t i = 0; i < dim / 2; ++i) {
    float exponent = static_cast<float>(2 * i) / static_cast<float>(dim);
    powers.push_back(static_cast<float>(
        std::pow(static_cast<double>(theta), static_cast<double>(exponent))));
    table.frequencies.push_back(1.0f / powers.back());
  }
  switch (rope.type) {
  case Type::Default:
    break;
  case Type::Linear:
    for (float &frequency : table.frequencies)
      frequency /= static_cast<float>(rope.factor);
    break;
  case Type::Llama3:
    scaleLlama3(rope, table.frequencies);
    break;
  case Type::Yarn: {
    scaleYarn(rope, dim, powers, table.frequencies);
    double magnitude = yarnScale(rope.factor, 1);
    if (rope.mscale != 0 && rope.mscaleAllDim != 0)
      magnitude = yarnScale(rope.factor, rope.mscale) /
                  yarnScale(rope.factor, rope.mscaleAllDim);
    table.magnitude =
        static_cast<float>(rope.attentionFactor.value_or(magnitude));
    break;
  }
  }
  auto finite = [](float number) { return std::isfinite(number); };
  if (!std::all_of(table.frequencies.begin(), table.frequencies.end(),
                   finite) ||
      !finite(table.magnitude))
    return Error(rope.place,
                 "these values give rotary frequencies that are no finite f32",
                 "factors and theta of a usual size");
  return table;
}
