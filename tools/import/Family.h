//===- Family.h - checkpoint families ---------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_IMPORT_FAMILY_H
#define NESTC_TOOLS_IMPORT_FAMILY_H

#include "tools/import/Config.h"
#include "tools/import/Import.h"
#include "tools/import/NestJson.h"
#include "tools/import/Weights.h"

#include "mlir/IR/Builders.h"

#include <string>
#include <vector>

namespace nestc {

/// What a family imports from.
struct ImportInput {
  std::string directory;
  Config config;
  NestJson nest;
  rt::Checkpoint checkpoint;
  ImportSink sink;

  void warn(const rt::Error &warning) const {
    sink(ImportSeverity::Warning, warning);
  }
};

/// What every family says about its model: `nest.model`.
struct ModelFacts {
  std::string family, modelType;
  int64_t numLayers = 0, vocabSize = 0, hiddenSize = 0, maxLength = 0;
  std::vector<int64_t> eosTokenIds;
  std::vector<std::optional<Route>> routes; ///< one for each layer, or none
  int64_t headDim = 0; ///< columns of a head, where heads are an axis
  /// Parameters that are stored and that nothing reads, one for each layer, or
  /// none; what else the checkpoint holds that is no part of the model.
  std::vector<int64_t> unread = {};
  std::string leftOut = {};
};

/// One family: a file beside this one, most of it a table. A checkpoint is of
/// it when its model type is one of these (if there are any) and a tensor's
/// name has one of the marks (if there are any).
struct Family {
  enum Reads : unsigned { Routes = 1, ModalityList = 2 };
  const char *name;
  std::vector<std::string> modelTypes;
  std::vector<llvm::StringRef> tensorMarks;
  unsigned reads; ///< of nest.json
  /// Fills `module`, which is empty.
  rt::Status (*build)(const ImportInput &input, mlir::ModuleOp module);
  /// Keys of config.json: how many layers there are, how wide their FFNs are.
  const char *depthKey = "num_hidden_layers";
  const char *widthKey = "intermediate_size";
  /// What the number of a layer follows in the names of its tensors.
  const char *layerPrefix = "model.layers.";
  /// How many heads there are, where they are an axis.
  const char *headsKey = "num_attention_heads";
  const char *kvHeadsKey = "num_key_value_heads";
  /// What may stand in front of that, and of other names.
  const char *basePrefix = "";
  /// What stands in the place of "model." where the checkpoint holds other
  /// models too; an export has this one alone.
  const char *outerPrefix = "";
  /// Of a config the part that an export has (null: all of it).
  rt::Json (*ownConfig)(const rt::Json &config) = nullptr;
  /// What an exported config says of the layers besides depth and widths, where
  /// `kept` of `numLayers` are left (null: nothing).
  void (*keepLayers)(rt::Json &config, llvm::ArrayRef<int64_t> kept,
                     int64_t numLayers) = nullptr;
};

extern const Family llamaFamily, modFamily, modGptFamily, modeFamily, motFamily,
    olmoFamily, vitFamily, gemma3nFamily;

/// The family of a checkpoint: what nest.json says, else what model_type,
/// architectures and tensor names say.
rt::Expected<const Family *> findFamily(const ImportInput &input);
/// The family of a name; null where there is none.
const Family *findFamily(llvm::StringRef name);
/// The config's model_type; where it has none, what `architectures` implies.
rt::Expected<std::string> modelTypeOf(const Config &config);

/// The token ids that end a text, without those that the vocabulary lacks.
rt::Expected<std::vector<int64_t>>
readEndTokens(const ImportInput &input, const Config &config,
              std::optional<int64_t> otherwise, int64_t vocabSize);
/// Refuses more layers than tensors, before anything is allocated for each.
rt::Status checkDepth(const ImportInput &input, const char *key,
                      int64_t numLayers);
/// The route of every layer, and an error for one without a router and for a
/// router without a route; `routerOf` gives the tensor that scores a layer.
rt::Expected<std::vector<std::optional<Route>>>
matchRoutes(const ImportInput &input, int64_t numLayers,
            llvm::function_ref<std::string(int64_t layer)> routerOf);

/// Declares the axes layers.N.KIND of every layer N, with the levels of
/// nest.json, and records the named submodels. An axis of nest.json that is of
/// none of these kinds is an error.
rt::Status declareAxes(const ImportInput &input,
                       llvm::ArrayRef<LayerAxes> kinds, mlir::ModuleOp module,
                       mlir::OpBuilder &builder);
/// The heads of an attention as an axis: an element is a KV head with its query
/// heads.
LayerAxes headAxes(int64_t numLayers, int64_t heads, int64_t kvHeads);
/// Records `nest.model` and `nest.source`.
void recordModel(const ImportInput &input, const ModelFacts &facts,
                 const WeightTable &weights, mlir::ModuleOp module);

} // namespace nestc

#endif // NESTC_TOOLS_IMPORT_FAMILY_H
