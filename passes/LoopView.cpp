//===- LoopView.cpp - what runs along a dimension ----------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/LoopView.h"

#include "dialect/Nest.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;

namespace nestc {
namespace {

//===----------------------------------------------------------------------===//
// Views
//===----------------------------------------------------------------------===//

ArrayRef<int64_t> shapeOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type ? type.getShape() : ArrayRef<int64_t>();
}

/// A dimension that a nested axis gives its width.
bool liesOnAxis(Value value, unsigned dim) {
  if (nest::getOn(value.getType()))
    return true;
  auto get = value.getDefiningOp<nest::GetOp>();
  if (!get)
    return false;
  auto weight = SymbolTable::lookupNearestSymbolFrom<nest::WeightOp>(
      get, get.getWeightAttr());
  return weight && !nest::getAxis(weight.getType(), dim).empty();
}

/// Sizes the loops by the dimensions that run along them.
void finish(Operation *op, LoopView &view, unsigned loops) {
  view.sizes.assign(loops, ShapedType::kDynamic);
  view.reduced.resize(loops);
  view.fixed.resize(loops);
  view.nested.resize(loops);
  auto add = [&](Value value, ArrayRef<int> of) {
    ArrayRef<int64_t> shape = shapeOf(value);
    for (auto [dim, loop] : llvm::enumerate(of)) {
      if (loop < 0)
        continue;
      if (!ShapedType::isDynamic(shape[dim]))
        view.sizes[loop] = shape[dim];
      if (liesOnAxis(value, dim))
        view.nested.set(loop);
      if (llvm::count(of, loop) > 1)
        view.fixed.set(loop);
    }
  };
  for (auto [value, of] : llvm::zip_equal(op->getOperands(), view.operands))
    add(value, of);
  for (auto [value, of] : llvm::zip_equal(op->getResults(), view.results))
    add(value, of);
  view.fixed |= view.nested;
  for (auto [loop, size] : llvm::enumerate(view.sizes))
    if (ShapedType::isDynamic(size))
      view.fixed.set(loop);
}

LoopView::Loops allLoops(Value value) {
  LoopView::Loops loops(shapeOf(value).size());
  std::iota(loops.begin(), loops.end(), 0);
  return loops;
}

std::optional<LoopView> viewLinalg(linalg::LinalgOp op) {
  if (!op.hasPureTensorSemantics() ||
      !llvm::all_of(*op.getBlock(),
                    [](Operation &op) { return isMemoryEffectFree(&op); }))
    return std::nullopt;
  LoopView view;
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  llvm::BitVector used(op.getNumLoops()), reduced(op.getNumLoops());
  for (auto [map, value] : llvm::zip_equal(maps, op->getOperands())) {
    LoopView::Loops &loops = view.operands.emplace_back();
    for (AffineExpr expr : map.getResults()) {
      auto dim = dyn_cast<AffineDimExpr>(expr);
      loops.push_back(dim ? static_cast<int>(dim.getPosition()) : -1);
      if (!dim)
        for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
          if (expr.isFunctionOfDim(loop))
            used.set(loop);
    }
    if (!isa<ShapedType>(value.getType()))
      loops.clear();
  }
  for (OpResult result : op->getResults())
    view.results.push_back(
        view.operands[op.getDpsInitOperand(result.getResultNumber())
                          ->getOperandNumber()]);
  for (auto [loop, kind] : llvm::enumerate(op.getIteratorTypesArray()))
    if (kind != utils::IteratorType::parallel)
      reduced.set(loop);
  finish(op, view, op.getNumLoops());
  view.reduced = reduced;
  view.fixed |= used;
  return view;
}

/// A reshape that only adds or takes away dimensions of size 1: `groups` are
/// the dimensions of `wide` that each dimension of the other one is.
void viewReshape(ArrayRef<ReassociationIndices> groups, Value wide,
                 LoopView::Loops &narrowLoops, LoopView::Loops &wideLoops) {
  ArrayRef<int64_t> shape = shapeOf(wide);
  narrowLoops.assign(groups.size(), -1);
  wideLoops.assign(shape.size(), -1);
  for (auto [loop, group] : llvm::enumerate(groups)) {
    SmallVector<int64_t> real;
    for (int64_t dim : group)
      if (shape[dim] != 1)
        real.push_back(dim);
    if (real.size() != 1)
      continue;
    narrowLoops[loop] = static_cast<int>(loop);
    wideLoops[real.front()] = static_cast<int>(loop);
  }
}

std::optional<LoopView> viewNest(Operation *op) {
  LoopView view;
  if (auto linear = dyn_cast<nest::LinearOp>(op)) {
    LoopView::Loops x = allLoops(linear.getX());
    int out = static_cast<int>(x.size()), in = x.back();
    view.results.push_back(x);
    view.results.back().back() = out;
    view.operands = {x, {out, in}};
    if (linear.getBias())
      view.operands.push_back({out});
    finish(op, view, out + 1);
    view.reduced.set(in);
    return view;
  }
  if (isa<nest::GainOp>(op)) {
    LoopView::Loops x = allLoops(op->getOperand(0));
    view.operands = {x, {x.back()}};
  }
  // A column of weights: no loop reads it.
  else if (isa<nest::ScaleOp>(op))
    view.operands = {{0, 1, 2}, {0, 1, -1}};
  else if (isa<nest::ActOp, nest::GluOp, nest::TimesOp, nest::PerSetOp>(op))
    for (Value operand : op->getOperands())
      view.operands.push_back(allLoops(operand));
  else
    return std::nullopt;
  view.results.push_back(allLoops(op->getResult(0)));
  finish(op, view, view.results.front().size());
  return view;
}

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

/// Folds a body of scalars in which some are known.
class ScalarFolder {
public:
  struct Known {
    Attribute constant;
    Value alias;
  };

  void set(Value value, Attribute constant) { known[value] = {constant, {}}; }

  Known get(Value value) const {
    auto found = known.find(value);
    if (found != known.end())
      return found->second;
    Attribute constant;
    if (matchPattern(value, m_Constant(&constant)))
      return {constant, {}};
    return {{}, value};
  }

  void visit(Operation *op) {
    if (op->getNumResults() != 1 || op->getNumRegions() != 0)
      return;
    Known result = decide(op);
    if (!result.constant && !result.alias)
      result = fold(op);
    if (result.constant || result.alias)
      known[op->getResult(0)] = result;
  }

private:
  /// Where one operand decides.
  Known decide(Operation *op) const {
    auto operand = [&](unsigned i) { return get(op->getOperand(i)); };
    auto zero = [&](unsigned i) { return isZero(operand(i).constant); };
    auto one = [&](unsigned i) { return isOne(operand(i).constant); };
    Attribute none =
        Builder(op->getContext()).getZeroAttr(op->getResult(0).getType());
    if (isa<arith::MulFOp, arith::MulIOp>(op))
      return zero(0) || zero(1) ? Known{none, {}}
             : one(0)           ? operand(1)
             : one(1)           ? operand(0)
                                : Known{};
    if (isa<arith::AndIOp>(op))
      return zero(0) || zero(1) ? Known{none, {}} : Known{};
    if (isa<arith::AddFOp, arith::AddIOp, arith::OrIOp>(op))
      return zero(0) ? operand(1) : zero(1) ? operand(0) : Known{};
    if (isa<arith::SubFOp, arith::SubIOp>(op))
      return zero(1) ? operand(0) : Known{};
    if (isa<math::FmaOp>(op))
      return zero(0) || zero(1) ? operand(2) : Known{};
    if (isa<arith::SelectOp>(op)) {
      Known condition = operand(0), yes = operand(1), no = operand(2);
      if (condition.constant)
        return isOne(condition.constant) ? yes : no;
      if (yes.constant && yes.constant == no.constant)
        return yes;
    }
    return {};
  }

  Known fold(Operation *op) const {
    SmallVector<Attribute> operands;
    bool all = true, any = false;
    for (Value operand : op->getOperands()) {
      operands.push_back(get(operand).constant);
      all &= static_cast<bool>(operands.back());
      any |= static_cast<bool>(operands.back());
    }
    if (!any)
      return {};
    Known result = foldWith(op, operands);
    // The folders of math know f32 and f64 alone.
    auto type = dyn_cast<FloatType>(op->getResult(0).getType());
    if (result.constant || result.alias || !all || !type ||
        !isa<math::MathDialect>(op->getDialect()))
      return result;
    for (Attribute &operand : operands)
      operand = convert(operand, Float32Type::get(op->getContext()));
    return {convert(foldWith(op, operands).constant, type), {}};
  }

  /// A float converted to `type`; anything else as it is.
  static Attribute convert(Attribute constant, FloatType type) {
    auto number = dyn_cast_or_null<FloatAttr>(constant);
    if (!number)
      return constant;
    APFloat value = number.getValue();
    bool inexact;
    value.convert(type.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                  &inexact);
    return FloatAttr::get(type, value);
  }

  /// A fold may change the operation: it is one of a copy.
  Known foldWith(Operation *op, ArrayRef<Attribute> operands) const {
    Operation *copy = op->clone();
    SmallVector<OpFoldResult> results;
    Known result;
    if (succeeded(copy->fold(operands, results)) && results.size() == 1) {
      if (auto constant = dyn_cast<Attribute>(results.front()))
        result.constant = constant;
      else
        result = get(cast<Value>(results.front()));
    }
    copy->destroy();
    return result;
  }

  DenseMap<Value, Known> known;
};

/// `op`, which works element by element on tensors, on scalars in `body`.
Operation *scalarise(Operation *op, Block &body) {
  auto scalar = [](Type type) { return getElementTypeOrSelf(type); };
  SmallVector<Type> results = llvm::map_to_vector(op->getResultTypes(), scalar);
  for (Value operand : op->getOperands())
    body.addArgument(scalar(operand.getType()), op->getLoc());
  OpBuilder builder(op->getContext()); // the block is in no region
  builder.setInsertionPointToEnd(&body);
  return builder.create(op->getLoc(), op->getName().getIdentifier(),
                        body.getArguments(), results, op->getAttrs());
}

Outcome outcome(const ScalarFolder &folder, Value scalar,
                llvm::function_ref<int(BlockArgument)> operandOf) {
  ScalarFolder::Known known = folder.get(scalar);
  auto argument = dyn_cast_or_null<BlockArgument>(known.alias);
  return {known.constant, argument ? operandOf(argument) : -1};
}

bool isZeroAt(ArrayRef<Attribute> operands, unsigned i) {
  return i >= operands.size() || isZero(operands[i]);
}

/// Whether an operation of `nest` gives 0 where operands are these.
bool givesZero(Operation *op, ArrayRef<Attribute> operands) {
  auto keepsZero = [](nest::Activation kind) {
    return kind != nest::Activation::sigmoid;
  };
  if (auto act = dyn_cast<nest::ActOp>(op))
    return isZero(operands[0]) && keepsZero(act.getKind());
  if (auto glu = dyn_cast<nest::GluOp>(op))
    return (isZero(operands[0]) && keepsZero(glu.getKind())) ||
           isZero(operands[1]);
  if (isa<nest::LinearOp>(op)) // a bias that is not there is 0
    return contributesNothing(op, operands) && isZeroAt(operands, 2);
  if (isa<nest::TimesOp>(op))
    return isZero(operands[0]);
  if (isa<nest::ScaleOp, nest::GainOp>(op))
    return isZero(operands[0]) || isZero(operands[1]);
  return isa<nest::PerSetOp>(op) && llvm::all_of(operands.drop_front(), isZero);
}

} // namespace

//===----------------------------------------------------------------------===//
// Interface
//===----------------------------------------------------------------------===//

std::optional<LoopView> LoopView::get(Operation *op) {
  if (auto structured = dyn_cast<linalg::LinalgOp>(op))
    return viewLinalg(structured);
  if (isa_and_nonnull<nest::NestDialect>(op->getDialect()))
    return viewNest(op);
  LoopView view;
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
    view.operands.resize(op->getNumOperands());
    viewReshape(expand.getReassociationIndices(), expand.getResult(),
                view.operands.front(), view.results.emplace_back());
    finish(op, view, view.operands.front().size());
    return view;
  }
  if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op)) {
    viewReshape(collapse.getReassociationIndices(), collapse.getSrc(),
                view.results.emplace_back(), view.operands.emplace_back());
    finish(op, view, view.results.front().size());
    return view;
  }
  bool elementwise = OpTrait::hasElementwiseMappableTraits(op) &&
                     op->getNumRegions() == 0 && isMemoryEffectFree(op);
  if ((!elementwise && !isa<tensor::EmptyOp>(op)) || op->getNumResults() != 1 ||
      !isa<RankedTensorType>(op->getResult(0).getType()))
    return std::nullopt;
  for (Value operand : op->getOperands())
    view.operands.push_back(allLoops(operand));
  view.results.push_back(allLoops(op->getResult(0)));
  finish(op, view, view.results.front().size());
  return view;
}

int LoopView::dimOf(ArrayRef<int> of, int loop) {
  const auto *found = llvm::find(of, loop);
  return found == of.end() ? -1 : static_cast<int>(found - of.begin());
}

SmallVector<Outcome> evaluate(Operation *op, ArrayRef<Attribute> operands,
                              std::optional<int64_t> column) {
  SmallVector<Outcome> outcomes(op->getNumResults());
  if (isa<tensor::EmptyOp>(op))
    return outcomes;
  if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(op)) {
    outcomes.front() = {operands.front(), 0};
    return outcomes;
  }
  if (isa_and_nonnull<nest::NestDialect>(op->getDialect())) {
    if (givesZero(op, operands))
      outcomes.front().constant =
          FloatAttr::get(getElementTypeOrSelf(op->getResult(0).getType()), 0.0);
    return outcomes;
  }
  ScalarFolder folder;
  if (auto structured = dyn_cast<linalg::LinalgOp>(op)) {
    DenseMap<Value, int> operandOf;
    for (OpOperand &operand : op->getOpOperands()) {
      BlockArgument argument = structured.getMatchingBlockArgument(&operand);
      operandOf[argument] = static_cast<int>(operand.getOperandNumber());
      if (Attribute constant = operands[operand.getOperandNumber()])
        folder.set(argument, constant);
    }
    Block *body = structured.getBlock();
    for (Operation &scalar : body->without_terminator()) {
      if (auto index = dyn_cast<linalg::IndexOp>(scalar);
          index && column && index.getDim() == 0)
        folder.set(index, Builder(op->getContext()).getIndexAttr(*column));
      folder.visit(&scalar);
    }
    for (auto [result, scalar] :
         llvm::zip_equal(outcomes, body->getTerminator()->getOperands()))
      result = outcome(folder, scalar, [&](BlockArgument argument) {
        auto found = operandOf.find(argument);
        return found == operandOf.end() ? -1 : found->second;
      });
    return outcomes;
  }
  Block body;
  Operation *scalar = scalarise(op, body);
  for (auto [argument, constant] :
       llvm::zip_equal(body.getArguments(), operands))
    if (constant)
      folder.set(argument, constant);
  folder.visit(scalar);
  outcomes.front() =
      outcome(folder, scalar->getResult(0), [](BlockArgument argument) {
        return static_cast<int>(argument.getArgNumber());
      });
  return outcomes;
}

bool contributesNothing(Operation *op, ArrayRef<Attribute> operands) {
  if (isa<nest::LinearOp>(op))
    return isZero(operands[0]) || isZero(operands[1]);
  auto structured = dyn_cast<linalg::LinalgOp>(op);
  if (!structured)
    return false;
  for (auto [number, result] : llvm::enumerate(evaluate(op, operands)))
    if (result.operand !=
        static_cast<int>(
            structured.getDpsInitOperand(number)->getOperandNumber()))
      return false;
  return true;
}

bool isZero(Attribute constant) {
  if (auto number = dyn_cast_or_null<FloatAttr>(constant))
    return number.getValue().isZero();
  auto number = dyn_cast_or_null<IntegerAttr>(constant);
  return number && number.getValue().isZero();
}

bool isOne(Attribute constant) {
  if (auto number = dyn_cast_or_null<FloatAttr>(constant))
    return number.getValue().isExactlyValue(1.0);
  auto number = dyn_cast_or_null<IntegerAttr>(constant);
  return number && number.getValue().isOne();
}

} // namespace nestc
