//===- ExpandRows.cpp - nest.on to packed streams ---------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A nest.on becomes gathers, its bodies on packed streams, and spreads. Bodies
// that differ in their weights only are one, whose weights are those of each
// row's set: towers and experts share every kernel. A set that is known to hold
// no row, or all of them, leaves no routing behind.
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Iterators.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nestc::nest;

namespace nestc {
#define GEN_PASS_DEF_NESTEXPANDROWS
#include "passes/Passes.h.inc"

namespace {

enum class Members { None, Some, All };

/// What is known of a family before the program runs.
Members membersOf(Value rows) {
  if (auto partition = rows.getDefiningOp<PartitionOp>())
    return cast<RowsType>(rows.getType()).getSets() == 1 ? Members::All
                                                         : Members::Some;
  auto select = rows.getDefiningOp<SelectOp>();
  CapacityAttr capacity = select ? select.getCapacityAttr() : CapacityAttr();
  if (!capacity)
    return Members::Some;
  if (capacity.isAll())
    return Members::All;
  if (capacity.isNone())
    return Members::None;
  int64_t count = select.getScores().getType().getDimSize(1);
  if (select.getWithin() || ShapedType::isDynamic(count))
    return Members::Some;
  int64_t selected = capacity.of(count);
  return selected == 0       ? Members::None
         : selected == count ? Members::All
                             : Members::Some;
}

/// Values that take the same part in every body of a run.
using Tuple = SmallVector<Value>;

/// Makes one body of several.
class Zipper {
public:
  Zipper(OpBuilder &b, Value rows, ArrayRef<Block *> bodies)
      : b(b), rows(rows), bodies(bodies) {}

  /// Whether the bodies from the first to `other` do the same with their own
  /// weights.
  static bool matches(Block &first, Block &other) {
    if (first.getOperations().size() != other.getOperations().size())
      return false;
    DenseMap<Value, Value> paired;
    for (auto [x, y] : llvm::zip(first.getArguments(), other.getArguments()))
      paired[x] = y;
    for (auto [x, y] : llvm::zip(first, other)) {
      if (x.getName() != y.getName() || x.getNumRegions() != 0 ||
          y.getNumRegions() != 0 || x.getNumOperands() != y.getNumOperands() ||
          x.getResultTypes() != y.getResultTypes())
        return false;
      if (!isa<GetOp>(x) && x.getAttrDictionary() != y.getAttrDictionary())
        return false;
      for (auto [p, q] : llvm::zip(x.getOpOperands(), y.getOpOperands())) {
        Value known = paired.lookup(p.get());
        bool same = known ? known == q.get() : p.get() == q.get();
        bool inside = known || q.get().getParentBlock() == &other;
        // What is captured may differ where a weight may.
        if (!same && (inside || p.get().getType() != q.get().getType() ||
                      !isWeightOf(p)))
          return false;
      }
      for (auto [p, q] : llvm::zip(x.getResults(), y.getResults()))
        paired[p] = q;
    }
    return true;
  }

  /// Clones the bodies at the insertion point; gives what they yield.
  SmallVector<Value> run(ValueRange arguments) {
    for (Block *body : bodies)
      maps.emplace_back().map(body->getArguments(), arguments);
    SmallVector<Operation *> positions;
    for (Block *body : bodies)
      positions.push_back(&body->front());
    for (Operation &op : bodies.front()->without_terminator()) {
      clone(op, positions);
      for (Operation *&position : positions)
        position = position->getNextNode();
    }
    SmallVector<Value> yielded;
    for (Value value : bodies.front()->getTerminator()->getOperands())
      yielded.push_back(maps.front().lookupOrDefault(value));
    return yielded;
  }

private:
  static bool isWeightOf(OpOperand &operand) {
    if (auto linear = dyn_cast<LinearOp>(operand.getOwner()))
      return operand.get() == linear.getW() ||
             operand.get() == linear.getBias();
    if (auto norm = dyn_cast<NormOp>(operand.getOwner()))
      return operand.get() == norm.getW() || operand.get() == norm.getBias();
    if (auto gain = dyn_cast<GainOp>(operand.getOwner()))
      return operand.get() == gain.getW();
    return false;
  }

  void clone(Operation &op, ArrayRef<Operation *> positions) {
    // Weights are fetched for every body, each once.
    if (auto get = dyn_cast<GetOp>(op)) {
      for (auto [index, position] : llvm::enumerate(positions)) {
        Value &fetched = gets[{position->getAttr("weight"), get.getType()}];
        if (!fetched)
          fetched = b.clone(*position, maps[index])->getResult(0);
        maps[index].map(position->getResult(0), fetched);
      }
      return;
    }
    Operation *merged = b.clone(op, maps.front());
    for (OpOperand &operand : op.getOpOperands()) {
      Tuple tuple;
      for (auto [index, position] : llvm::enumerate(positions))
        tuple.push_back(maps[index].lookupOrDefault(
            position->getOperand(operand.getOperandNumber())));
      if (!llvm::all_equal(tuple))
        merged->setOperand(operand.getOperandNumber(),
                           perSet(op.getLoc(), tuple, merged));
    }
    for (auto [index, position] : llvm::enumerate(positions))
      for (auto [from, to] :
           llvm::zip(position->getResults(), merged->getResults()))
        maps[index].map(from, to);
  }

  Value perSet(Location loc, const Tuple &tuple, Operation *user) {
    for (auto &[known, value] : tuples)
      if (known == tuple)
        return value;
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(user);
    Value value =
        PerSetOp::create(b, loc, tuple.front().getType(), rows, tuple);
    tuples.push_back({tuple, value});
    return value;
  }

  OpBuilder &b;
  Value rows;
  ArrayRef<Block *> bodies;
  SmallVector<IRMapping> maps;
  DenseMap<std::pair<Attribute, Type>, Value> gets;
  SmallVector<std::pair<Tuple, Value>> tuples;
};

/// Expands what stands in one function.
class Expander {
public:
  explicit Expander(func::FuncOp function)
      : function(function), b(function.getContext()) {}

  LogicalResult run() {
    hoistPartitions();
    // Outermost first: bodies bring further ones.
    while (true) {
      OnOp next;
      function.walk<WalkOrder::PreOrder>([&](OnOp on) {
        next = on;
        return WalkResult::interrupt();
      });
      if (!next)
        break;
      if (failed(expand(next)))
        return failure();
    }
    mergePicks();
    SmallVector<Value> families;
    function.walk([&](Operation *op) {
      if (isa<SelectOp, PartitionOp>(op))
        families.push_back(op->getResult(0));
    });
    for (Value rows : families)
      if (membersOf(rows) == Members::All)
        dropRows(rows);
    function.walk<WalkOrder::PostOrder, ReverseIterator>([](Operation *op) {
      if (isOpTriviallyDead(op))
        op->erase();
    });
    return success();
  }

private:
  /// What the input alone decides is decided once, where the input is known.
  void hoistPartitions() {
    DenseMap<std::pair<Value, Attribute>, PartitionOp> known;
    SmallVector<PartitionOp> partitions;
    function.walk([&](PartitionOp op) { partitions.push_back(op); });
    for (PartitionOp op : partitions) {
      PartitionOp &first = known[{op.getIds(), op.getSetsAttr()}];
      if (first) {
        op.replaceAllUsesWith(first.getResult());
        op.erase();
        continue;
      }
      first = op;
      if (Operation *definition = op.getIds().getDefiningOp())
        op->moveAfter(definition);
      else
        op->moveBefore(&function.getBody().front().front());
    }
  }

  /// The same sets of a family are one value, whoever picked them: what packs a
  /// stream is told by it. All stand in one block by now.
  void mergePicks() {
    DenseMap<std::tuple<Value, Attribute, Attribute>, PickOp> known;
    for (auto op : llvm::make_early_inc_range(
             function.getBody().front().getOps<PickOp>())) {
      PickOp &first =
          known[{op.getFamily(), op.getFirstAttr(), op.getCountAttr()}];
      if (first) {
        op.replaceAllUsesWith(first.getResult());
        op.erase();
      } else {
        first = op;
      }
    }
  }

  LogicalResult expand(OnOp on) {
    Value rows = on.getRows();
    b.setInsertionPoint(on);
    size_t returned = on.getNumResults() - on.getCarried().size();
    if (membersOf(rows) == Members::None) {
      SmallVector<Value> same(on.getBases());
      llvm::append_range(same, on.getCarried());
      on->replaceAllUsesWith(same);
      on.erase();
      return success();
    }
    SmallVector<Block *> bodies;
    for (Region &body : on.getBodies())
      bodies.push_back(&body.front());
    SmallVector<Value> results(on.getBases());
    for (size_t first = 0; first < bodies.size();) {
      size_t count = 1;
      while (on.getCarried().empty() && first + count < bodies.size() &&
             Zipper::matches(*bodies[first], *bodies[first + count]))
        ++count;
      Value part = pick(on.getLoc(), rows, first, count);
      SmallVector<Value> arguments;
      ArrayRef<Block *> run = ArrayRef(bodies).slice(first, count);
      for (unsigned i = 0; i < on.getGathered().size(); ++i) {
        Value stream = on.getGathered()[i];
        bool used = llvm::any_of(run, [&](Block *body) {
          return !body->getArgument(i).use_empty();
        });
        arguments.push_back(used ? gather(on.getLoc(), stream, part) : stream);
      }
      Zipper zipper(b, part, run);
      SmallVector<Value> yielded = zipper.run(arguments);
      bool whole = first == 0 && count == bodies.size();
      if (on.getBases().empty() && !whole)
        return on.emitOpError("assembles results of bodies that differ in more "
                              "than their weights; give it `into`");
      if (on.getBases().empty())
        results.resize(returned);
      for (size_t i = 0; i < returned; ++i)
        results[i] = SpreadOp::create(b, on.getLoc(), yielded[i].getType(),
                                      yielded[i], part, results[i]);
      results.append(yielded.begin() + returned, yielded.end());
      first += count;
    }
    on->replaceAllUsesWith(results);
    on.erase();
    return success();
  }

  Value pick(Location loc, Value rows, size_t first, size_t count) {
    auto type = cast<RowsType>(rows.getType());
    if (static_cast<int64_t>(count) == type.getSets())
      return rows;
    return PickOp::create(
        b, loc, RowsType::get(b.getContext(), count, false, CapacityAttr()),
        rows, first, count);
  }

  /// One gather for a stream and a family, whoever asks: a function is one
  /// block and is expanded from the top.
  Value gather(Location loc, Value stream, Value rows) {
    Value &known = gathers[{stream, rows}];
    if (!known)
      known = GatherOp::create(b, loc, stream.getType(), stream, rows);
    return known;
  }

  /// Every row is in the set: packed streams are the streams.
  void dropRows(Value rows) {
    for (Operation *user : llvm::make_early_inc_range(rows.getUsers())) {
      auto replaceBy = [&](Value value) {
        user->getResult(0).replaceAllUsesWith(value);
        user->erase();
      };
      llvm::TypeSwitch<Operation *>(user)
          .Case<GatherOp, SpreadOp>([&](auto op) { replaceBy(op.getX()); })
          .Case([&](PerSetOp op) { replaceBy(op.getValues().front()); })
          .Case([&](AttentionOp op) {
            op.getRowsMutable().clear();
            op.removeCompactAttr();
          })
          .Case([&](CacheAppendOp op) { op.getFamilyMutable().clear(); })
          .Case<LastOp, SoftmaxOp, AdvanceOp, RankOp>(
              [](auto op) { op.getRowsMutable().clear(); })
          .Case<SelectOp, AssignOp>(
              [](auto op) { op.getWithinMutable().clear(); });
    }
  }

  func::FuncOp function;
  OpBuilder b;
  DenseMap<std::pair<Value, Value>, Value> gathers;
};

struct NestExpandRows : impl::NestExpandRowsBase<NestExpandRows> {
  using NestExpandRowsBase::NestExpandRowsBase;

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isExternal())
        continue;
      // Gathers are shared down a block, and layers are inlined by then.
      WalkResult result = function.walk([&](OnOp on) {
        Operation *parent = on->getParentOp();
        while (isa<OnOp>(parent))
          parent = parent->getParentOp();
        if (parent == function && llvm::hasSingleElement(function.getBody()))
          return WalkResult::advance();
        on.emitOpError("stands in another operation or in control flow; run "
                       "nest-drop-axes first");
        return WalkResult::interrupt();
      });
      if (result.wasInterrupted() || failed(Expander(function).run()))
        return signalPassFailure();
    }
  }
};

} // namespace
} // namespace nestc
