//===- SharedWeights.h - weights of several submodels -----------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_PASSES_SHAREDWEIGHTS_H
#define NESTC_PASSES_SHAREDWEIGHTS_H

#include "dialect/Nest.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringRef.h"

namespace nestc {

/// What of a stored tensor stands in memory for a weight.
struct SharedBox {
  nest::WeightOp owner;             ///< the first weight that is in it
  llvm::SmallVector<int64_t> sizes; ///< its shape: the largest of the weights'
};

/// Weights of one stored tensor and element type whose boxes begin at one place
/// are prefixes of one box, the union of theirs: it is stored once. Every
/// weight of `module` with its box; a weight that shares with no other has its
/// own. Only weights that have the shape of their box share.
llvm::DenseMap<mlir::Operation *, SharedBox> sharedBoxes(mlir::ModuleOp module);

/// Moves the entries of `from`, a specialised module of the same checkpoint,
/// into `into`: their names become "NAME:ENTRY", and weights of the same name
/// that are another box get a symbol of their own, "WEIGHT:NAME". What `from`
/// says of its model is left behind.
void mergeSubmodel(mlir::ModuleOp into, mlir::ModuleOp from,
                   llvm::StringRef name);

} // namespace nestc

#endif // NESTC_PASSES_SHAREDWEIGHTS_H
