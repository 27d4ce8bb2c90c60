//===- KeepGrouped.cpp - rows stay packed between layers ---*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What works row by row does not see their order, and attention takes positions
// as data: a stream that is packed by a family that covers may stay so. Every
// spread moves down through its users until something needs the order, which is
// the end of the function; gathers of what is packed already go, and the gather
// of an embedding is the embedding of gathered tokens.
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Iterators.h"

using namespace mlir;
using namespace nestc::nest;

namespace nestc {
#define GEN_PASS_DEF_NESTKEEPGROUPED
#include "passes/Passes.h.inc"

namespace {

class Grouper {
public:
  explicit Grouper(func::FuncOp function)
      : function(function), b(function.getContext()) {}

  void run() {
    for (Operation &op : llvm::make_early_inc_range(function.getBody().front()))
      visit(&op);
    function.walk<WalkOrder::PostOrder, ReverseIterator>([](Operation *op) {
      if (isOpTriviallyDead(op))
        op->erase();
    });
  }

private:
  struct Packed {
    Value value, rows;
  };

  void visit(Operation *op) {
    b.setInsertionPoint(op);
    if (auto spread = dyn_cast<SpreadOp>(op)) {
      if (!spread.getBase())
        packed[spread] = {spread.getX(), spread.getRows()};
      return;
    }
    if (auto gather = dyn_cast<GatherOp>(op)) {
      Value value =
          gatherOf(op->getLoc(), gather.getX(), gather.getRows(), gather);
      if (value != gather.getResult()) {
        gather.replaceAllUsesWith(value);
        gather.erase();
      }
      return;
    }
    Value rows;
    // Other families change from layer to layer.
    for (Value operand : op->getOperands())
      if (auto found = packed.find(operand);
          found != packed.end() &&
          found->second.rows.getDefiningOp<PartitionOp>())
        rows = found->second.rows;
    if (!rows)
      return;
    bool elementwise =
        isa<arith::ArithDialect, math::MathDialect>(op->getDialect()) &&
        OpTrait::hasElementwiseMappableTraits(op) && op->getNumResults() == 1;
    if (elementwise ||
        isa<ActOp, GluOp, ScaleOp, TimesOp, RescaleOp, CutoffOp>(op)) {
      repack(op, rows, op->getNumOperands());
    } else if (isa<LinearOp, NormOp, GainOp>(op)) {
      repack(op, rows, 1);
    } else if (isa<nest::RopeOp>(op)) {
      repack(op, rows, 2);
    } else if (auto append = dyn_cast<CacheAppendOp>(op)) {
      if (append.getFamily() || !isPacked(append.getRows(), rows))
        return;
      append.getRowsMutable().assign(packed[append.getRows()].value);
      append.getFamilyMutable().assign(rows);
    } else if (auto attention = dyn_cast<AttentionOp>(op)) {
      if (attention.getRows() || !isPacked(attention.getQ(), rows))
        return;
      attention.getQMutable().assign(packed[attention.getQ()].value);
      attention.getRowsMutable().assign(rows);
      spreadBehind(attention, rows);
    } else if (auto last = dyn_cast<LastOp>(op)) {
      if (last.getRows())
        return;
      last.getXMutable().assign(packed[last.getX()].value);
      last.getRowsMutable().assign(rows);
    }
  }

  bool isPacked(Value value, Value rows) const {
    auto found = packed.find(value);
    return found != packed.end() && found->second.rows == rows;
  }

  /// `value`, packed by `rows`: what it was spread from, or a gather, `known`
  /// where there is one.
  Value gatherOf(Location loc, Value value, Value rows, GatherOp known = {}) {
    if (isPacked(value, rows))
      return packed[value].value;
    Value &gathered = gathers[{value, rows}];
    if (gathered)
      return gathered;
    bool cover = cast<RowsType>(rows.getType()).getCover();
    if (auto embed = value.getDefiningOp<EmbedOp>(); embed && cover) {
      Value ids = gatherOf(loc, embed.getIds(), rows);
      gathered = EmbedOp::create(b, embed.getLoc(), embed.getType(), ids,
                                 embed.getTable(), embed.getScaleAttr(),
                                 embed.getUnknownAttr());
      packed[value] = {gathered, rows};
      return gathered;
    }
    gathered = known ? known.getResult()
                     : GatherOp::create(b, loc, value.getType(), value, rows)
                           .getResult();
    return gathered;
  }

  /// `op` on packed streams: its first `streams` operands, of which constants
  /// have no rows.
  void repack(Operation *op, Value rows, unsigned streams) {
    for (unsigned i = 0; i < streams; ++i) {
      Value operand = op->getOperand(i);
      if (!operand.getDefiningOp<arith::ConstantOp>())
        op->setOperand(i, gatherOf(op->getLoc(), operand, rows));
    }
    spreadBehind(op, rows);
  }

  /// `op` gives packed rows now; whoever wants them in order gets a spread.
  void spreadBehind(Operation *op, Value rows) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointAfter(op);
    Value result = op->getResult(0);
    auto spread = SpreadOp::create(b, op->getLoc(), result.getType(), result,
                                   rows, /*base=*/Value());
    result.replaceAllUsesExcept(spread, spread);
    packed[spread] = {result, rows};
  }

  func::FuncOp function;
  OpBuilder b;
  DenseMap<Value, Packed> packed;
  DenseMap<std::pair<Value, Value>, Value> gathers;
};

struct NestKeepGrouped : impl::NestKeepGroupedBase<NestKeepGrouped> {
  using NestKeepGroupedBase::NestKeepGroupedBase;

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal() && llvm::hasSingleElement(function.getBody()))
        Grouper(function).run();
  }
};

} // namespace
} // namespace nestc
