//===- CostModel.h - what a submodel costs --------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_PASSES_COSTMODEL_H
#define NESTC_PASSES_COSTMODEL_H

#include "mlir/IR/BuiltinOps.h"

#include <cstdint>

namespace nestc {

/// Sizes of a module: of the full model, or of a submodel after
/// nest-specialize.
struct ModelCost {
  /// With those that are stored and that nothing reads.
  int64_t totalParameters = 0;
  /// Without tables that are only looked up or tied to the head: what other
  /// tools call effective parameters.
  int64_t effectiveParameters = 0;
  /// Bytes of the weights in the types that they are multiplied in.
  int64_t weightBytes = 0;
  /// Multiply-adds of all matrix products for one row of the entry `verify`
  /// (else `decode`, else any); attention, which grows with the length, is not
  /// in it. What runs on a set of rows counts by its share of them: the
  /// capacity's part, 1/n for one of n sets, all where only scores decide.
  int64_t macsPerToken = 0;
};

/// Adds up the weights and products of `module`, a verified nest module whose
/// sizes are static but for batch and rows.
ModelCost computeCost(mlir::ModuleOp module);

} // namespace nestc

#endif // NESTC_PASSES_COSTMODEL_H
