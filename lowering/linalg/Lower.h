//===- Lower.h - pieces of the reference lowering ----------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_LINALG_LOWER_H
#define NESTC_LOWERING_LINALG_LOWER_H

#include "dialect/Nest.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"

namespace nestc::linalg_lowering {

/// Builds what is computed for one element.
using ScalarBuilder = mlir::ImplicitLocOpBuilder;

/// Builds structured operations at one place of a function.
class Emitter {
public:
  using Sizes = llvm::SmallVector<mlir::OpFoldResult>;
  /// Computes one element of the output from one element of each input and, as
  /// the last argument, the output's old element.
  using Body =
      llvm::function_ref<mlir::Value(ScalarBuilder &, mlir::ValueRange)>;

  /// Builds in front of `op`, with its location.
  Emitter(mlir::Operation *op, mlir::RewriterBase &rewriter)
      : b(op->getLoc(), rewriter) {
    b.setInsertionPoint(op);
  }

  /// The sizes of all dimensions: attributes where they are static.
  Sizes sizes(mlir::Value tensor);
  /// `size` as an index value.
  mlir::Value index(mlir::OpFoldResult size);
  mlir::Value index(int64_t size) { return index(b.getIndexAttr(size)); }
  mlir::Value f32(float value);

  /// A tensor without contents, and one filled with an f32.
  mlir::Value empty(llvm::ArrayRef<mlir::OpFoldResult> sizes,
                    mlir::Type element);
  mlir::Value filled(llvm::ArrayRef<mlir::OpFoldResult> sizes, float value);

  /// The map (d0, .., d[dims - 1]) -> results.
  mlir::AffineMap map(unsigned dims, llvm::ArrayRef<unsigned> results);

  /// linalg.generic with one map for each input and a last one for `init`.
  /// Dimensions that the output does not have are summed over.
  mlir::Value generic(mlir::ValueRange inputs, mlir::Value init,
                      llvm::ArrayRef<mlir::AffineMap> maps, Body body);
  /// The same where all operands are indexed alike.
  mlir::Value elementwise(mlir::ValueRange inputs, mlir::Type element,
                          Body body);

  /// The last dimension cut in consecutive pieces of these sizes (from outer to
  /// inner), and put together again.
  mlir::Value splitLast(mlir::Value tensor,
                        llvm::ArrayRef<mlir::OpFoldResult> pieces);
  mlir::Value joinLast(mlir::Value tensor, unsigned count);

  /// A box at `offset` in dimension `dim`, `size` wide; all of the others.
  mlir::Value slice(mlir::Value tensor, unsigned dim, mlir::OpFoldResult offset,
                    mlir::OpFoldResult size);
  mlir::Value insert(mlir::Value piece, mlir::Value into, unsigned dim,
                     mlir::OpFoldResult offset);

  /// Quotient of two sizes, the second a constant.
  mlir::OpFoldResult divide(mlir::OpFoldResult size, int64_t by);

  /// `tensor` with static sizes where `type` has them.
  mlir::Value conform(mlir::Value tensor, mlir::Type type);

  mlir::ImplicitLocOpBuilder b;
};

/// `value` in `type`, both floats: extended, rounded to nearest even, or as is.
mlir::Value convertFloat(ScalarBuilder &b, mlir::Value value, mlir::Type type);

/// The values that replace the results of an operation, or null after an error
/// at the operation. LowerRows.cpp and LowerAttention.cpp.
mlir::Value lower(nest::EmbedOp op, Emitter &e);
mlir::Value lower(nest::LinearOp op, Emitter &e);
mlir::Value lower(nest::NormOp op, Emitter &e);
mlir::Value lower(nest::ActOp op, Emitter &e);
mlir::Value lower(nest::GluOp op, Emitter &e);
mlir::Value lower(nest::RopeOp op, Emitter &e);
mlir::Value lower(nest::LastOp op, Emitter &e);
mlir::Value lower(nest::CacheAppendOp op, Emitter &e);
mlir::Value lower(nest::AttentionOp op, Emitter &e);

} // namespace nestc::linalg_lowering

#endif // NESTC_LOWERING_LINALG_LOWER_H
