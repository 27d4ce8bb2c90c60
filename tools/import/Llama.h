//===- Llama.h - the plan of llama, for the families that extend it -*- C++
//-*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_IMPORT_LLAMA_H
#define NESTC_TOOLS_IMPORT_LLAMA_H

#include "tools/import/Family.h"
#include "tools/import/Rope.h"
#include "tools/import/Routes.h"

namespace nestc {

struct LlamaType; // a row of the table of model types

/// A config, read and checked as far as it can be without the tensors.
struct Llama {
  const LlamaType *type = nullptr;
  unsigned features = 0;
  int64_t numLayers = 0, vocab = 0, hidden = 0, heads = 0, kvHeads = 0,
          headDim = 0, maxLength = 0;
  std::vector<int64_t> ffn;     ///< one for each layer
  std::vector<int64_t> windows; ///< one for each layer; 0 is none
  double epsilon = 0;
  nest::Activation activation = nest::Activation::silu;
  RopeConfig rope;
  std::vector<int64_t> eos;
  /// What the names of a layer's tensors begin with; one for each layer.
  std::vector<std::string> prefixes;
  std::vector<std::optional<Route>> routes; ///< one for each layer
  std::vector<Router> routers;              ///< one for each layer
  /// Layers whose FFN is not Llama's, and what builds it then: of x, its norm h
  /// and the set that both are packed by.
  std::vector<bool> ownFfn;
  std::function<LayerParts::Fed(Graph &, int64_t layer, mlir::Value x,
                                mlir::Value h, mlir::Value rows)>
      feed;
  const char *table = "model.embed_tokens.weight";
  const char *head = "lm_head.weight";
};

/// Reads config.json.
rt::Expected<Llama> readLlama(const ImportInput &input);
/// Everything from the axes to the entries, for the family `family`. `declare`
/// declares what a layer has besides Llama's tensors.
rt::Status buildLlama(
    const ImportInput &input, const Llama &model, const char *family,
    mlir::ModuleOp module,
    llvm::function_ref<rt::Status(WeightTable &, SizeTable &, int64_t layer)>
        declare = {});

} // namespace nestc

#endif // NESTC_TOOLS_IMPORT_LLAMA_H
