//===- DropAxes.cpp - the end of graph rewriting --------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

#include "mlir/IR/AttrTypeSubElements.h"

using namespace mlir;
using namespace nestc::nest;

namespace nestc {
#define GEN_PASS_DEF_NESTDROPAXES
#include "passes/Passes.h.inc"

namespace {

/// Moves the body of `layer` in front of it; its yield becomes its results.
void inlineLayer(LayerOp layer) {
  Block &body = layer.getBlock();
  Operation *yield = body.getTerminator();
  layer->getBlock()->getOperations().splice(layer->getIterator(),
                                            body.getOperations(), body.begin(),
                                            yield->getIterator());
  layer.replaceAllUsesWith(yield->getOperands());
  layer.erase();
}

struct NestDropAxes : impl::NestDropAxesBase<NestDropAxes> {
  using NestDropAxesBase::NestDropAxesBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<LayerOp> layers;
    module.walk([&](LayerOp layer) { layers.push_back(layer); });
    for (LayerOp layer : layers)
      inlineLayer(layer);

    AttrTypeReplacer replacer;
    replacer.addReplacement([](RankedTensorType type) -> std::optional<Type> {
      if (!getOn(type))
        return std::nullopt;
      return dropAxes(type);
    });
    replacer.recursivelyReplaceElementsIn(module, /*replaceAttrs=*/true,
                                          /*replaceLocs=*/false,
                                          /*replaceTypes=*/true);
    for (auto axis : llvm::make_early_inc_range(module.getOps<AxisOp>()))
      axis.erase();
  }
};

} // namespace
} // namespace nestc
