//===- OpenWidths.h - widths that a call binds ------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_PASSES_OPENWIDTHS_H
#define NESTC_PASSES_OPENWIDTHS_H

#include "dialect/Nest.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"

namespace nestc {

/// Of streams whose columns a call binds, the argument that says how many there
/// are.
using OpenWidths = llvm::DenseMap<mlir::Value, mlir::BlockArgument>;

/// Gives everything in `function` whose width is an index argument the width of
/// the whole weight, and the argument the type tensor<1xi32>, so that kernels
/// have static types and read the width where it lies. Fails, with a
/// diagnostic, where a width is something else than such an argument.
mlir::FailureOr<OpenWidths> closeWidths(mlir::func::FuncOp function);

} // namespace nestc

#endif // NESTC_PASSES_OPENWIDTHS_H
