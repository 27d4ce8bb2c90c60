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

#include <cmath>

using namespace mlir;
using namespace nestc::nest;

/// The part of all rows that reaches `op`, at most.
static double shareOfRows(Operation *op) {
  double share = 1;
  while (auto on = op->getParentOfType<OnOp>()) {
    RowsType rows = on.getRows().getType();
    CapacityAttr capacity = rows.getCapacity();
    if (rows.getSets() > 1)
      share /= static_cast<double>(rows.getSets()); // disjoint
    else if (capacity && !capacity.isCount())
      share *= static_cast<double>(capacity.getNumerator()) /
               static_cast<double>(capacity.getDenominator());
    op = on;
  }
  return share;
}

/// Elements of a product's weight; the most, where a call binds its width.
static int64_t elementsOf(LinearOp linear, SymbolTable &symbols) {
  RankedTensorType type = linear.getW().getType();
  if (type.hasStaticShape())
    return type.getNumElements();
  auto get = linear.getW().getDefiningOp<GetOp>();
  auto weight = get ? symbols.lookup<WeightOp>(get.getWeight()) : WeightOp();
  return weight ? weight.getTensorType().getNumElements() : 0;
}

nestc::ModelCost nestc::computeCost(ModuleOp module) {
  SymbolTable symbols(module);
  ModelCost cost;
  func::FuncOp entry;
  int best = -1;
  for (auto function : module.getOps<func::FuncOp>()) {
    auto name = function->getAttrOfType<StringAttr>(kEntryAttr);
    if (!name)
      continue;
    int rank = name == "verify" ? 2 : name == "decode" ? 1 : 0;
    if (rank > best) {
      entry = function;
      best = rank;
    }
  }
  llvm::StringSet<> tables;
  if (entry) {
    double macs = 0; // exact for whole numbers, below 2^53
    entry.walk([&](LinearOp linear) {
      // Rows whose number is fixed belong to one input, an image.
      double rows = 1;
      for (int64_t size : linear.getX().getType().getShape().drop_back())
        rows *= ShapedType::isDynamic(size) ? 1 : static_cast<double>(size);
      macs += static_cast<double>(elementsOf(linear, symbols)) * rows *
              shareOfRows(linear);
    });
    cost.macsPerToken = std::llround(macs);
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
  // What is stored and never read.
  auto model = module->getAttrOfType<DictionaryAttr>(kModelAttr);
  if (auto unread =
          model ? model.getAs<DictionaryAttr>("unread") : DictionaryAttr())
    for (NamedAttribute entry : unread)
      if (auto parameters = dyn_cast<IntegerAttr>(entry.getValue())) {
        cost.totalParameters += parameters.getInt();
        cost.effectiveParameters += parameters.getInt();
      }
  return cost;
}
