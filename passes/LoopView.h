//===- LoopView.h - what runs along a dimension ------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_PASSES_LOOPVIEW_H
#define NESTC_PASSES_LOOPVIEW_H

#include "mlir/IR/Operation.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/SmallVector.h"

#include <cstdint>
#include <optional>

namespace nestc {

/// An operation on tensors as loops over one scalar body: which dimensions run
/// along which loop. Nothing else in it looks at an index of a loop that is not
/// `fixed`, so that such a loop may run over a prefix.
struct LoopView {
  using Loops = llvm::SmallVector<int, 4>;
  /// The loop of each dimension of each operand and result; -1 for a dimension
  /// that is read whole. A scalar has none.
  llvm::SmallVector<Loops, 4> operands;
  llvm::SmallVector<Loops, 1> results;
  /// The size of each loop, or `ShapedType::kDynamic`.
  llvm::SmallVector<int64_t, 4> sizes;
  /// Loops that are summed over (or reduced otherwise).
  llvm::BitVector reduced;
  /// Loops that only run over all of their size, and of these the ones along a
  /// nested axis.
  llvm::BitVector fixed, nested;

  /// The view of linalg on tensors, elementwise operations, reshapes by unit
  /// dimensions, and row-wise operations of `nest`; none for anything else.
  static std::optional<LoopView> get(mlir::Operation *op);

  /// The dimension of `of` that runs along `loop`, or -1.
  static int dimOf(llvm::ArrayRef<int> of, int loop);
};

/// What a scalar of a result is known to be: a constant, or the scalar of an
/// operand (its number), or neither.
struct Outcome {
  mlir::Attribute constant;
  int operand = -1;
};

/// The scalars of the results of `op`, which has a view, where those of
/// `operands` are constants (null: unknown). Folds the scalar body, so that any
/// function written out is understood; 0 times anything is 0, and the sign of
/// a zero does not count. `column` is the index of the first loop, where it is
/// known.
llvm::SmallVector<Outcome>
evaluate(mlir::Operation *op, llvm::ArrayRef<mlir::Attribute> operands,
         std::optional<int64_t> column = std::nullopt);

/// Whether a step of the reductions of `op` changes nothing where operands are
/// these constants (null: unknown).
bool contributesNothing(mlir::Operation *op,
                        llvm::ArrayRef<mlir::Attribute> operands);

/// Whether a constant is the number 0 or 1 (false or true).
bool isZero(mlir::Attribute constant);
bool isOne(mlir::Attribute constant);

} // namespace nestc

#endif // NESTC_PASSES_LOOPVIEW_H
