//===- CostModel.cpp - what a submodel costs -------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/CostModel.h"

#include "dialect/Nest.h"

#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace nestc::nest;

nestc::ModelCost nestc::computeCost(ModuleOp module) {
  ModelCost cost;
  func::FuncOp entry;
  for (auto function : module.getOps<func::FuncOp>()) {
    auto name = function->getAttrOfType<StringAttr>(kEntryAttr);
    if (name && (!entry || name.getValue() == "decode"))
      entry = function;
  }
  llvm::StringSet<> tables;
  if (entry) {
    entry.walk([&](LinearOp linear) {
      cost.macsPerToken +=
          cast<RankedTensorType>(linear.getW().getType()).getNumElements();
    });
    entry.walk([&](EmbedOp embed) {
      if (auto get = embed.getTable().getDefiningOp<GetOp>())
        tables.insert(get.getWeight());
    });
  }
  for (auto weight : module.getOps<WeightOp>()) {
    RankedTensorType type = weight.getTensorType();
    int64_t elements = type.getNumElements();
    cost.totalParameters += elements;
    cost.weightBytes += elements * (type.getElementTypeBitWidth() / 8);
    if (!tables.contains(weight.getSymName()))
      cost.effectiveParameters += elements;
  }
  return cost;
}
