//===- RowCode.cpp - the scalar code of kernels -----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/RowCode.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nest;

bool nestc::isElementwise(Operation *op) {
  return isa<arith::ArithDialect, math::MathDialect>(op->getDialect()) &&
         OpTrait::hasElementwiseMappableTraits(op) && op->getNumResults() == 1;
}

bool nestc::isRowCode(Operation *op) {
  return isa<ActOp, GluOp, ScaleOp, GainOp, TimesOp>(op) || isElementwise(op);
}

bool nestc::isStatistic(Operation *op) {
  return isa<NormOp, RescaleOp, CutoffOp>(op);
}

std::optional<FloatAttr> nestc::getSplat(Value value) {
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  auto dense = constant ? dyn_cast<DenseFPElementsAttr>(constant.getValue())
                        : DenseFPElementsAttr();
  if (!dense || !dense.isSplat() || !dense.getElementType().isF32())
    return std::nullopt;
  return FloatAttr::get(dense.getElementType(),
                        dense.getSplatValue<llvm::APFloat>());
}

Block *nestc::addScalarBlock(Region &region, unsigned count, Location loc,
                             OpBuilder &b) {
  return b.createBlock(&region, region.end(),
                       SmallVector<Type>(count, b.getF32Type()),
                       SmallVector<Location>(count, loc));
}

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

Value Scalar::constant(double value) {
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
}
Value Scalar::constant(FloatAttr value) {
  return arith::ConstantOp::create(b, loc, value);
}
Value Scalar::add(Value x, Value y) {
  return arith::AddFOp::create(b, loc, x, y);
}
Value Scalar::sub(Value x, Value y) {
  return arith::SubFOp::create(b, loc, x, y);
}
Value Scalar::mul(Value x, Value y) {
  return arith::MulFOp::create(b, loc, x, y);
}
Value Scalar::div(Value x, Value y) {
  return arith::DivFOp::create(b, loc, x, y);
}
Value Scalar::sqrt(Value x) { return math::SqrtOp::create(b, loc, x); }
Value Scalar::rsqrt(Value x) { return math::RsqrtOp::create(b, loc, x); }
Value Scalar::maximum(Value x, Value y) {
  return arith::MaximumFOp::create(b, loc, x, y);
}
void Scalar::yield(ValueRange values) {
  kernel::YieldOp::create(b, loc, values);
}

Value Scalar::activate(Activation kind, Value x) {
  switch (kind) {
  case Activation::silu: { // x / (1 + e^-x)
    Value e = math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, x));
    return div(x, add(constant(1.0), e));
  }
  case Activation::gelu: { // x / 2 * (1 + erf(x / sqrt 2))
    Value e =
        math::ErfOp::create(b, loc, mul(x, constant(0.70710678118654752)));
    return mul(mul(x, constant(0.5)), add(e, constant(1.0)));
  }
  case Activation::gelu_tanh: {
    // x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
    Value cube = mul(mul(x, x), mul(x, constant(0.044715)));
    Value t = math::TanhOp::create(
        b, loc, mul(constant(0.79788456080286536), add(x, cube)));
    return mul(mul(x, constant(0.5)), add(t, constant(1.0)));
  }
  case Activation::relu: // a NaN stays one
    return maximum(x, constant(0.0));
  case Activation::relu2: {
    Value r = maximum(x, constant(0.0));
    return mul(r, r);
  }
  case Activation::tanh:
    return math::TanhOp::create(b, loc, x);
  case Activation::sigmoid: { // 1 / (1 + e^-x)
    Value e = math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, x));
    return div(constant(1.0), add(constant(1.0), e));
  }
  }
  llvm_unreachable("the enum has no other value");
}

Value Scalar::compute(Operation *op, llvm::function_ref<Value(Value)> scalarOf,
                      Value weight) {
  auto operand = [&](unsigned i) {
    Value value = op->getOperand(i);
    if (std::optional<FloatAttr> splat = getSplat(value))
      return constant(*splat);
    return scalarOf(value);
  };
  if (isa<ScaleOp>(op))
    return mul(operand(0), weight);
  if (auto act = dyn_cast<ActOp>(op))
    return activate(act.getKind(), operand(0));
  if (isa<GainOp>(op))
    return mul(operand(0), operand(1));
  if (auto times = dyn_cast<TimesOp>(op))
    return mul(operand(0), constant(times.getFactorAttr()));
  if (auto glu = dyn_cast<GluOp>(op)) {
    Value gate = activate(glu.getKind(), operand(0));
    return mul(gate, operand(1));
  }
  SmallVector<Value> operands;
  for (unsigned i = 0; i < op->getNumOperands(); ++i)
    operands.push_back(operand(i));
  OperationState state(loc, op->getName(), operands, b.getF32Type(),
                       op->getAttrs());
  return b.create(state)->getResult(0);
}

//===----------------------------------------------------------------------===//
// Statistics
//===----------------------------------------------------------------------===//

bool Statistic::isCentred() const {
  auto norm = dyn_cast<NormOp>(op);
  return isa<CutoffOp>(op) || (norm && norm.getKind() == NormKind::layer);
}

SmallVector<Value> Statistic::round(unsigned index, Lookup scalarOf,
                                    ValueRange sums) const {
  Value x = scalarOf(op->getOperand(0));
  if (isCentred() && index == 0)
    return {x};
  // Two passes for the variance: the one-pass formula cancels.
  if (isCentred())
    x = s.sub(x, mean(sums[0]));
  SmallVector<Value> summed{s.mul(x, x)};
  if (auto rescale = dyn_cast<RescaleOp>(op)) {
    Value like = scalarOf(rescale.getLike());
    summed.push_back(s.mul(like, like));
  }
  return summed;
}

Value Statistic::finish(Lookup scalarOf, ValueRange sums) const {
  Value x = scalarOf(op->getOperand(0));
  if (isCentred())
    x = s.sub(x, mean(sums[0]));
  if (auto rescale = dyn_cast<RescaleOp>(op)) {
    Value least =
        s.maximum(mean(sums[0]), s.constant(rescale.getEpsilonAttr()));
    return s.mul(x, s.mul(s.sqrt(mean(sums[1])), s.rsqrt(least)));
  }
  if (auto cutoff = dyn_cast<CutoffOp>(op)) {
    Value deviation = s.sqrt(mean(sums[1]));
    return s.maximum(
        s.sub(x, s.mul(deviation, s.constant(cutoff.getFactorAttr()))),
        s.constant(0.0));
  }
  auto norm = cast<NormOp>(op);
  Value epsilon = s.constant(norm.getEpsilonAttr());
  x = s.mul(x, s.rsqrt(s.add(mean(sums.back()), epsilon)));
  if (norm.getW())
    x = s.mul(x, scalarOf(norm.getW()));
  if (norm.getBias())
    x = s.add(x, scalarOf(norm.getBias()));
  return x;
}
