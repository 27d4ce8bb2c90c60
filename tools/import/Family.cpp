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

/// Families that can be imported.
static const Family *const kFamilies[] = {&llamaFamily};

namespace {
/// A family of the format that nothing is built for yet. Naming it is better
/// than calling its tensors unexpected. It is found by model types, by parts of
/// its tensors' names, or by both together.
struct LaterFamily {
  const char *name;
  std::vector<StringRef> modelTypes, tensorMarks;
};
} // namespace

static const LaterFamily kLaterFamilies[] = {
    {"mod-gpt", {}, {".mod_router.", ".mod_predictor."}},
    {"mode", {"mode"}, {}},
    {"mod", {"llama", "mistral"}, {".router.", ".block."}},
    {"mot", {"mot"}, {}},
    {"olmo", {}, {"transformer.blocks."}},
    {"vit", {"vit"}, {}},
    {"gemma3n", {"gemma3n", "gemma3n_text"}, {}}};

/// The first tensor with one of the marks in its name.
static const TensorInfo *findMark(const Checkpoint &checkpoint,
                                  ArrayRef<StringRef> marks) {
  for (const TensorInfo *tensor : checkpoint.tensors())
    for (StringRef mark : marks)
      if (StringRef(tensor->name).contains(mark))
        return tensor;
  return nullptr;
}

static std::vector<std::string> allModelTypes() {
  std::vector<std::string> types;
  for (const Family *family : kFamilies)
    llvm::append_range(types, family->modelTypes);
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

static Error notYet(const std::string &place, const std::string &family) {
  std::vector<std::string> names;
  for (const Family *known : kFamilies)
    names.push_back(known->name);
  return Error(place, "the family " + family + " is not supported yet",
               "supported: " + llvm::join(names, ", "));
}

Expected<const Family *> nestc::findFamily(const ImportInput &input) {
  std::string stated = input.nest.family();
  const Family *statedFamily = nullptr;
  if (!stated.empty()) {
    std::vector<std::string> names;
    for (const Family *family : kFamilies) {
      names.push_back(family->name);
      if (stated == family->name)
        statedFamily = family;
    }
    for (const LaterFamily &family : kLaterFamilies) {
      if (stated == family.name)
        return notYet(input.nest.familyPlace(), stated);
      names.push_back(family.name);
    }
    if (!statedFamily)
      return Error(input.nest.familyPlace(),
                   "there is no family \"" + stated + "\"",
                   legalNames(stated, names));
  }

  NEST_RT_ASSIGN(std::string type, modelTypeOf(input.config));
  for (const LaterFamily &family : kLaterFamilies) {
    bool typeFits = llvm::is_contained(family.modelTypes, type);
    if (!family.modelTypes.empty() && !typeFits)
      continue;
    if (family.tensorMarks.empty())
      return notYet(input.config.error("model_type", "").place, family.name);
    if (const TensorInfo *tensor =
            findMark(input.checkpoint, family.tensorMarks))
      return notYet(input.checkpoint.placeOf(*tensor), family.name);
  }
  if (type.empty())
    return input.config.error("model_type", "is missing",
                              legalNames("", allModelTypes()));
  for (const Family *family : kFamilies)
    if (llvm::is_contained(family->modelTypes, type)) {
      if (statedFamily && statedFamily != family)
        return Error(input.nest.familyPlace(),
                     "is " + stated + ", but config.json's model_type " + type +
                         " belongs to " + family->name,
                     std::string("legal is ") + family->name);
      return family;
    }
  return input.config.error("model_type", "\"" + type + "\" is not supported",
                            legalNames(type, allModelTypes()));
}

Status nestc::declareFfnAxes(const ImportInput &input,
                             const std::vector<int64_t> &sizes, ModuleOp module,
                             OpBuilder &builder) {
  NEST_RT_ASSIGN(auto levels, input.nest.ffnLevels(sizes));
  AxisTable table;
  table.numLayers = static_cast<int64_t>(sizes.size());
  for (int64_t layer = 0; layer < table.numLayers; ++layer) {
    std::string name = AxisTable::name(layer, "ffn");
    nest::AxisOp::create(builder, NameLoc::get(builder.getStringAttr(name)),
                         builder.getStringAttr(name),
                         builder.getI64IntegerAttr(sizes[layer]),
                         builder.getDenseI64ArrayAttr(levels[layer]));
    table.axes[name] = {sizes[layer], levels[layer]};
  }
  NEST_RT_TRY(input.nest.checkSubmodels(table));
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
  number("vocab_size", facts.vocabSize);
  number("hidden_size", facts.hiddenSize);
  number("max_length", facts.maxLength);
  model.append("eos_token_ids",
               builder.getDenseI64ArrayAttr(facts.eosTokenIds));
  model.append("dtype",
               builder.getStringAttr(typeName(weights.multiplyType())));
  // Without declared levels every width is a guess; nest-specialize warns.
  model.append("declared_axes", builder.getBoolAttr(input.nest.declaresAxes()));
  module->setAttr(nest::kModelAttr, model.getDictionary(module.getContext()));

  llvm::SmallString<256> path;
  if (llvm::sys::fs::real_path(input.directory, path))
    path = input.directory;
  module->setAttr(nest::kSourceAttr, builder.getStringAttr(path));
}
