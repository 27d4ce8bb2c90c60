//===- RowCode.h - the scalar code of kernels -------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_PASSES_ROWCODE_H
#define NESTC_PASSES_ROWCODE_H

#include "dialect/Kernel.h"
#include "dialect/Nest.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseMap.h"

#include <optional>

namespace nestc {

/// An arith or math operation that means the same on scalars.
bool isElementwise(mlir::Operation *op);
/// Elementwise on streams: one of these, or an operation of the nest dialect.
bool isRowCode(mlir::Operation *op);
/// Whether `op` computes sums over columns, then elementwise code.
bool isStatistic(mlir::Operation *op);
/// The number that every element of a constant tensor has.
std::optional<mlir::FloatAttr> getSplat(mlir::Value value);
/// A block of f32 arguments at the end of a region.
mlir::Block *addScalarBlock(mlir::Region &region, unsigned count,
                            mlir::Location loc, mlir::OpBuilder &b);

/// Builds the f32 code of a kernel's region.
class Scalar {
public:
  Scalar(mlir::OpBuilder &b, mlir::Location loc) : b(b), loc(loc) {}

  mlir::Value constant(double value);
  mlir::Value constant(mlir::FloatAttr value);
  mlir::Value add(mlir::Value x, mlir::Value y);
  mlir::Value sub(mlir::Value x, mlir::Value y);
  mlir::Value mul(mlir::Value x, mlir::Value y);
  mlir::Value div(mlir::Value x, mlir::Value y);
  mlir::Value sqrt(mlir::Value x);
  mlir::Value rsqrt(mlir::Value x);
  mlir::Value maximum(mlir::Value x, mlir::Value y);
  mlir::Value activate(nest::Activation kind, mlir::Value x);
  void yield(mlir::ValueRange values);

  /// What `op`, elementwise, computes of the scalars of its operands; `weight`
  /// is that of a nest.scale.
  mlir::Value compute(mlir::Operation *op,
                      llvm::function_ref<mlir::Value(mlir::Value)> scalarOf,
                      mlir::Value weight);

private:
  mlir::OpBuilder &b;
  mlir::Location loc;
};

/// What a statistic of rows is made of: rounds of sums over `size` columns, and
/// the number that they and an element give.
class Statistic {
public:
  using Lookup = llvm::function_ref<mlir::Value(mlir::Value)>;

  Statistic(mlir::Operation *op, int64_t size, Scalar &s)
      : op(op), size(size), s(s) {}

  unsigned rounds() const { return isCentred() ? 2 : 1; }
  /// What is summed in a round, of the sums before.
  llvm::SmallVector<mlir::Value> round(unsigned index, Lookup scalarOf,
                                       mlir::ValueRange sums) const;
  /// The result, of all sums.
  mlir::Value finish(Lookup scalarOf, mlir::ValueRange sums) const;

private:
  bool isCentred() const;
  mlir::Value mean(mlir::Value sum) const {
    return s.div(sum, s.constant(static_cast<double>(size)));
  }

  mlir::Operation *op;
  int64_t size;
  Scalar &s;
};

} // namespace nestc

#endif // NESTC_PASSES_ROWCODE_H
