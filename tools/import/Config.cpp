//===- Config.cpp - config.json, typed --------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/Config.h"

#include "lowering/runtime/Files.h"

#include <cmath>

using namespace nestc;
using namespace nestc::rt;

static Expected<std::unique_ptr<Json>> checkObject(Expected<Json> json,
                                                   const std::string &path) {
  if (json.failed())
    return json.takeError();
  NEST_RT_TRY(JsonReader(*json, path).expectObject());
  return std::make_unique<Json>(std::move(*json));
}

Expected<Config> Config::read(const std::string &directory) {
  Config config;
  config.path = joinPath(directory, "config.json");
  NEST_RT_ASSIGN(config.json,
                 checkObject(readJsonFile(config.path), config.path));
  return config;
}

Expected<Config> Config::parse(std::string_view text,
                               const std::string &place) {
  Config config;
  config.path = place;
  NEST_RT_ASSIGN(config.json, checkObject(parseJson(text, place), place));
  return config;
}

Expected<Config> Config::part(std::string_view key) const {
  NEST_RT_ASSIGN(JsonReader value, root().get(key));
  NEST_RT_TRY(value.expectObject());
  Config config;
  config.path = value.place();
  config.json = std::make_unique<Json>(value.json());
  return config;
}

Error Config::error(std::string_view key, std::string message,
                    std::string legal) const {
  return Error(path + ": " + std::string(key), std::move(message),
               std::move(legal));
}

Expected<int64_t> Config::size(std::string_view key) const {
  if (isNull(key))
    return error(key, "is null", "an integer of at least 1");
  return root().getInt(key, 1, kMaxConfigSize);
}

Expected<int64_t> Config::sizeOr(std::string_view key,
                                 int64_t otherwise) const {
  return root().getIntOr(key, otherwise, 1, kMaxConfigSize);
}

Expected<std::vector<int64_t>> Config::sizesPerLayer(std::string_view key,
                                                     int64_t numLayers) const {
  NEST_RT_ASSIGN(JsonReader value, root().get(key));
  if (!value.json().isArray()) {
    NEST_RT_ASSIGN(int64_t one, size(key));
    return std::vector<int64_t>(numLayers, one);
  }
  if (static_cast<int64_t>(value.size()) != numLayers)
    return value.error("has " + std::to_string(value.size()) + " elements",
                       "one integer, or a list of one for each of the " +
                           std::to_string(numLayers) + " layers");
  return value.asIntList(1, kMaxConfigSize);
}

Expected<double> Config::positive(std::string_view key,
                                  double otherwise) const {
  NEST_RT_ASSIGN(double number, root().getNumberOr(key, otherwise));
  // What the graph holds is an f32: it must not round to 0 or infinity.
  auto rounded = static_cast<float>(number);
  if (!(rounded > 0) || !std::isfinite(rounded))
    return error(key, "is " + root().json().find(key)->str(),
                 "a number above 0 in the range of f32");
  return number;
}

Expected<nest::Activation> Config::activation(std::string_view key,
                                              const char *otherwise) const {
  using nest::Activation;
  // gelu_new, gelu_fast and gelu_python_tanh are other spellings of one
  // formula.
  static const std::pair<const char *, Activation> known[] = {
      {"silu", Activation::silu},
      {"swish", Activation::silu},
      {"gelu", Activation::gelu},
      {"gelu_python", Activation::gelu},
      {"gelu_pytorch_tanh", Activation::gelu_tanh},
      {"gelu_python_tanh", Activation::gelu_tanh},
      {"gelu_new", Activation::gelu_tanh},
      {"gelu_fast", Activation::gelu_tanh},
      {"relu", Activation::relu},
      {"relu2", Activation::relu2},
      {"tanh", Activation::tanh}};
  NEST_RT_ASSIGN(std::string name, root().getStringOr(key, otherwise));
  std::vector<std::string> names;
  for (const auto &[spelling, kind] : known) {
    if (name == spelling)
      return kind;
    names.push_back(spelling);
  }
  return error(key, "the activation \"" + name + "\" is not supported",
               legalNames(name, names));
}

Expected<std::vector<int64_t>>
Config::tokenIds(std::string_view key, std::optional<int64_t> otherwise,
                 int64_t vocabSize, std::vector<int64_t> &dropped) const {
  std::vector<int64_t> ids;
  const Json *value = root().json().find(key);
  if (!value) {
    // A default that the vocabulary lacks is nobody's mistake.
    if (otherwise && *otherwise < vocabSize)
      ids.push_back(*otherwise);
    return ids;
  }
  if (value->isNull())
    return ids;
  NEST_RT_ASSIGN(JsonReader reader, root().get(key));
  std::vector<int64_t> all;
  if (value->isArray()) {
    NEST_RT_ASSIGN(all, reader.asIntList());
  } else {
    NEST_RT_ASSIGN(int64_t one, reader.asInt());
    all.push_back(one);
  }
  for (int64_t id : all)
    (id >= 0 && id < vocabSize ? ids : dropped).push_back(id);
  return ids;
}
