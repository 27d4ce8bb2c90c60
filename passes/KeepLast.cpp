//===- KeepLast.cpp - rows that only the last one of is asked for -*- C++ -*-=//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Backward: of which values does anybody ask for more than the last row of each
// sequence? Keys and values are asked for whole, whatever is asked of
// attention. What is asked for its last row only is computed for that.
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/RowCode.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace nestc::nest;

namespace nestc {
#define GEN_PASS_DEF_NESTKEEPLAST
#include "passes/Passes.h.inc"

namespace {

class LastRows {
public:
  explicit LastRows(func::FuncOp function)
      : function(function), block(function.getBody().front()),
        b(function.getContext()) {}
  void run();

private:
  bool isByRow(Operation *op) const;
  static bool readsByRow(OpOperand &use);
  bool asksForLast(OpOperand &use) const;
  Value lastOf(Value value);
  Value lastLengths(AttentionOp op);

  func::FuncOp function;
  Block &block;
  OpBuilder b;
  llvm::SetVector<Operation *> narrowed; ///< from the last to the first
  DenseMap<Value, Value> lasts;
  Value ids; ///< of the call
};

/// Whether `op` computes each row from rows of the same number.
bool LastRows::isByRow(Operation *op) const {
  if (op->getNumResults() != 1)
    return false;
  auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (!type || type.getRank() != 3 || type.getDimSize(1) == 1)
    return false;
  for (OpOperand &use : op->getOpOperands()) {
    auto rows = dyn_cast<RankedTensorType>(use.get().getType());
    if (use.get().getDefiningOp<arith::ConstantOp>() ||
        (readsByRow(use) && (!rows || rows.getRank() < 2 ||
                             rows.getDimSize(1) != type.getDimSize(1))))
      return false;
  }
  if (auto attention = dyn_cast<AttentionOp>(op))
    return ids && isa_and_nonnull<BlockArgument>(attention.getLengths()) &&
           attention.getLengths().getType().getRank() == 1 &&
           !attention.getRows() && !attention.getPositions();
  return isRowCode(op) || isStatistic(op) ||
         isa<LinearOp, EmbedOp, nest::RopeOp>(op);
}

/// Whether an operation that computes by rows reads this operand so.
bool LastRows::readsByRow(OpOperand &use) {
  Operation *op = use.getOwner();
  unsigned number = use.getOperandNumber();
  return number == 0 ||
         !isa<LinearOp, NormOp, GainOp, EmbedOp, AttentionOp>(op);
}

bool LastRows::asksForLast(OpOperand &use) const {
  auto last = dyn_cast<LastOp>(use.getOwner());
  return (last && !last.getRows()) ||
         (narrowed.contains(use.getOwner()) && readsByRow(use));
}

/// `value` for the last rows.
Value LastRows::lastOf(Value value) {
  Value &last = lasts[value];
  if (last)
    return last;
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointAfterValue(value);
  SmallVector<int64_t> shape(
      cast<RankedTensorType>(value.getType()).getShape());
  shape[1] = 1;
  last = LastOp::create(
      b, value.getLoc(),
      RankedTensorType::get(shape, getElementTypeOrSelf(value.getType())),
      value, /*rows=*/Value());
  return last;
}

/// How many rows the caches held before the last one.
Value LastRows::lastLengths(AttentionOp op) {
  if (Value last = lasts.lookup(op.getLengths()))
    return last;
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&block);
  Value ranks = RankOp::create(b, op.getLoc(), ids.getType(), op.getLengths(),
                               ids, /*rows=*/Value());
  Value last = lastOf(ranks); // adds to `lasts`
  lasts[op.getLengths()] = last;
  return last;
}

void LastRows::run() {
  bool asks = false;
  for (Operation &op : block) {
    for (Type type : op.getResultTypes())
      if (isa<RowsType>(type))
        return;
    asks |= isa<LastOp>(op);
  }
  if (!asks)
    return;
  for (BlockArgument argument : block.getArguments()) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (type && !ids && type.getRank() == 2 &&
        type.getElementType().isInteger(32) && type.isDynamicDim(1))
      ids = argument;
  }

  // Worth the while where whole layers are narrowed: the products in front of
  // attention too.
  bool worth = false;
  for (Operation &op : llvm::reverse(block)) {
    if (!isByRow(&op) || op.use_empty() ||
        !llvm::all_of(op.getUses(),
                      [&](OpOperand &use) { return asksForLast(use); }))
      continue;
    narrowed.insert(&op);
  }
  for (Operation *op : narrowed)
    if (auto attention = dyn_cast<AttentionOp>(op)) {
      Operation *q = attention.getQ().getDefiningOp();
      while (q && narrowed.contains(q) && !isa<LinearOp>(q))
        q = q->getOperand(0).getDefiningOp();
      auto product = dyn_cast_or_null<LinearOp>(q);
      Operation *x = product ? product.getX().getDefiningOp() : nullptr;
      worth |=
          product && x && narrowed.contains(product) && narrowed.contains(x);
    }
  if (!worth)
    return;

  for (Operation *op : llvm::reverse(narrowed)) {
    IRMapping map;
    for (OpOperand &use : op->getOpOperands())
      if (readsByRow(use))
        map.map(use.get(), lastOf(use.get()));
    if (auto attention = dyn_cast<AttentionOp>(op))
      map.map(attention.getLengths(), lastLengths(attention));
    b.setInsertionPoint(op);
    Operation *narrow = b.clone(*op, map);
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    SmallVector<int64_t> shape(type.getShape());
    shape[1] = 1;
    narrow->getResult(0).setType(
        RankedTensorType::get(shape, type.getElementType()));
    lasts[op->getResult(0)] = narrow->getResult(0);
  }
  for (auto last : llvm::make_early_inc_range(block.getOps<LastOp>()))
    if (Value narrow = lasts.lookup(last.getX());
        narrow && narrow != last.getResult() && !last.getRows()) {
      last.replaceAllUsesWith(narrow);
      last.erase();
    }
  for (Operation *op : narrowed)
    op->erase();
}

struct NestKeepLast : impl::NestKeepLastBase<NestKeepLast> {
  using NestKeepLastBase::NestKeepLastBase;

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal() && llvm::hasSingleElement(function.getBody()))
        LastRows(function).run();
  }
};

} // namespace
} // namespace nestc
