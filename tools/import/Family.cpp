//===- Family.cpp - which family a checkpoint is of -------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/Family.h"

#include "dialect/Nest.h"
#include "lowering/runtime/Files.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::rt;

/// Families that can be imported; those with marks before those without.
static const Family *const kFamilies[] = {
    &motFamily,  &modeFamily, &modGptFamily,  &modFamily,
    &olmoFamily, &vitFamily,  &gemma3nFamily, &llamaFamily};

/// The first tensor with one of the marks in its name.
static const TensorInfo *findMark(const Checkpoint &checkpoint,
                                  ArrayRef<StringRef> marks) {
  for (const TensorInfo *tensor : checkpoint.tensors())
    for (StringRef mark : marks)
      if (StringRef(tensor->name).contains(mark))
        return tensor;
  return nullptr;
}

const Family *nestc::findFamily(StringRef name) {
  for (const Family *family : kFamilies)
    if (name == family->name)
      return family;
  return nullptr;
}

static std::vector<std::string> allModelTypes() {
  std::vector<std::string> types;
  for (const Family *family : llvm::reverse(kFamilies))
    for (const std::string &type : family->modelTypes)
      if (!llvm::is_contained(types, type))
        types.push_back(type);
  return types;
}

Expected<std::string> nestc::modelTypeOf(const Config &config) {
  if (config.has("model_type"))
    return config.root().getString("model_type");
  // Qwen3ForCausalLM is qwen3.
  if (config.has("architectures")) {
    NEST_RT_ASSIGN(JsonReader reader, config.root().get("architectures"));
    NEST_RT_ASSIGN(std::vector<std::string> names, reader.asStringList());
    for (StringRef name : names)
      if (name.consume_back("ForCausalLM"))
        return name.lower();
  }
  return std::string();
}

/// What nest.json says and the family does not have.
static Status checkNestJson(const ImportInput &input, const Family &family) {
  if (input.nest.hasRoutes() && !(family.reads & Family::Routes))
    return Error(input.nest.routesPlace(),
                 std::string("are there, but the family ") + family.name +
                     " has no routers",
                 "no such key");
  if (input.nest.modalities() && !(family.reads & Family::ModalityList))
    return Error(input.nest.modalitiesPlace(),
                 std::string("are there, but the family ") + family.name +
                     " has no towers",
                 "no such key");
  return Status::success();
}

Expected<const Family *> nestc::findFamily(const ImportInput &input) {
  std::string stated = input.nest.family();
  const Family *statedFamily = findFamily(stated);
  if (!stated.empty()) {
    std::vector<std::string> names;
    for (const Family *family : llvm::reverse(kFamilies))
      names.push_back(family->name);
    if (!statedFamily)
      return Error(input.nest.familyPlace(),
                   "there is no family \"" + stated + "\"",
                   legalNames(stated, names));
  }

  NEST_RT_ASSIGN(std::string type, modelTypeOf(input.config));
  auto fits = [&](const auto &family) {
    return (family.modelTypes.empty() ||
            llvm::is_contained(family.modelTypes, type)) &&
           (family.tensorMarks.empty() ||
            findMark(input.checkpoint, family.tensorMarks));
  };
  for (const Family *family : kFamilies)
    if (fits(*family)) {
      if (statedFamily && statedFamily != family)
        return Error(input.nest.familyPlace(),
                     "is " + stated + ", but config.json's model_type " + type +
                         (family->tensorMarks.empty()
                              ? " belongs to "
                              : " with its routers belongs to ") +
                         family->name,
                     std::string("legal is ") + family->name);
      NEST_RT_TRY(checkNestJson(input, *family));
      return family;
    }
  if (type.empty())
    return input.config.error("model_type", "is missing",
                              legalNames("", allModelTypes()));
  return input.config.error("model_type", "\"" + type + "\" is not supported",
                            legalNames(type, allModelTypes()));
}

Expected<std::vector<int64_t>>
nestc::readEndTokens(const ImportInput &input, const Config &config,
                     std::optional<int64_t> otherwise, int64_t vocabSize) {
  std::vector<int64_t> dropped;
  NEST_RT_ASSIGN(auto tokens, config.tokenIds("eos_token_id", otherwise,
                                              vocabSize, dropped));
  if (!dropped.empty())
    input.warn(
        config.error("eos_token_id",
                     std::to_string(dropped.front()) +
                         " is no token of the model, and is ignored",
                     "tokens are 0 to " + std::to_string(vocabSize - 1)));
  return tokens;
}

Status nestc::checkDepth(const ImportInput &input, const char *key,
                         int64_t numLayers) {
  auto stored = static_cast<int64_t>(input.checkpoint.size());
  if (numLayers <= stored)
    return Status::success();
  return input.config.error(key,
                            "is " + std::to_string(numLayers) +
                                ", but the checkpoint has only " +
                                std::to_string(stored) + " tensors",
                            "the number of layers that are stored");
}

Expected<std::vector<std::optional<Route>>>
nestc::matchRoutes(const ImportInput &input, int64_t numLayers,
                   llvm::function_ref<std::string(int64_t layer)> routerOf) {
  NEST_RT_ASSIGN(auto routes, input.nest.routes(numLayers));
  for (int64_t layer = 0; layer < numLayers; ++layer) {
    std::string name = routerOf(layer);
    const TensorInfo *router = input.checkpoint.find(name);
    if (router && !routes[layer])
      return Error(input.checkpoint.placeOf(*router),
                   "is a router without a route",
                   "nest.json says of every router what it does: routes."
                   "layers." +
                       std::to_string(layer));
    if (!router && routes[layer])
      return Error(routes[layer]->place,
                   "routes layer " + std::to_string(layer) +
                       ", which has no router",
                   "layers with a tensor like " + name);
  }
  return routes;
}

LayerAxes nestc::headAxes(int64_t numLayers, int64_t heads, int64_t kvHeads) {
  return {kHeadAxis, std::vector<int64_t>(numLayers, kvHeads), heads / kvHeads};
}

Status nestc::declareAxes(const ImportInput &input, ArrayRef<LayerAxes> kinds,
                          ModuleOp module, OpBuilder &builder) {
  NEST_RT_TRY(input.nest.checkAxes(kinds));
  for (const LayerAxes &axes : kinds) {
    NEST_RT_ASSIGN(auto levels, input.nest.levels(axes));
    for (const auto &[layer, size] : llvm::enumerate(axes.sizes)) {
      std::string name = AxisTable::name(layer, axes.kind);
      auto axis = nest::AxisOp::create(
          builder, NameLoc::get(builder.getStringAttr(name)),
          builder.getStringAttr(name), builder.getI64IntegerAttr(size),
          builder.getDenseI64ArrayAttr(levels[layer]));
      if (axes.group != 1)
        axis->setAttr(nest::kGroupAttr, builder.getI64IntegerAttr(axes.group));
    }
  }
  NamedAttrList named;
  for (const auto &[name, spec] : input.nest.submodels())
    named.append(name, builder.getStringAttr(spec));
  module->setAttr(nest::kSubmodelsAttr,
                  named.getDictionary(builder.getContext()));
  return Status::success();
}

void nestc::recordModel(const ImportInput &input, const ModelFacts &facts,
                        const WeightTable &weights, ModuleOp module) {
  Builder builder(module.getContext());
  NamedAttrList model;
  auto number = [&](const char *key, int64_t value) {
    model.append(key, builder.getI64IntegerAttr(value));
  };
  model.append("family", builder.getStringAttr(facts.family));
  model.append("model_type", builder.getStringAttr(facts.modelType));
  number("num_layers", facts.numLayers);
  // A model without tokens has neither vocabulary nor length.
  if (facts.vocabSize)
    number("vocab_size", facts.vocabSize);
  number("hidden_size", facts.hiddenSize);
  if (facts.maxLength)
    number("max_length", facts.maxLength);
  if (facts.headDim)
    number("head_dim", facts.headDim);
  model.append("eos_token_ids",
               builder.getDenseI64ArrayAttr(facts.eosTokenIds));
  model.append("dtype",
               builder.getStringAttr(typeName(weights.multiplyType())));
  // Without declared levels every width is a guess; nest-specialize warns.
  model.append("declared_axes", builder.getBoolAttr(input.nest.declaresAxes()));
  DictionaryAttr routes = describeRoutes(module.getContext(), facts.routes);
  if (!routes.empty())
    model.append("routes", routes);
  NamedAttrList unread;
  for (auto [layer, parameters] : llvm::enumerate(facts.unread))
    if (parameters)
      unread.append(std::to_string(layer),
                    builder.getI64IntegerAttr(parameters));
  if (!unread.empty())
    model.append("unread", unread.getDictionary(module.getContext()));
  if (!facts.leftOut.empty())
    model.append("left_out", builder.getStringAttr(facts.leftOut));
  if (const std::optional<Modalities> &list = input.nest.modalities()) {
    SmallVector<StringRef> names(list->names.begin(), list->names.end());
    model.append("modalities", builder.getStrArrayAttr(names));
    model.append("modality_sets", builder.getDenseI64ArrayAttr(list->towers));
  }
  module->setAttr(nest::kModelAttr, model.getDictionary(module.getContext()));

  llvm::SmallString<256> path;
  if (llvm::sys::fs::real_path(input.directory, path))
    path = input.directory;
  module->setAttr(nest::kSourceAttr, builder.getStringAttr(path));
}
