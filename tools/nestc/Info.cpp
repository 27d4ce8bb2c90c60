//===- Info.cpp - nestc info --------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/Nest.h"
#include "lowering/package/PackageWriter.h"
#include "lowering/runtime/Files.h"
#include "lowering/runtime/Json.h"
#include "passes/CostModel.h"
#include "passes/Submodel.h"
#include "tools/nestc/Commands.h"
#include "tools/nestc/Model.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <cstdio>

using namespace mlir;
using namespace nestc;

static const CommandSpec kSpec = {
    "info",
    "CKPT|model.mlir|PKG",
    "say what a checkpoint, module or package holds",
    {{"--submodel", "SPEC", "the sizes of this submodel"},
     {"--json", "", "as one JSON object"},
     {"--slices", "FILE.csv",
      "a slicing table; --submodel preset=NAME is its row NAME"}}};

/// A value on one line: scalars, lists as "1, 2", an object as "3 key [1, 2]".
static std::string inlineText(const rt::Json &json) {
  std::string text;
  for (const rt::Json &element : json.elements())
    text += (text.empty() ? "" : ", ") + inlineText(element);
  for (const auto &[key, value] : json.members())
    text +=
        (text.empty() ? "" : " ") +
        (value.isString() || value.isArray() ? "" : key + " ") +
        (value.isArray() ? "[" + inlineText(value) + "]" : inlineText(value));
  if (json.isArray() || json.isObject())
    return text;
  return json.isString() ? json.asString() : json.str();
}

/// Prints `json` as lines "key.key: value"; an element of a list is one line
/// unless it holds further objects.
static void printText(const rt::Json &json, const std::string &prefix,
                      bool element = false) {
  auto isComposite = [](const rt::Json &value) {
    return value.isObject() ||
           llvm::any_of(value.elements(),
                        [](const rt::Json &e) { return e.isObject(); });
  };
  bool split =
      json.isArray()
          ? isComposite(json)
          : json.isObject() &&
                (!element || llvm::any_of(json.members(), [&](const auto &m) {
                  return isComposite(m.second);
                }));
  if (!split)
    std::printf("%s: %s\n", prefix.c_str(), inlineText(json).c_str());
  for (size_t i = 0; split && i < json.elements().size(); ++i)
    printText(json.elements()[i], prefix + "[" + std::to_string(i) + "]", true);
  if (split)
    for (const auto &[key, value] : json.members())
      printText(value, prefix.empty() ? key : prefix + "." + key);
}

static int print(const rt::Json &json, bool asJson) {
  if (asJson)
    std::printf("%s\n", json.str(1).c_str());
  else
    printText(json, "");
  return ExitDone;
}

static rt::Json parametersJson(int64_t total, int64_t effective) {
  rt::Json parameters = rt::Json::object();
  parameters.set("total", total);
  parameters.set("effective", effective);
  return parameters;
}

/// The word behind `key` in the text of a route: its rule.
static StringRef ruleOf(StringRef text, StringRef key) {
  auto isWord = [](char c) { return llvm::isAlnum(c) || c == '_'; };
  StringRef previous;
  while (!(text = text.drop_until(isWord)).empty()) {
    StringRef word = text.take_while(isWord);
    if (previous == key)
      return word;
    previous = word;
    text = text.drop_front(word.size());
  }
  return "";
}

/// In words, where a prefill and a decode choose rows by different rules.
static std::string
mixedRoutes(const std::vector<std::pair<std::string, std::string>> &routes) {
  std::string layers;
  for (const auto &[layer, text] : routes) {
    StringRef decode = ruleOf(text, "decode");
    if (ruleOf(text, "select") == "topk" && !decode.empty() && decode != "topk")
      layers += (layers.empty() ? "" : ", ") + layer;
  }
  if (layers.empty())
    return layers;
  return "in layers " + layers +
         " a prefill ranks the rows of a call against each other and a decode "
         "judges each row alone, so that their logits differ; run --prefill "
         "decode makes a prefill equal decoding row by row";
}

static rt::Json modelJson(const rt::Manifest::Model &model) {
  rt::Json json = rt::Json::object();
  json.set("family", model.family);
  json.set("model_type", model.modelType);
  json.set("num_layers", model.numLayers);
  if (model.vocabSize)
    json.set("vocab_size", model.vocabSize);
  if (model.maxLength)
    json.set("max_length", model.maxLength);
  json.set("dtype", model.dtype);
  json.set("eos_token_ids", rt::Json::arrayOf(model.eosTokenIds));
  if (!model.modalities.empty()) {
    rt::Json modalities = rt::Json::object();
    modalities.set("names", rt::Json::arrayOf(model.modalities.names));
    modalities.set("accepted", rt::Json::arrayOf(model.modalities.accepted));
    json.set("modalities", modalities);
  }
  if (!model.routes.empty()) {
    rt::Json routes = rt::Json::object();
    for (const auto &[layer, text] : model.routes)
      routes.set(layer, text);
    json.set("routes", routes);
    if (std::string mixed = mixedRoutes(model.routes); !mixed.empty())
      json.set("routes_note", mixed);
  }
  return json;
}

static rt::Json bufferJson(const rt::Manifest::Buffer &buffer,
                           const rt::Manifest::Entry &entry) {
  rt::Json json = rt::Json::object();
  json.set("name", buffer.name);
  json.set("dtype", rt::name(buffer.dtype));
  rt::Json shape = rt::Json::array();
  for (const rt::ManifestDim &dim : buffer.shape)
    shape.push(dim.isDynamic() ? rt::Json(entry.dims[dim.symbol])
                               : rt::Json(dim.size));
  json.set("shape", shape);
  if (buffer.cache)
    json.set("cache", true);
  return json;
}

static int infoPackage(const std::string &path, const Arguments &arguments,
                       const Reporter &reporter) {
  std::string manifestPath = rt::joinPath(path, "manifest.json");
  rt::Expected<std::string> text = rt::readFile(manifestPath);
  if (!text)
    return reporter.fail(ExitInput, text.error());
  rt::Expected<rt::Manifest> read = rt::Manifest::parse(*text, manifestPath);
  if (!read)
    return reporter.fail(ExitInput, read.error());
  const rt::Manifest &manifest = *read;
  rt::Expected<size_t> found =
      manifest.findSubmodel(arguments.get("--submodel"), path);
  if (!found)
    return reporter.fail(ExitInput, found.error());
  size_t chosen = *found;
  rt::Json json = rt::Json::object();
  json.set("kind", "package");
  json.set("producer", manifest.producer);
  json.set("target", manifest.target);
  json.set("features", rt::Json::arrayOf(manifest.cpu.features));
  rt::Manifest::Model model = manifest.model;
  auto describe = [](rt::Json &json, const rt::Manifest::Submodel &submodel,
                     const auto &figures) {
    rt::Json names = rt::Json::object();
    names.set("name", submodel.name);
    names.set("spec", submodel.spec);
    if (!submodel.widths.empty()) {
      rt::Json widths = rt::Json::object();
      for (const rt::Manifest::Width &width : submodel.widths)
        widths.set(width.axis, std::to_string(width.low) + ".." +
                                   std::to_string(width.high));
      names.set("widths", widths);
    }
    json.set("submodel", names);
    json.set("parameters", parametersJson(figures.totalParameters,
                                          figures.effectiveParameters));
    json.set("weight_bytes", figures.weightBytes);
    json.set("macs_per_token", figures.macsPerToken);
  };
  if (chosen) {
    const rt::Manifest::FurtherSubmodel &other = manifest.further[chosen - 1];
    model.modalities = other.modalities;
    model.routes = other.routes;
    json.set("model", modelJson(model));
    describe(json, other.submodel, other);
  } else {
    json.set("model", modelJson(model));
    describe(json, manifest.submodel, manifest);
  }
  if (!manifest.further.empty()) {
    rt::Json submodels = rt::Json::object();
    submodels.set(manifest.submodel.name, manifest.submodel.spec);
    for (const rt::Manifest::FurtherSubmodel &other : manifest.further)
      submodels.set(other.submodel.name, other.submodel.spec);
    json.set("submodels", submodels);
  }
  rt::Json entries = rt::Json::array();
  for (const rt::Manifest::Entry &entry : manifest.entries) {
    if (manifest.submodelOf(entry.name) != chosen)
      continue;
    rt::Json item = rt::Json::object();
    item.set("name", entry.name);
    rt::Json inputs = rt::Json::array(), outputs = rt::Json::array();
    for (const rt::Manifest::Buffer &buffer : entry.inputs)
      inputs.push(bufferJson(buffer, entry));
    for (const rt::Manifest::Buffer &buffer : entry.outputs)
      outputs.push(bufferJson(buffer, entry));
    item.set("inputs", inputs);
    item.set("outputs", outputs);
    entries.push(item);
  }
  json.set("entries", entries);
  return print(json, arguments.has("--json"));
}

static int run(const Arguments &arguments, const Reporter &reporter) {
  if (int code = checkOnePositional(kSpec, arguments, reporter))
    return code;
  const std::string &path = arguments.positional[0];
  bool asJson = arguments.has("--json");
  if (isPackagePath(path))
    return infoPackage(path, arguments, reporter);

  Model model(reporter);
  if (int code = model.load(path))
    return code;
  if (int code = model.checkModel(/*complete=*/false))
    return code;
  AxisTable axes = AxisTable::get(model.module());
  if (int code = model.specialize(arguments.get("--submodel"),
                                  arguments.get("--slices")))
    return code;

  rt::Manifest manifest;
  describeModel(model.module(), manifest);
  ModelCost cost = computeCost(model.module());
  rt::Json json = rt::Json::object();
  json.set("kind", "model");
  json.set("model", modelJson(manifest.model));
  auto facts = model.module()->getAttrOfType<DictionaryAttr>(nest::kModelAttr);
  if (auto leftOut = facts ? facts.getAs<StringAttr>("left_out") : StringAttr())
    json.set("left_out", leftOut.str());
  rt::Json submodel = rt::Json::object();
  submodel.set("name", model.submodelName);
  submodel.set("spec", model.submodelText);
  json.set("submodel", submodel);
  json.set("parameters",
           parametersJson(cost.totalParameters, cost.effectiveParameters));
  json.set("weight_bytes", cost.weightBytes);
  json.set("macs_per_token", cost.macsPerToken);
  rt::Json list = rt::Json::array();
  for (int64_t layer = 0; layer < axes.numLayers; ++layer)
    for (StringRef kind : kAxisKinds) {
      std::string name = AxisTable::name(layer, kind);
      auto axis = axes.axes.find(name);
      if (axis == axes.axes.end())
        continue;
      // As --submodel counts: query heads, where an element is a KV head.
      int64_t size = axis->second.size, group = axis->second.group;
      std::vector<int64_t> counts;
      for (int64_t level : axis->second.levels)
        counts.push_back(level * group);
      rt::Json item = rt::Json::object();
      item.set("name", name);
      item.set("size", size * group);
      item.set("levels", rt::Json::arrayOf(counts));
      list.push(item);
    }
  json.set("axes", list);
  if (auto named =
          model.module()->getAttrOfType<DictionaryAttr>(nest::kSubmodelsAttr)) {
    rt::Json submodels = rt::Json::object();
    for (NamedAttribute entry : named)
      if (auto spec = dyn_cast<StringAttr>(entry.getValue()))
        submodels.set(entry.getName().str(), spec.str());
    json.set("submodels", submodels);
  }
  return print(json, asJson);
}

const Command nestc::infoCommand = {kSpec, run};
