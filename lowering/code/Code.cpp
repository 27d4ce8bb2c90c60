//===- Code.cpp - a builder for loops on pointers and vectors -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/code/Code.h"

#include "dialect/Kernel.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nestc::code;

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

Value Code::i64(int64_t value) {
  return arith::ConstantOp::create(*this, getI64IntegerAttr(value));
}
Value Code::add(Value a, Value b) { return createOrFold<arith::AddIOp>(a, b); }
Value Code::sub(Value a, Value b) { return createOrFold<arith::SubIOp>(a, b); }
Value Code::mul(Value a, Value b) { return createOrFold<arith::MulIOp>(a, b); }
Value Code::div(Value a, Value b) { return createOrFold<arith::DivUIOp>(a, b); }
Value Code::rem(Value a, Value b) { return createOrFold<arith::RemUIOp>(a, b); }
Value Code::min(Value a, Value b) { return createOrFold<arith::MinSIOp>(a, b); }
Value Code::max(Value a, Value b) { return createOrFold<arith::MaxSIOp>(a, b); }
Value Code::less(Value a, Value b) {
  return createOrFold<arith::CmpIOp>(arith::CmpIPredicate::slt, a, b);
}
Value Code::equal(Value a, int64_t b) {
  return createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, a, i64(b));
}
Value Code::inside(Value value, Value count) {
  return createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ult, value, count);
}
Value Code::select(Value condition, Value a, Value b) {
  return createOrFold<arith::SelectOp>(condition, a, b);
}
Value Code::loadI32(Value pointer) {
  return arith::ExtSIOp::create(*this, i64Type(), load(getI32Type(), pointer));
}
void Code::storeI32(Value value, Value pointer) {
  store(arith::TruncIOp::create(*this, getI32Type(), value), pointer);
}

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

SmallVector<Value> Code::loop(Value low, Value high, int64_t step,
                              ValueRange carried, LoopBody body) {
  auto loop = scf::ForOp::create(*this, low, high, i64(step), carried);
  OpBuilder::InsertionGuard guard(*this);
  // Without carried values the body has its terminator already.
  setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next =
      body(loop.getInductionVar(), loop.getRegionIterArgs());
  if (!carried.empty())
    scf::YieldOp::create(*this, next);
  return loop.getResults();
}

void Code::loop(Value low, Value high, int64_t step,
                function_ref<void(Value)> body) {
  loop(low, high, step, ValueRange{}, [&](Value index, ValueRange) {
    body(index);
    return SmallVector<Value>();
  });
}

void Code::when(Value condition, function_ref<void()> then,
                function_ref<void()> otherwise) {
  auto branch =
      scf::IfOp::create(*this, condition, static_cast<bool>(otherwise));
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  then();
  if (otherwise) {
    setInsertionPointToStart(branch.elseBlock());
    otherwise();
  }
}

void Code::columns(Value count, function_ref<void(Value, int64_t)> body) {
  Value whole = mul(div(count, lanes), lanes);
  loop(i64(0), whole, lanes, [&](Value column) { body(column, lanes); });
  std::optional<int64_t> known = getConstantIntValue(count);
  if (known && *known % lanes == 0)
    return;
  loop(whole, count, 1, [&](Value column) { body(column, 1); });
}

SmallVector<Value>
Code::sumColumns(Value count, unsigned sums,
                 function_ref<SmallVector<Value>(Value, int64_t)> body) {
  auto run = [&](Value low, Value high, int64_t width) {
    SmallVector<Value> zeros(sums, splat(0, width));
    SmallVector<Value> vectors =
        loop(low, high, width, zeros, [&](Value column, ValueRange carried) {
          SmallVector<Value> next = body(column, width);
          for (auto [value, old] : llvm::zip(next, carried))
            value = fadd(old, value);
          return next;
        });
    for (Value &vector : vectors)
      vector = sum(vector);
    return vectors;
  };
  Value whole = mul(div(count, lanes), lanes);
  SmallVector<Value> results = run(i64(0), whole, lanes);
  std::optional<int64_t> known = getConstantIntValue(count);
  if (!known || *known % lanes != 0)
    for (auto [result, rest] : llvm::zip(results, run(whole, count, 1)))
      result = fadd(result, rest);
  return results;
}

Value Code::countColumns(Value count,
                         function_ref<Value(Value, int64_t)> body) {
  auto run = [&](Value low, Value high, int64_t width) {
    Value vector = loop(low, high, width, splatI32(0, width),
                        [&](Value column, ValueRange carried) {
                          Value more = body(column, width);
                          return SmallVector<Value>{
                              createOrFold<arith::AddIOp>(carried[0], more)};
                        })[0];
    Value sum =
        vector::ReductionOp::create(*this, vector::CombiningKind::ADD, vector);
    return Value(arith::ExtSIOp::create(*this, i64Type(), sum));
  };
  Value whole = mul(div(count, lanes), lanes);
  return add(run(i64(0), whole, lanes), run(whole, count, 1));
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value Code::at(Value pointer, Type type, Value index) {
  return LLVM::GEPOp::create(*this, ptrType(), type, pointer,
                             ValueRange{index});
}

Value Code::at(Value pointer, Type type, int64_t index) {
  return index == 0 ? pointer : at(pointer, type, i64(index));
}

// Pointers are aligned to their elements only.
static unsigned alignmentOf(Type type) {
  Type element = getElementTypeOrSelf(type);
  return isa<LLVM::LLVMPointerType>(element)
             ? 8
             : std::max(1u, element.getIntOrFloatBitWidth() / 8);
}

Value Code::load(Type type, Value pointer) {
  return LLVM::LoadOp::create(*this, type, pointer, alignmentOf(type));
}

void Code::store(Value value, Value pointer) {
  LLVM::StoreOp::create(*this, value, pointer, alignmentOf(value.getType()));
}

Value Code::loadVector(Type stored, Value pointer, int64_t width) {
  if (stored.isF32())
    return load(f32Vector(width), pointer);
  if (stored.isF16())
    return arith::ExtFOp::create(
        *this, f32Vector(width),
        load(VectorType::get({width}, stored), pointer));
  assert(stored.isBF16() && "checked before");
  Value bits = load(VectorType::get({width}, getI16Type()), pointer);
  bits = arith::ExtUIOp::create(*this, i32Vector(width), bits);
  bits = arith::ShLIOp::create(*this, bits, splatI32(16, width));
  return arith::BitcastOp::create(*this, f32Vector(width), bits);
}

// The bits of the bf16 nearest to each f32, in the upper half of an i32.
static Value roundToBf16(Code &code, Value vector, int64_t width) {
  Value bits = arith::BitcastOp::create(code, code.i32Vector(width), vector);
  Value odd = arith::AndIOp::create(
      code, arith::ShRUIOp::create(code, bits, code.splatI32(16, width)),
      code.splatI32(1, width));
  Value rounded = arith::AddIOp::create(
      code, bits,
      arith::AddIOp::create(code, odd, code.splatI32(0x7fff, width)));
  // Rounding could turn a NaN into infinity; make it a quiet one instead.
  Value quiet = arith::OrIOp::create(code, bits, code.splatI32(1 << 22, width));
  Value isNan =
      arith::CmpFOp::create(code, arith::CmpFPredicate::UNO, vector, vector);
  return arith::AndIOp::create(
      code, arith::SelectOp::create(code, isNan, quiet, rounded),
      code.splatI32(static_cast<int32_t>(0xffff0000), width));
}

static int64_t widthOf(Value vector) {
  return cast<VectorType>(vector.getType()).getNumElements();
}

void Code::storeVector(Type stored, Value vector, Value pointer) {
  int64_t width = widthOf(vector);
  if (stored.isBF16()) {
    vector = roundToBf16(*this, vector, width);
    vector = arith::ShRUIOp::create(*this, vector, splatI32(16, width));
    vector = arith::TruncIOp::create(
        *this, VectorType::get({width}, getI16Type()), vector);
  } else if (stored.isF16()) {
    vector = arith::TruncFOp::create(*this, VectorType::get({width}, stored),
                                     vector);
  }
  store(vector, pointer);
}

Value Code::roundTo(Type stored, Value vector) {
  int64_t width = widthOf(vector);
  if (stored.isBF16())
    return arith::BitcastOp::create(*this, f32Vector(width),
                                    roundToBf16(*this, vector, width));
  if (stored.isF16()) {
    Value narrow = arith::TruncFOp::create(
        *this, VectorType::get({width}, stored), vector);
    return arith::ExtFOp::create(*this, f32Vector(width), narrow);
  }
  return vector;
}

Value Code::slot(Value table, int64_t index, Type type) {
  return load(type, at(table, i64Type(), index));
}

void Code::setSlot(Value table, int64_t index, Value value) {
  store(value, at(table, i64Type(), index));
}

Value Code::table(int64_t count) {
  return LLVM::AllocaOp::create(*this, ptrType(), i64Type(), i64(count), 64);
}

//===----------------------------------------------------------------------===//
// f32 vectors
//===----------------------------------------------------------------------===//

Value Code::f32(float value) {
  return arith::ConstantOp::create(*this, getF32FloatAttr(value));
}
Value Code::splat(float value, int64_t width) {
  return arith::ConstantOp::create(
      *this, DenseElementsAttr::get(f32Vector(width), value));
}
Value Code::splatI32(int32_t value, int64_t width) {
  return arith::ConstantOp::create(
      *this, DenseElementsAttr::get(i32Vector(width), value));
}
Value Code::broadcast(Value scalar, int64_t width) {
  return vector::BroadcastOp::create(
      *this, VectorType::get({width}, scalar.getType()), scalar);
}
Value Code::fadd(Value a, Value b) {
  return arith::AddFOp::create(*this, a, b);
}
Value Code::fsub(Value a, Value b) {
  return arith::SubFOp::create(*this, a, b);
}
Value Code::fmul(Value a, Value b) {
  return arith::MulFOp::create(*this, a, b);
}
Value Code::fdiv(Value a, Value b) {
  return arith::DivFOp::create(*this, a, b);
}
Value Code::fma(Value a, Value b, Value c) {
  return LLVM::FMAOp::create(*this, a, b, c);
}
Value Code::fmax(Value a, Value b) {
  Value greater = arith::CmpFOp::create(*this, arith::CmpFPredicate::OGT, a, b);
  return arith::SelectOp::create(*this, greater, a, b);
}
Value Code::fmin(Value a, Value b) {
  Value less = arith::CmpFOp::create(*this, arith::CmpFPredicate::OLT, a, b);
  return arith::SelectOp::create(*this, less, a, b);
}

// Folds halves onto each other: an order that is fixed, and fast.
static Value reduce(Code &code, Value vector,
                    function_ref<Value(Value, Value)> combine) {
  for (int64_t width = widthOf(vector); width > 1; width /= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t i = 0; i < width / 2; ++i) {
      low.push_back(i);
      high.push_back(width / 2 + i);
    }
    Value a = vector::ShuffleOp::create(code, vector, vector, low);
    Value b = vector::ShuffleOp::create(code, vector, vector, high);
    vector = combine(a, b);
  }
  return vector::ExtractOp::create(code, vector, 0);
}

Value Code::sum(Value vector) {
  return reduce(*this, vector, [&](Value a, Value b) { return fadd(a, b); });
}
Value Code::maximum(Value vector) {
  return reduce(*this, vector, [&](Value a, Value b) { return fmax(a, b); });
}

Value Code::polynomial(Value x, ArrayRef<float> coefficients) {
  int64_t width = widthOf(x);
  Value result = splat(coefficients.back(), width);
  for (float coefficient : llvm::reverse(coefficients.drop_back()))
    result = fma(result, x, splat(coefficient, width));
  return result;
}

Value Code::rsqrt(Value x) {
  return fdiv(splat(1, widthOf(x)), math::SqrtOp::create(*this, x));
}

Value Code::exp(Value x) {
  int64_t width = widthOf(x);
  // Beyond these e^x is 0 or infinite in f32; NaN passes through both.
  x = fmax(splat(-104.0f, width), x);
  x = fmin(splat(89.0f, width), x);
  // n = round(x / ln 2) by adding 1.5 * 2^23: the sum's low bits are n.
  Value magic = splat(12582912.0f, width);
  Value biased = fma(x, splat(1.44269504f, width), magic);
  Value n = fsub(biased, magic);
  // ln 2 in two parts, the first with few bits, so that n * high is exact.
  Value r = fma(n, splat(-0.693359375f, width), x);
  r = fma(n, splat(2.12194440e-4f, width), r);
  // e^r for |r| <= ln 2 / 2; interpolated at Chebyshev nodes.
  Value p = polynomial(r, {1.0f, 1.00000004f, 0.500000005f, 0.16666415f,
                           0.0416663523f, 0.00837516829f, 0.00139411608f});
  // Times 2^n in two halves, since 2^n alone may not be a normal number.
  Value bits = arith::SubIOp::create(
      *this, arith::BitcastOp::create(*this, i32Vector(width), biased),
      splatI32(0x4b400000, width));
  Value half = arith::ShRSIOp::create(*this, bits, splatI32(1, width));
  Value rest = arith::SubIOp::create(*this, bits, half);
  for (Value exponent : {half, rest}) {
    Value power = arith::AddIOp::create(*this, exponent, splatI32(127, width));
    power = arith::ShLIOp::create(*this, power, splatI32(23, width));
    p = fmul(p, arith::BitcastOp::create(*this, f32Vector(width), power));
  }
  return p;
}

static Value absolute(Code &code, Value x) {
  return math::AbsFOp::create(code, x);
}

Value Code::tanh(Value x) {
  int64_t width = widthOf(x);
  Value magnitude = absolute(*this, x);
  // 1 - 2 / (e^2|x| + 1), and near 0, where that cancels, x p(x^2).
  Value e = exp(fadd(magnitude, magnitude));
  Value one = splat(1, width);
  Value large = fsub(one, divide(splat(2, width), fadd(e, one)));
  large = math::CopySignOp::create(*this, large, x);
  Value square = fmul(x, x);
  Value small = fmul(
      x, polynomial(square, {0.999999996f, -0.333332543f, 0.133309836f,
                             -0.0537095732f, 0.0205539715f, -0.00561866845f}));
  Value isSmall = arith::CmpFOp::create(*this, arith::CmpFPredicate::OLT,
                                        magnitude, splat(0.62f, width));
  return arith::SelectOp::create(*this, isSmall, small, large);
}

Value Code::erf(Value x) {
  int64_t width = widthOf(x);
  Value magnitude = absolute(*this, x);
  Value square = fmul(x, x);
  Value small =
      fmul(x, polynomial(square, {1.12837917f, -0.376126267f, 0.112835947f,
                                  -0.026854212f, 0.00518908742f,
                                  -0.000801686429f, 7.87587506e-05f}));
  // 1 - e^-x^2 q(1 / (1 + |x|)) from 1 to 4, from where it is 1 in f32.
  Value one = splat(1, width);
  Value t = divide(one, fadd(magnitude, one));
  Value q =
      polynomial(t, {-0.000130824211f, 0.567263804f, 0.534454964f, 0.429597429f,
                     -0.63625288f, -0.608252708f, 1.29481877f, -0.60016187f});
  Value e = exp(square);
  Value large = fsub(one, divide(q, e));
  Value isHuge = arith::CmpFOp::create(*this, arith::CmpFPredicate::OGT,
                                       magnitude, splat(4, width));
  large = arith::SelectOp::create(*this, isHuge, one, large);
  large = math::CopySignOp::create(*this, large, x);
  Value isSmall =
      arith::CmpFOp::create(*this, arith::CmpFPredicate::OLT, magnitude, one);
  return arith::SelectOp::create(*this, isSmall, small, large);
}

//===----------------------------------------------------------------------===//
// Regions
//===----------------------------------------------------------------------===//

// What becomes a few instructions on vectors; others would be calls of libm,
// one for each element.
static bool hasVectorCode(Operation *op) {
  if (isa<arith::ArithDialect>(op->getDialect()))
    return op->hasTrait<OpTrait::Elementwise>() || isa<arith::ConstantOp>(op);
  return isa<math::AbsFOp, math::CeilOp, math::FloorOp, math::CopySignOp,
             math::FmaOp, math::RoundEvenOp, math::TruncOp, math::SqrtOp,
             math::RsqrtOp, math::ExpOp, math::TanhOp, math::ErfOp>(op);
}

LogicalResult nestc::code::checkVectorizable(Block &block) {
  auto scalar = [](Type type) {
    return type.isF32() || type.isInteger(1) || type.isInteger(32);
  };
  for (Operation &op : block.without_terminator()) {
    if (!hasVectorCode(&op))
      return op.emitOpError("has no code in the generator");
    for (Type type : op.getResultTypes())
      if (!scalar(type))
        return op.emitOpError("computes ")
               << type << "; regions compute in f32";
    for (Value operand : op.getOperands())
      if (operand.getParentBlock() != &block)
        return op.emitOpError("uses a value from outside its region");
  }
  return success();
}

SmallVector<Value> nestc::code::cloneOnVectors(Code &code, Block &block,
                                               ValueRange arguments,
                                               int64_t width) {
  IRMapping map;
  map.map(block.getArguments(), arguments);
  auto vectorOf = [&](Type type) { return VectorType::get({width}, type); };
  for (Operation &op : block.without_terminator()) {
    if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      auto value = cast<TypedAttr>(constant.getValue());
      map.map(constant.getResult(),
              arith::ConstantOp::create(
                  code, DenseElementsAttr::get(vectorOf(value.getType()),
                                               Attribute(value))));
      continue;
    }
    auto operand = [&](unsigned i) { return map.lookup(op.getOperand(i)); };
    Value result =
        llvm::TypeSwitch<Operation *, Value>(&op)
            .Case([&](math::ExpOp) { return code.exp(operand(0)); })
            .Case([&](math::TanhOp) { return code.tanh(operand(0)); })
            .Case([&](math::ErfOp) { return code.erf(operand(0)); })
            .Case([&](math::RsqrtOp) { return code.rsqrt(operand(0)); })
            .Case([&](arith::DivFOp) {
              return code.divide(operand(0), operand(1));
            })
            .Default([](Operation *) { return Value(); });
    if (result) {
      map.map(op.getResult(0), result);
      continue;
    }
    Operation *clone = code.clone(op, map);
    for (OpResult r : clone->getResults())
      r.setType(vectorOf(r.getType()));
  }
  SmallVector<Value> results;
  for (Value value : block.getTerminator()->getOperands())
    results.push_back(map.lookup(value));
  return results;
}

Value nestc::code::capacityOf(Code &code, nest::CapacityAttr capacity,
                              Value rows) {
  int64_t numerator = capacity.getNumerator();
  int64_t denominator = capacity.getDenominator();
  Value count = code.i64(numerator);
  if (!capacity.isCount() &&
      capacity.getRounding() == nest::Rounding::double_floor) {
    Value part = arith::ConstantOp::create(
        code, code.getF64FloatAttr(static_cast<double>(numerator) /
                                   static_cast<double>(denominator)));
    Value product =
        code.fmul(part, arith::SIToFPOp::create(code, code.getF64Type(), rows));
    count = arith::FPToSIOp::create(code, code.i64Type(), product);
  } else if (!capacity.isCount()) {
    Value product = code.mul(rows, numerator);
    count = code.div(product, denominator);
    Value twice = code.mul(code.rem(product, denominator), 2);
    auto bit = [&](Value condition) {
      return code.select(condition, code.i64(1), code.i64(0));
    };
    if (capacity.getRounding() == nest::Rounding::ceil) {
      count = code.add(count, bit(code.less(code.i64(0), twice)));
    } else if (capacity.getRounding() == nest::Rounding::nearest_even) {
      // A half rounds up from an odd count: its last bit decides.
      Value above = code.add(twice, code.rem(count, 2));
      count = code.add(count, bit(code.less(code.i64(denominator), above)));
    }
  }
  return code.min(code.max(count, capacity.getMinimum()), rows);
}
