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

/// A family of row sets in tensors. Its B sequences have up to T rows each, and
/// packed rows are numbered from 0 to B * T; what stands behind the last of
/// them is 0.
struct Rows {
  mlir::Value indices; ///< i32 [B * T]: the input row that a packed row is
  mlir::Value places;  ///< i32 [B * T]: its number in its sequence
  mlir::Value offsets; ///< i32 [sets + 1]: where a set starts
  mlir::Value order;   ///< i32 [B, T]: the rows of a sequence, as packed rows
  mlir::Value counts;  ///< i32 [B]: how many these are
  int64_t sets = 1;
  int64_t first = 0; ///< the number of its first set where it was picked from
};
using Families = llvm::DenseMap<mlir::Value, Rows>;

/// Builds structured operations at one place of a function.
class Emitter {
public:
  using Sizes = llvm::SmallVector<mlir::OpFoldResult>;
  /// Computes one element of the output from one element of each input and, as
  /// the last argument, the output's old element.
  using Body =
      llvm::function_ref<mlir::Value(ScalarBuilder &, mlir::ValueRange)>;

  /// Builds the state of the next step.
  using Step = llvm::function_ref<llvm::SmallVector<mlir::Value>(
      mlir::Value, mlir::ValueRange)>;

  /// Builds in front of `op`, with its location. `families` are those that were
  /// lowered before.
  Emitter(mlir::Operation *op, mlir::RewriterBase &rewriter,
          const Families *families = nullptr)
      : b(op->getLoc(), rewriter), families(families) {
    b.setInsertionPoint(op);
  }

  /// The tensors of a family.
  const Rows &rows(mlir::Value family) const {
    return families->find(family)->second;
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
  mlir::Value zeros(llvm::ArrayRef<mlir::OpFoldResult> sizes,
                    mlir::Type element);

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

  /// The first two dimensions as one, and as those of `like` again.
  mlir::Value joinRows(mlir::Value tensor);
  mlir::Value splitRows(mlir::Value tensor, mlir::Value like);

  /// A box at `offset` in dimension `dim`, `size` wide; all of the others.
  mlir::Value slice(mlir::Value tensor, unsigned dim, mlir::OpFoldResult offset,
                    mlir::OpFoldResult size);
  mlir::Value insert(mlir::Value piece, mlir::Value into, unsigned dim,
                     mlir::OpFoldResult offset);

  /// Quotient of two sizes, the second a constant.
  mlir::OpFoldResult divide(mlir::OpFoldResult size, int64_t by);

  /// `tensor` with static sizes where `type` has them.
  mlir::Value conform(mlir::Value tensor, mlir::Type type);

  /// Runs `body` for `from` to `to`, and `body` or nothing. Inside, `b` builds
  /// at the end of the body.
  llvm::SmallVector<mlir::Value> loop(mlir::Value from, mlir::Value to,
                                      mlir::ValueRange state, Step body);
  llvm::SmallVector<mlir::Value>
  when(mlir::Value condition, mlir::ValueRange state,
       llvm::function_ref<llvm::SmallVector<mlir::Value>()> body);

  mlir::ImplicitLocOpBuilder b;

private:
  const Families *families;
};

/// `value` in `type`, both floats: extended, rounded to nearest even, or as is.
mlir::Value convertFloat(ScalarBuilder &b, mlir::Value value, mlir::Type type);

/// Softmax over the last dimension: e^(x - max), over their sum.
mlir::Value softmaxLast(Emitter &e, mlir::Value x);

/// Packed rows one sequence after the other, [B, T, ..], and back. What is no
/// row becomes 0. LowerSets.cpp.
mlir::Value unpack(Emitter &e, mlir::Value x, const Rows &rows);
mlir::Value pack(Emitter &e, mlir::Value x, const Rows &rows);

/// An i32 of a tensor, as an index.
mlir::Value entry(mlir::ImplicitLocOpBuilder &b, mlir::Value tensor,
                  mlir::ValueRange at);

/// The tensors of a family.
Rows lowerRows(nest::SelectOp op, Emitter &e);
Rows lowerRows(nest::PartitionOp op, Emitter &e);
Rows lowerRows(nest::AssignOp op, Emitter &e);
Rows lowerRows(nest::PickOp op, Emitter &e);

/// The values that replace the results of an operation, or null after an error
/// at the operation. LowerRows.cpp, LowerAttention.cpp and LowerSets.cpp.
mlir::Value lower(nest::EmbedOp op, Emitter &e);
mlir::Value lower(nest::LinearOp op, Emitter &e);
mlir::Value lower(nest::NormOp op, Emitter &e);
mlir::Value lower(nest::TimesOp op, Emitter &e);
mlir::Value lower(nest::GainOp op, Emitter &e);
mlir::Value lower(nest::RescaleOp op, Emitter &e);
mlir::Value lower(nest::CutoffOp op, Emitter &e);
mlir::Value lower(nest::ActOp op, Emitter &e);
mlir::Value lower(nest::GluOp op, Emitter &e);
mlir::Value lower(nest::RopeOp op, Emitter &e);
mlir::Value lower(nest::LastOp op, Emitter &e);
mlir::Value lower(nest::ArgmaxOp op, Emitter &e);
mlir::Value lower(nest::RemapOp op, Emitter &e);
mlir::Value lower(nest::CacheAppendOp op, Emitter &e);
mlir::Value lower(nest::AttentionOp op, Emitter &e);
mlir::Value lower(nest::GatherOp op, Emitter &e);
mlir::Value lower(nest::SpreadOp op, Emitter &e);
mlir::Value lower(nest::ScaleOp op, Emitter &e);
mlir::Value lower(nest::ChosenOp op, Emitter &e);
mlir::Value lower(nest::SoftmaxOp op, Emitter &e);
mlir::Value lower(nest::AdvanceOp op, Emitter &e);
mlir::Value lower(nest::RankOp op, Emitter &e);

} // namespace nestc::linalg_lowering

#endif // NESTC_LOWERING_LINALG_LOWER_H
