//===- FusedRows.h - a nest.fused as one kernel -----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_PASSES_FUSEDROWS_H
#define NESTC_PASSES_FUSEDROWS_H

#include "dialect/Kernel.h"
#include "dialect/Nest.h"

namespace nestc {

/// The kernel that computes the results of `op` and writes them to `outs`, one
/// for each. Every reduction of a row (the sums of a norm, the products of a
/// row with the few rows of a matrix) belongs to a round of sums: the first one
/// in which all that it is made of is known.
kernel::RowwiseOp buildFusedRows(mlir::OpBuilder &b, nest::FusedOp op,
                                 mlir::ValueRange outs);

} // namespace nestc

#endif // NESTC_PASSES_FUSEDROWS_H
