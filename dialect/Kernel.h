//===- Kernel.h - the kernel dialect -----------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_DIALECT_KERNEL_H
#define NESTC_DIALECT_KERNEL_H

#include "dialect/Nest.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"

#include "dialect/KernelDialect.h.inc"
#define GET_OP_CLASSES
#include "dialect/KernelOps.h.inc"

namespace nestc::kernel {

/// A unit attribute of a memref.alloc of tickets: i32 that are zero before and
/// after every kernel. All of them are one region at the start of the arena.
inline constexpr llvm::StringLiteral kTicketsAttr = "kernel.tickets";

/// A #nest.capacity of a product: of T rows of a sequence, its sets have at
/// most so many. For choices of a generator, nothing else.
inline constexpr llvm::StringLiteral kCapacityAttr = "kernel.capacity";

/// Columns of a row whose squares a kernel.matmul sums to one number: what
/// every tile of a GPU has whole.
inline constexpr int64_t normSlice = 32;
inline int64_t numNormSlices(int64_t columns) {
  return (columns + normSlice - 1) / normSlice;
}

/// How many leading dimensions of `operand`, of a kernel, are batch and rows:
/// one definition serves all their sizes.
unsigned getNumRowDims(mlir::OpOperand &operand);

/// Registers the bufferisation models of the kernel operations.
void registerBufferizationModels(mlir::DialectRegistry &registry);

} // namespace nestc::kernel

#endif // NESTC_DIALECT_KERNEL_H
