//===- FusedRows.cpp - a nest.fused as one kernel ---------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Values in the body are streams, of which the code of a region has an element,
// or numbers of a row ([B, T, n], n small), of which it has any one it wants.
// Everything elementwise is computed anew in each region that needs it: only
// sums go from one to the next.
//
//===----------------------------------------------------------------------===//

#include "passes/FusedRows.h"

#include "passes/RowCode.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nest;

namespace {

class FusedRows {
public:
  FusedRows(OpBuilder &b, FusedOp op)
      : b(b), op(op), s(b, op.getLoc()),
        columns(cast<RankedTensorType>(op.getResult(0).getType())
                    .getShape()
                    .back()) {}

  kernel::RowwiseOp build(ValueRange outs);

private:
  /// What a reduction sums: from which round on, how much in each.
  struct Sums {
    unsigned round;
    SmallVector<unsigned> counts;
    SmallVector<SmallVector<unsigned>> numbers; ///< of all sums, by round
  };
  using Input = std::pair<Value, AffineMap>;

  /// Whether a value is a stream, and not a few numbers a row.
  bool isStream(Value value) const { return !fewNumbers.contains(value); }
  /// The first region in which a value is known.
  unsigned stageOf(Value value) const { return stages.lookup(value); }
  void findSums();
  void findInputs();
  unsigned inputOf(Value argument, ArrayRef<AffineExpr> results);
  unsigned column(Value argument) {
    return inputOf(argument, getAffineDimExpr(1, b.getContext()));
  }

  // In a region.
  Value element(Value value);
  Value number(Value value, int64_t index);
  SmallVector<Value> sumsOf(Operation *reduction, unsigned rounds);
  void enter(Region &region, unsigned sums, unsigned old);

  OpBuilder &b;
  FusedOp op;
  Scalar s;
  int64_t columns;
  llvm::MapVector<Input, unsigned> inputs;
  DenseSet<Value> fewNumbers;
  DenseMap<Value, unsigned> stages;
  llvm::MapVector<Operation *, Sums> reductions;
  unsigned numRounds = 0;
  Block *block = nullptr; ///< of the region
  DenseMap<std::pair<Value, int64_t>, Value> known;
};

} // namespace

void FusedRows::findSums() {
  for (Operation &inner : op.getBlock().without_terminator()) {
    unsigned stage = 0;
    for (Value operand : inner.getOperands())
      stage = std::max(stage, stageOf(operand));
    auto linear = dyn_cast<LinearOp>(inner);
    if (linear ||
        (isa<ActOp, TimesOp>(inner) && !isStream(inner.getOperand(0))))
      fewNumbers.insert(inner.getResult(0));
    if (isStatistic(&inner)) {
      Sums sums{stage, {}, {}};
      unsigned rounds = Statistic(&inner, columns, s).rounds();
      sums.counts.assign(rounds, isa<RescaleOp>(inner) ? 2 : 1);
      stage += rounds;
      reductions[&inner] = std::move(sums);
    } else if (linear && isStream(linear.getX())) {
      auto count = static_cast<unsigned>(linear.getW().getType().getDimSize(0));
      reductions[&inner] = Sums{stage, {count}, {}};
      ++stage;
    }
    stages[inner.getResult(0)] = stage;
    numRounds = std::max(numRounds, stage);
  }
  unsigned next = 0;
  for (unsigned round = 0; round < numRounds; ++round)
    for (auto &[inner, sums] : reductions)
      if (round >= sums.round && round < sums.round + sums.counts.size()) {
        auto &numbers = sums.numbers.emplace_back();
        for (unsigned i = 0; i < sums.counts[round - sums.round]; ++i)
          numbers.push_back(next++);
      }
}

unsigned FusedRows::inputOf(Value argument, ArrayRef<AffineExpr> results) {
  auto map = AffineMap::get(3, 0, results, b.getContext());
  auto next = static_cast<unsigned>(inputs.size());
  return inputs.insert({{argument, map}, next}).first->second;
}

void FusedRows::findInputs() {
  MLIRContext *context = b.getContext();
  AffineExpr row = getAffineDimExpr(0, context);
  AffineExpr col = getAffineDimExpr(1, context);
  auto at = [&](int64_t index) {
    return getAffineConstantExpr(index, context);
  };
  auto stream = [&](Value value) {
    if (isa<BlockArgument>(value))
      inputOf(value, {row, col});
  };
  auto numbers = [&](Value value, int64_t first, int64_t count) {
    if (isa<BlockArgument>(value))
      for (int64_t index = first; index < first + count; ++index)
        inputOf(value, {row, at(index)});
  };
  for (Operation &inner : op.getBlock().without_terminator()) {
    if (auto linear = dyn_cast<LinearOp>(inner)) {
      ArrayRef<int64_t> shape = linear.getW().getType().getShape();
      bool sums = isStream(linear.getX());
      if (sums)
        stream(linear.getX());
      else
        numbers(linear.getX(), 0, shape[1]);
      for (int64_t i = 0; i < shape[0]; ++i)
        if (sums)
          inputOf(linear.getW(), {at(i), col});
        else
          for (int64_t j = 0; j < shape[1]; ++j)
            inputOf(linear.getW(), {at(i), at(j)});
      continue;
    }
    auto scale = dyn_cast<ScaleOp>(inner);
    for (OpOperand &use : inner.getOpOperands()) {
      Value operand = use.get();
      if (scale && use.getOperandNumber() == 1)
        numbers(operand, scale.getColumnAttr().getInt(), 1);
      else if (cast<RankedTensorType>(operand.getType()).getRank() == 1)
        column(operand);
      else
        stream(operand);
    }
  }
  for (Value yielded : op.getBlock().getTerminator()->getOperands())
    stream(yielded);
}

void FusedRows::enter(Region &region, unsigned sums, unsigned old) {
  block = addScalarBlock(region, inputs.size() + sums + old, op.getLoc(), b);
  known.clear();
}

/// The sums of a reduction that a region sees, of its first rounds.
SmallVector<Value> FusedRows::sumsOf(Operation *reduction, unsigned rounds) {
  SmallVector<Value> sums;
  for (ArrayRef<unsigned> numbers :
       ArrayRef(reductions.find(reduction)->second.numbers).take_front(rounds))
    for (unsigned sum : numbers)
      sums.push_back(block->getArgument(inputs.size() + sum));
  return sums;
}

/// The element of a stream, or of a vector, at the column of the region.
Value FusedRows::element(Value value) {
  Value &found = known[{value, -1}];
  if (found)
    return found;
  MLIRContext *context = b.getContext();
  Value result;
  Operation *inner = value.getDefiningOp();
  if (!inner) {
    bool isVector = cast<RankedTensorType>(value.getType()).getRank() == 1;
    AffineExpr row = getAffineDimExpr(0, context);
    AffineExpr col = getAffineDimExpr(1, context);
    result = block->getArgument(isVector ? column(value)
                                         : inputOf(value, {row, col}));
  } else if (isStatistic(inner)) {
    Statistic statistic(inner, columns, s);
    result = statistic.finish([&](Value v) { return element(v); },
                              sumsOf(inner, statistic.rounds()));
  } else {
    auto scale = dyn_cast<ScaleOp>(inner);
    Value weight;
    if (scale)
      weight =
          number(scale.getWeights(), static_cast<int64_t>(scale.getColumn()));
    result = s.compute(inner, [&](Value v) { return element(v); }, weight);
  }
  known[{value, -1}] = result;
  return result;
}

/// One of the numbers of a row.
Value FusedRows::number(Value value, int64_t index) {
  if (Value found = known.lookup({value, index}))
    return found;
  MLIRContext *context = b.getContext();
  auto at = [&](int64_t i) { return getAffineConstantExpr(i, context); };
  Value result;
  Operation *inner = value.getDefiningOp();
  if (!inner) {
    result = block->getArgument(
        inputOf(value, {getAffineDimExpr(0, context), at(index)}));
  } else if (auto linear = dyn_cast<LinearOp>(inner)) {
    if (isStream(linear.getX())) {
      result = sumsOf(inner, 1)[index];
    } else {
      int64_t depth = linear.getW().getType().getDimSize(1);
      for (int64_t k = 0; k < depth; ++k) {
        Value weight =
            block->getArgument(inputOf(linear.getW(), {at(index), at(k)}));
        Value product = s.mul(number(linear.getX(), k), weight);
        result = result ? s.add(result, product) : product;
      }
    }
  } else {
    result =
        s.compute(inner, [&](Value v) { return number(v, index); }, Value());
  }
  known[{value, index}] = result;
  return result;
}

kernel::RowwiseOp FusedRows::build(ValueRange outs) {
  findSums();
  findInputs();
  SmallVector<Value> operands;
  SmallVector<AffineMap> maps;
  for (const auto &[input, index] : inputs) {
    operands.push_back(
        op.getInputs()[cast<BlockArgument>(input.first).getArgNumber()]);
    maps.push_back(input.second);
  }
  auto rowwise = kernel::RowwiseOp::create(
      b, op.getLoc(), outs.getTypes(), operands, /*offsets=*/Value(),
      /*indices=*/Value(), outs.front(), outs.drop_front(),
      b.getAffineMapArrayAttr(maps), columns, /*sets=*/DenseI64ArrayAttr(),
      /*groups=*/1, /*gathers=*/false, /*scatters=*/false, numRounds + 1);
  OpBuilder::InsertionGuard guard(b);
  unsigned earlier = 0;
  for (unsigned round = 0; round < numRounds; ++round) {
    enter(rowwise.getBodies()[round], earlier, /*old=*/0);
    SmallVector<Value> summed;
    for (auto &[inner, sums] : reductions) {
      if (round < sums.round || round >= sums.round + sums.counts.size())
        continue;
      unsigned own = round - sums.round;
      if (auto linear = dyn_cast<LinearOp>(inner)) {
        for (unsigned i = 0; i < sums.counts[0]; ++i) {
          AffineExpr row = getAffineConstantExpr(i, b.getContext());
          AffineExpr col = getAffineDimExpr(1, b.getContext());
          summed.push_back(
              s.mul(element(linear.getX()),
                    block->getArgument(inputOf(linear.getW(), {row, col}))));
        }
        continue;
      }
      llvm::append_range(summed,
                         Statistic(inner, columns, s)
                             .round(
                                 own, [&](Value v) { return element(v); },
                                 sumsOf(inner, own)));
    }
    s.yield(summed);
    earlier += summed.size();
  }
  enter(rowwise.getBodies()[numRounds], earlier, /*old=*/1);
  SmallVector<Value> results;
  for (Value yielded : op.getBlock().getTerminator()->getOperands())
    results.push_back(element(yielded));
  s.yield(results);
  return rowwise;
}

kernel::RowwiseOp nestc::buildFusedRows(OpBuilder &b, FusedOp op,
                                        ValueRange outs) {
  return FusedRows(b, op).build(outs);
}
