//===- FuseRows.cpp - operations row by row become one kernel ---*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every operation has a depth: how many operations that are no code of a row
// lie on the longest way to it. Two operations of one depth have nothing
// between them that has to be a kernel of its own, so that those that are
// connected become one. What has a single reader moves to the depth of that;
// what only chooses numbers for a row (a router and the norm in front of it) is
// computed where they are read.
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/RowCode.h"

#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace nestc::nest;

namespace nestc {
#define GEN_PASS_DEF_NESTFUSEROWS
#include "passes/Passes.h.inc"

namespace {

/// Operations in one kernel; far above what models have.
constexpr size_t kMost = 128;

class Fusion {
public:
  explicit Fusion(func::FuncOp function)
      : function(function), block(function.getBody().front()) {}
  void run();

private:
  RankedTensorType streamOf(Operation *op) const;
  bool isNode(Operation *op) const { return depths.count(op); }
  void findChoosers();
  void findClaimed();
  void findDepths();
  void findClusters();
  static bool fits(const llvm::SetVector<Operation *> &body,
                   RankedTensorType type);
  void build(ArrayRef<Operation *> members);
  void collect(Operation *op, llvm::SetVector<Operation *> &body) const;

  func::FuncOp function;
  Block &block;
  /// What chooses numbers for a row, and what only that reads.
  DenseSet<Operation *> choosers;
  /// Elementwise code behind a product, which its kernel computes.
  DenseSet<Operation *> claimed;
  llvm::MapVector<Operation *, unsigned> depths; ///< of what may be fused
  SmallVector<SmallVector<Operation *>> clusters;
};

/// The product of a row with a few rows of a matrix.
bool isSmall(Operation *op) {
  auto linear = dyn_cast<LinearOp>(op);
  if (!linear || linear.getBias())
    return false;
  RankedTensorType type = linear.getW().getType();
  return type.hasStaticShape() && type.getElementType().isF32() &&
         type.getDimSize(0) <= FusedOp::mostRows &&
         !linear.getW().getDefiningOp<PerSetOp>();
}

/// The type of the streams that `op` computes row by row; null for anything
/// else.
RankedTensorType Fusion::streamOf(Operation *op) const {
  if (op->getNumResults() != 1 || op->getBlock() != &block)
    return {};
  for (Value operand : op->getOperands()) {
    auto tensor = dyn_cast<RankedTensorType>(operand.getType());
    if (!tensor || !tensor.getElementType().isF32() ||
        (operand.getDefiningOp<arith::ConstantOp>() && !getSplat(operand)))
      return {};
  }
  auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  auto norm = dyn_cast<NormOp>(op);
  if (!type || type.getRank() != 3 || !type.getElementType().isF32() ||
      type.isDynamicDim(2) || getOn(type) ||
      !(isRowCode(op) || isStatistic(op)) ||
      (norm && norm.getGroup() &&
       static_cast<int64_t>(*norm.getGroup()) != type.getDimSize(2)))
    return {};
  return type;
}

/// Small products whose results are read as numbers of a row only, what is
/// computed of these, and norms and the like that nothing else reads.
void Fusion::findChoosers() {
  auto readsNumbers = [&](OpOperand &use) {
    Operation *user = use.getOwner();
    auto scale = dyn_cast<ScaleOp>(user);
    if (scale && use.getOperandNumber() == 1)
      return static_cast<bool>(streamOf(user));
    return choosers.contains(user);
  };
  for (Operation &op : llvm::reverse(block)) {
    bool mayChoose = isSmall(&op) || isa<ActOp, TimesOp>(op) ||
                     (isStatistic(&op) && streamOf(&op));
    if (!mayChoose || op.use_empty())
      continue;
    if (llvm::all_of(op.getUses(), readsNumbers))
      choosers.insert(&op);
  }
}

void Fusion::findClaimed() {
  for (Operation &op : block) {
    if (!isRowCode(&op) || choosers.contains(&op))
      continue;
    for (Value operand : op.getOperands()) {
      Operation *definition = operand.getDefiningOp();
      if (definition && operand.hasOneUse() &&
          ((isa<LinearOp>(definition) && !choosers.contains(definition)) ||
           claimed.contains(definition)))
        claimed.insert(&op);
    }
  }
}

void Fusion::findDepths() {
  DenseMap<Operation *, unsigned> all;
  for (Operation &op : block) {
    unsigned depth = 0;
    for (Value operand : op.getOperands())
      if (Operation *definition = operand.getDefiningOp())
        depth = std::max(
            depth,
            all.lookup(definition) +
                (isNode(definition) || choosers.contains(definition) ? 0 : 1));
    all[&op] = depth;
    if (!choosers.contains(&op) && !claimed.contains(&op) && streamOf(&op) &&
        !isa<arith::ConstantOp>(op))
      depths[&op] = depth;
  }
  for (auto &[op, depth] : llvm::reverse(depths)) {
    Operation *user = op->hasOneUse() ? *op->user_begin() : nullptr;
    if (user && isNode(user) && streamOf(user) == streamOf(op))
      depth = std::max(depth, depths.lookup(user));
  }
}

void Fusion::findClusters() {
  llvm::EquivalenceClasses<Operation *> classes;
  // The first operation of a depth that touches a value.
  DenseMap<std::pair<Value, unsigned>, Operation *> touched;
  for (auto &[op, depth] : depths) {
    classes.insert(op);
    for (Value value :
         llvm::concat<Value>(SmallVector<Value>(op->getOperands()),
                             SmallVector<Value>(op->getResults()))) {
      if (value.getType() != op->getResult(0).getType())
        continue;
      auto [found, isNew] = touched.try_emplace({value, depth}, op);
      if (!isNew && streamOf(found->second) == streamOf(op))
        classes.unionSets(found->second, op);
    }
  }
  llvm::MapVector<Operation *, SmallVector<Operation *>> members;
  for (auto &[op, depth] : depths)
    members[classes.getLeaderValue(op)].push_back(op);
  for (auto &[leader, list] : members) {
    llvm::SetVector<Operation *> body;
    for (Operation *op : list)
      collect(op, body);
    if (!fits(body, streamOf(leader)))
      continue;
    // One statistic and the code around it are one kernel as it is.
    auto statistics = llvm::count_if(body, isStatistic);
    auto products = llvm::count_if(body, isSmall);
    if ((statistics > 1 || products > 0) && body.size() <= kMost)
      clusters.push_back(std::move(list));
  }
}

/// Whether all that a body works on are streams of `type`, and numbers of a row
/// that small products in it make.
bool Fusion::fits(const llvm::SetVector<Operation *> &body,
                  RankedTensorType type) {
  DenseSet<Value> numbers;
  for (Operation *op : body) {
    Value first = op->getOperand(0);
    bool ofNumbers = numbers.contains(first);
    if (!ofNumbers && first.getType() != type &&
        !first.getDefiningOp<arith::ConstantOp>())
      return false;
    if (isSmall(op) || (ofNumbers && isa<ActOp, TimesOp>(op)))
      numbers.insert(op->getResult(0));
    else if (ofNumbers)
      return false;
  }
  return true;
}

/// Adds `op` to the body of a kernel, and before it the choosers that it needs.
void Fusion::collect(Operation *op, llvm::SetVector<Operation *> &body) const {
  for (Value operand : op->getOperands())
    if (Operation *definition = operand.getDefiningOp();
        definition && choosers.contains(definition))
      collect(definition, body);
  body.insert(op);
}

void Fusion::build(ArrayRef<Operation *> members) {
  llvm::SetVector<Operation *> body, own(members.begin(), members.end());
  for (Operation *op : members)
    collect(op, body);
  llvm::SetVector<Value> inputs;
  SmallVector<Value> results;
  for (Operation *op : body)
    for (Value operand : op->getOperands())
      if (Operation *definition = operand.getDefiningOp();
          !(definition &&
            (body.contains(definition) || isa<arith::ConstantOp>(definition))))
        inputs.insert(operand);
  for (Operation *op : members)
    if (llvm::any_of(op->getUsers(),
                     [&](Operation *user) { return !own.contains(user); }))
      results.push_back(op->getResult(0));
  if (results.empty())
    return;
  OpBuilder b(members.back());
  auto fused =
      FusedOp::create(b, members.back()->getLoc(),
                      ValueRange(results).getTypes(), inputs.getArrayRef());
  SmallVector<Location> locations;
  for (Value input : inputs)
    locations.push_back(input.getLoc());
  Block *inner =
      b.createBlock(&fused.getBody(), {},
                    ValueRange(inputs.getArrayRef()).getTypes(), locations);
  IRMapping map;
  map.map(inputs.getArrayRef(), inner->getArguments());
  for (Operation *op : body) {
    for (Value operand : op->getOperands())
      if (auto constant = operand.getDefiningOp<arith::ConstantOp>();
          constant && !map.contains(operand))
        b.clone(*constant, map);
    b.clone(*op, map);
  }
  SmallVector<Value> yielded;
  for (Value result : results)
    yielded.push_back(map.lookup(result));
  YieldOp::create(b, fused.getLoc(), yielded);
  for (auto [old, result] : llvm::zip(results, fused.getResults()))
    old.replaceUsesWithIf(
        result, [&](OpOperand &use) { return !own.contains(use.getOwner()); });
}

void Fusion::run() {
  // Packed rows have kernels of their own.
  for (Operation &op : block)
    for (Type type : op.getResultTypes())
      if (isa<RowsType>(type))
        return;
  findChoosers();
  findClaimed();
  findDepths();
  findClusters();
  if (clusters.empty())
    return;
  for (ArrayRef<Operation *> members : clusters)
    build(members);
  SmallVector<Operation *> all;
  for (Operation &op : block.without_terminator())
    all.push_back(&op);
  for (Operation *op : llvm::reverse(all))
    if (!isa<GetOp>(op) && isOpTriviallyDead(op))
      op->erase();
  sortTopologically(&block);
}

struct NestFuseRows : impl::NestFuseRowsBase<NestFuseRows> {
  using NestFuseRowsBase::NestFuseRowsBase;

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal() && llvm::hasSingleElement(function.getBody()))
        Fusion(function).run();
  }
};

} // namespace
} // namespace nestc
