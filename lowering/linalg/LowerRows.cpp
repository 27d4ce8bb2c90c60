//===- LowerRows.cpp - rows to rows, in linalg -------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/linalg/Lower.h"

#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace nestc::nest;
using nestc::linalg_lowering::convertFloat;
using nestc::linalg_lowering::Emitter;
using nestc::linalg_lowering::entry;
using nestc::linalg_lowering::Rows;
using nestc::linalg_lowering::ScalarBuilder;

namespace {

Value add(ScalarBuilder &b, Value x, Value y) {
  return arith::AddFOp::create(b, x, y);
}
Value sub(ScalarBuilder &b, Value x, Value y) {
  return arith::SubFOp::create(b, x, y);
}
Value mul(ScalarBuilder &b, Value x, Value y) {
  return arith::MulFOp::create(b, x, y);
}
Value constant(ScalarBuilder &b, float value) {
  return arith::ConstantOp::create(b, b.getF32FloatAttr(value));
}

int64_t rankOf(Value tensor) {
  return cast<RankedTensorType>(tensor.getType()).getRank();
}

Value activate(ScalarBuilder &b, Activation kind, Value x) {
  switch (kind) {
  case Activation::silu: {
    // x / (1 + e^-x)
    Value e = math::ExpOp::create(b, arith::NegFOp::create(b, x));
    return arith::DivFOp::create(b, x, add(b, constant(b, 1.0f), e));
  }
  case Activation::gelu: {
    // x / 2 * (1 + erf(x / sqrt 2))
    Value e = math::ErfOp::create(b, mul(b, x, constant(b, 0.70710678f)));
    return mul(b, mul(b, x, constant(b, 0.5f)), add(b, e, constant(b, 1.0f)));
  }
  case Activation::gelu_tanh: {
    // x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
    Value cube = mul(b, mul(b, x, x), mul(b, x, constant(b, 0.044715f)));
    Value t = math::TanhOp::create(
        b, mul(b, constant(b, 0.79788456f), add(b, x, cube)));
    return mul(b, mul(b, x, constant(b, 0.5f)), add(b, t, constant(b, 1.0f)));
  }
  case Activation::relu:
    // A NaN stays one.
    return arith::MaximumFOp::create(b, x, constant(b, 0.0f));
  case Activation::relu2: {
    Value r = arith::MaximumFOp::create(b, x, constant(b, 0.0f));
    return mul(b, r, r);
  }
  case Activation::tanh:
    return math::TanhOp::create(b, x);
  case Activation::sigmoid: {
    // 1 / (1 + e^-x)
    Value e = math::ExpOp::create(b, arith::NegFOp::create(b, x));
    Value one = constant(b, 1.0f);
    return arith::DivFOp::create(b, one, add(b, one, e));
  }
  }
  llvm_unreachable("the enum has no other value");
}
} // namespace

// A gather: linalg.generic with tensor.extract bufferises, tensor.gather does
// not. Ids outside the table are the caller's error, as for any index.
Value nestc::linalg_lowering::lower(EmbedOp op, Emitter &e) {
  Value table = op.getTable();
  float scale = op.getScale().convertToFloat();
  Emitter::Sizes sizes = e.sizes(op.getIds());
  sizes.push_back(e.sizes(table)[1]);
  unsigned rank = sizes.size();
  SmallVector<unsigned> row = llvm::to_vector(llvm::seq<unsigned>(0, rank - 1));
  return e.generic(
      op.getIds(), e.empty(sizes, e.b.getF32Type()),
      {e.map(rank, row), e.b.getMultiDimIdentityMap(rank)},
      [&](ScalarBuilder &b, ValueRange args) -> Value {
        Value id = arith::IndexCastOp::create(b, b.getIndexType(), args[0]);
        if (op.getUnknown()) {
          Value rows = e.index(e.sizes(table)[0]);
          Value known = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, id,
                                              rows); // a negative id is large
          id = arith::SelectOp::create(
              b, known, id,
              arith::ConstantIndexOp::create(
                  b, static_cast<int64_t>(*op.getUnknown())));
        }
        Value column = linalg::IndexOp::create(b, rank - 1);
        Value x = convertFloat(
            b, tensor::ExtractOp::create(b, table, ValueRange{id, column}),
            b.getF32Type());
        return scale == 1.0f ? x : mul(b, x, constant(b, scale));
      });
}

/// A weight or a bias for the rows of one set.
static Value ofSet(Value value, int64_t set) {
  auto values = value ? value.getDefiningOp<PerSetOp>() : PerSetOp();
  return values ? values.getValues()[set] : value;
}

/// `body` on all rows of x at once or, where a weight or a bias has values for
/// each set, on those of one set after the other.
static Value rowsBySet(Emitter &e, Operation *op, Value x, Value w, Value bias,
                       llvm::function_ref<Value(Value, Value, Value)> body) {
  Value rows;
  for (Value value : {w, bias})
    if (auto values = value ? value.getDefiningOp<PerSetOp>() : PerSetOp()) {
      if (rows && rows != values.getRows())
        rows = {};
      else
        rows = values.getRows();
      if (rows && rankOf(x) == 3)
        continue;
      op->emitOpError("cannot be lowered: weight and bias are per_set of two "
                      "families or x is no stream; legal is one family, by "
                      "which the stream x is packed");
      return {};
    }
  if (!rows)
    return body(x, w, bias);
  const Rows &family = e.rows(rows);
  Value packed = e.joinRows(x), result;
  for (int64_t set = 0; set < family.sets; ++set) {
    Value from = entry(e.b, family.offsets, e.index(set));
    Value to = entry(e.b, family.offsets, e.index(set + 1));
    Value count = arith::SubIOp::create(e.b, to, from);
    Value y =
        body(e.slice(packed, 0, from, count), ofSet(w, set), ofSet(bias, set));
    if (!result)
      result = e.zeros({e.sizes(packed)[0], e.sizes(y)[1]}, e.b.getF32Type());
    result = e.insert(y, result, 0, from);
  }
  return e.splitRows(result, x);
}

// linalg.contract extends both operands to the accumulator's type.
static Value linear(Emitter &e, Value x, Value w, Value bias) {
  Type type = cast<RankedTensorType>(w.getType()).getElementType();
  if (!type.isF32())
    x = e.elementwise(x, type, [&](ScalarBuilder &b, ValueRange args) {
      return convertFloat(b, args[0], type);
    });
  // Dimensions: the rows', then n, then k.
  unsigned rank = rankOf(x), n = rank - 1, k = rank;
  SmallVector<unsigned> in = llvm::to_vector(llvm::seq<unsigned>(0, n));
  SmallVector<unsigned> out(in);
  in.push_back(k);
  out.push_back(n);
  Emitter::Sizes sizes = e.sizes(x);
  sizes.back() = e.sizes(w)[0];
  Value init = e.filled(sizes, 0.0f);
  Value y =
      linalg::ContractOp::create(
          e.b, TypeRange{init.getType()}, ValueRange{x, w}, ValueRange{init},
          e.b.getAffineMapArrayAttr({e.map(rank + 1, in),
                                     e.map(rank + 1, {n, k}),
                                     e.map(rank + 1, out)}))
          .getResult(0);
  if (!bias)
    return y;
  AffineMap all = e.b.getMultiDimIdentityMap(rank);
  return e.generic({y, bias}, e.empty(sizes, e.b.getF32Type()),
                   {all, e.map(rank, {n}), all},
                   [&](ScalarBuilder &b, ValueRange args) {
                     return add(b, args[0], args[1]);
                   });
}

Value nestc::linalg_lowering::lower(LinearOp op, Emitter &e) {
  return rowsBySet(
      e, op, op.getX(), op.getW(), op.getBias(),
      [&](Value x, Value w, Value bias) { return linear(e, x, w, bias); });
}

/// From all dimensions to those of a row's number.
static AffineMap rowMap(Emitter &e, unsigned rank) {
  return e.map(rank, llvm::to_vector(llvm::seq<unsigned>(0, rank - 1)));
}

/// Of each row the mean of its elements, or of their squares.
static Value meanOf(Emitter &e, Value x, bool squared) {
  Emitter::Sizes sizes = e.sizes(x);
  unsigned rank = sizes.size();
  Type f32 = e.b.getF32Type();
  Value count;
  if (std::optional<int64_t> width = getConstantIntValue(sizes.back()))
    count = e.f32(*width);
  else
    count = arith::SIToFPOp::create(
        e.b, f32,
        arith::IndexCastOp::create(e.b, e.b.getI64Type(),
                                   e.index(sizes.back())));
  Value sum = e.generic(
      x, e.filled(Emitter::Sizes(sizes.begin(), sizes.end() - 1), 0.0f),
      {e.b.getMultiDimIdentityMap(rank), rowMap(e, rank)},
      [&](ScalarBuilder &b, ValueRange args) {
        return add(b, args[1], squared ? mul(b, args[0], args[0]) : args[0]);
      });
  return e.elementwise(sum, f32, [&](ScalarBuilder &b, ValueRange args) {
    return arith::DivFOp::create(b, args[0], count).getResult();
  });
}

/// What `body` makes of each element of x and the number of its row.
static Value
withRow(Emitter &e, Value x, Value row,
        llvm::function_ref<Value(ScalarBuilder &, Value, Value)> body) {
  Emitter::Sizes sizes = e.sizes(x);
  AffineMap all = e.b.getMultiDimIdentityMap(sizes.size());
  return e.generic({x, row}, e.empty(sizes, e.b.getF32Type()),
                   {all, rowMap(e, sizes.size()), all},
                   [&](ScalarBuilder &b, ValueRange args) {
                     return body(b, args[0], args[1]);
                   });
}

/// x without the mean of its row.
static Value centred(Emitter &e, Value x) {
  return withRow(e, x, meanOf(e, x, /*squared=*/false), sub);
}

static Value norm(NormOp op, Emitter &e, Value x, Value w, Value bias) {
  bool grouped = op.getGroup().has_value();
  if (grouped) {
    int64_t group = *op.getGroup();
    x = e.splitLast(
        x, {e.divide(e.sizes(x).back(), group), e.b.getIndexAttr(group)});
  }
  Emitter::Sizes sizes = e.sizes(x);
  unsigned rank = sizes.size();
  AffineMap all = e.b.getMultiDimIdentityMap(rank);
  AffineMap row = rowMap(e, rank);
  AffineMap column = e.map(rank, {rank - 1});
  Type f32 = e.b.getF32Type();

  // Two passes for the variance: the one-pass formula cancels.
  if (op.getKind() == NormKind::layer)
    x = centred(e, x);
  float epsilon = op.getEpsilon().convertToFloat();
  Value scale = e.elementwise(
      meanOf(e, x, /*squared=*/true), f32,
      [&](ScalarBuilder &b, ValueRange args) {
        return math::RsqrtOp::create(b, add(b, args[0], constant(b, epsilon)))
            .getResult();
      });

  SmallVector<Value> inputs{x, scale};
  SmallVector<AffineMap> maps{all, row};
  for (Value vector : {w, bias})
    if (vector) {
      inputs.push_back(vector);
      maps.push_back(column);
    }
  maps.push_back(all);
  Value y = e.generic(inputs, e.empty(sizes, f32), maps,
                      [&](ScalarBuilder &b, ValueRange args) {
                        Value y = mul(b, args[0], args[1]);
                        unsigned next = 2;
                        if (w)
                          y = mul(b, y, args[next++]);
                        if (bias)
                          y = add(b, y, args[next++]);
                        return y;
                      });
  return grouped ? e.joinLast(y, 2) : y;
}

Value nestc::linalg_lowering::lower(NormOp op, Emitter &e) {
  return rowsBySet(
      e, op, op.getX(), op.getW(), op.getBias(),
      [&](Value x, Value w, Value bias) { return norm(op, e, x, w, bias); });
}

Value nestc::linalg_lowering::lower(TimesOp op, Emitter &e) {
  float factor = op.getFactor().convertToFloat();
  return e.elementwise(op.getX(), e.b.getF32Type(),
                       [&](ScalarBuilder &b, ValueRange args) {
                         return mul(b, args[0], constant(b, factor));
                       });
}

Value nestc::linalg_lowering::lower(GainOp op, Emitter &e) {
  return rowsBySet(e, op, op.getX(), op.getW(), Value(),
                   [&](Value x, Value w, Value) {
                     Emitter::Sizes sizes = e.sizes(x);
                     unsigned rank = sizes.size();
                     AffineMap all = e.b.getMultiDimIdentityMap(rank);
                     return e.generic({x, w}, e.empty(sizes, e.b.getF32Type()),
                                      {all, e.map(rank, {rank - 1}), all},
                                      [&](ScalarBuilder &b, ValueRange args) {
                                        return mul(b, args[0], args[1]);
                                      });
                   });
}

Value nestc::linalg_lowering::lower(RescaleOp op, Emitter &e) {
  Value squares = meanOf(e, op.getX(), /*squared=*/true);
  Value wanted = meanOf(e, op.getLike(), /*squared=*/true);
  float epsilon = op.getEpsilon().convertToFloat();
  Value scale = e.elementwise({wanted, squares}, e.b.getF32Type(),
                              [&](ScalarBuilder &b, ValueRange args) {
                                Value least = arith::MaximumFOp::create(
                                    b, args[1], constant(b, epsilon));
                                return mul(b, math::SqrtOp::create(b, args[0]),
                                           math::RsqrtOp::create(b, least));
                              });
  return withRow(e, op.getX(), scale, mul);
}

Value nestc::linalg_lowering::lower(CutoffOp op, Emitter &e) {
  Value x = centred(e, op.getX());
  float factor = op.getFactor().convertToFloat();
  return withRow(
      e, x, meanOf(e, x, /*squared=*/true),
      [&](ScalarBuilder &b, Value x, Value variance) -> Value {
        Value deviation = math::SqrtOp::create(b, variance);
        Value above = sub(b, x, mul(b, deviation, constant(b, factor)));
        return arith::MaximumFOp::create(b, above, constant(b, 0.0f));
      });
}

Value nestc::linalg_lowering::lower(ActOp op, Emitter &e) {
  return e.elementwise(op.getX(), e.b.getF32Type(),
                       [&](ScalarBuilder &b, ValueRange args) {
                         return activate(b, op.getKind(), args[0]);
                       });
}

Value nestc::linalg_lowering::lower(GluOp op, Emitter &e) {
  return e.elementwise({op.getGate(), op.getUp()}, e.b.getF32Type(),
                       [&](ScalarBuilder &b, ValueRange args) {
                         return mul(b, activate(b, op.getKind(), args[0]),
                                    args[1]);
                       });
}

// Angles are f32 products of the position and the frequency, one table of
// cosines and one of sines for all heads.
Value nestc::linalg_lowering::lower(RopeOp op, Emitter &e) {
  RopeAttr rope = op.getRope();
  int64_t head = rope.getHeadDim();
  ArrayRef<float> values = rope.getFrequencies().asArrayRef();
  int64_t n = values.size();
  Type f32 = e.b.getF32Type();
  Value frequencies = arith::ConstantOp::create(
      e.b, DenseElementsAttr::get(RankedTensorType::get({n}, f32), values));

  Emitter::Sizes sizes = e.sizes(op.getPositions());
  unsigned rows = sizes.size();
  sizes.push_back(e.b.getIndexAttr(n));
  SmallVector<unsigned> rowDims = llvm::to_vector(llvm::seq<unsigned>(0, rows));
  float magnitude = rope.getMagnitudeF32();
  auto table = [&](bool cosine) {
    return e.generic(
        {op.getPositions(), frequencies}, e.empty(sizes, f32),
        {e.map(rows + 1, rowDims), e.map(rows + 1, {rows}),
         e.b.getMultiDimIdentityMap(rows + 1)},
        [&](ScalarBuilder &b, ValueRange args) {
          Value angle =
              mul(b, arith::SIToFPOp::create(b, f32, args[0]), args[1]);
          Value turn = cosine ? math::CosOp::create(b, angle).getResult()
                              : math::SinOp::create(b, angle).getResult();
          return magnitude == 1.0f ? turn
                                   : mul(b, turn, constant(b, magnitude));
        });
  };
  Value cosines = table(true), sines = table(false);

  // [.., heads * head] -> [.., heads, head]; tables have no dimension of heads.
  Value x = e.splitLast(op.getX(), {e.divide(e.sizes(op.getX()).back(), head),
                                    e.b.getIndexAttr(head)});
  unsigned rank = rows + 2;
  Value low = e.slice(x, rank - 1, e.b.getIndexAttr(0), e.b.getIndexAttr(n));
  Value high = e.slice(x, rank - 1, e.b.getIndexAttr(n), e.b.getIndexAttr(n));
  AffineMap all = e.b.getMultiDimIdentityMap(rank);
  SmallVector<unsigned> tableDims(rowDims);
  tableDims.push_back(rank - 1);
  AffineMap byRow = e.map(rank, tableDims);
  auto turn = [&](bool first) {
    return e.generic(
        {low, high, cosines, sines}, e.empty(e.sizes(low), f32),
        {all, all, byRow, byRow, all}, [&](ScalarBuilder &b, ValueRange args) {
          if (first)
            return sub(b, mul(b, args[0], args[2]), mul(b, args[1], args[3]));
          return add(b, mul(b, args[1], args[2]), mul(b, args[0], args[3]));
        });
  };
  Value newLow = turn(true), newHigh = turn(false);
  // What is not turned stays in x.
  Value y = e.insert(newLow, x, rank - 1, e.b.getIndexAttr(0));
  y = e.insert(newHigh, y, rank - 1, e.b.getIndexAttr(n));
  return e.joinLast(y, 2);
}

Value nestc::linalg_lowering::lower(LastOp op, Emitter &e) {
  Value x = op.getX();
  if (op.getRows())
    x = unpack(e, x, e.rows(op.getRows()));
  Value rows = e.index(e.sizes(x)[1]);
  Value last = arith::SubIOp::create(e.b, rows, e.index(1));
  return e.slice(x, 1, last, e.b.getIndexAttr(1));
}

// The largest number, then the first column that has it.
Value nestc::linalg_lowering::lower(ArgmaxOp op, Emitter &e) {
  Value x = op.getX();
  Emitter::Sizes sizes = e.sizes(x);
  int64_t width = op.getX().getType().getShape().back();
  Emitter::Sizes rows(sizes.begin(), sizes.end() - 1);
  AffineMap all = e.b.getMultiDimIdentityMap(3), row = e.map(3, {0, 1});
  float infinity = std::numeric_limits<float>::infinity();
  Value largest =
      e.generic(x, e.filled(rows, -infinity), {all, row},
                [&](ScalarBuilder &b, ValueRange args) -> Value {
                  return arith::MaxNumFOp::create(b, args[1], args[0]);
                });
  Value none = arith::ConstantOp::create(
      e.b, e.b.getI32IntegerAttr(static_cast<int32_t>(width)));
  Value start = linalg::FillOp::create(e.b, ValueRange{none},
                                       e.empty(rows, e.b.getI32Type()))
                    .getResult(0);
  Value first =
      e.generic({x, largest}, start, {all, row, row},
                [&](ScalarBuilder &b, ValueRange args) -> Value {
                  Value column = arith::IndexCastOp::create(
                      b, b.getI32Type(), linalg::IndexOp::create(b, 2));
                  Value isLargest = arith::CmpFOp::create(
                      b, arith::CmpFPredicate::OEQ, args[0], args[1]);
                  Value least = arith::MinSIOp::create(b, args[2], column);
                  return arith::SelectOp::create(b, isLargest, least, args[2]);
                });
  // A row without a number has none.
  return e.elementwise(
      first, e.b.getI32Type(), [&](ScalarBuilder &b, ValueRange args) -> Value {
        Value isNone =
            arith::CmpIOp::create(b, arith::CmpIPredicate::eq, args[0], none);
        Value zero = arith::ConstantOp::create(b, b.getI32IntegerAttr(0));
        return arith::SelectOp::create(b, isNone, zero, args[0]);
      });
}

Value nestc::linalg_lowering::lower(RemapOp op, Emitter &e) {
  RankedTensorType type = op.getType();
  Value like = op.getBase() ? op.getBase() : op.getX();
  Emitter::Sizes sizes;
  for (int64_t size : type.getShape())
    sizes.push_back(ShapedType::isDynamic(size)
                        ? e.sizes(like)[0]
                        : OpFoldResult(e.b.getIndexAttr(size)));
  Emitter::Sizes bounds = e.sizes(op.getX());
  SmallVector<Value> ends;
  for (OpFoldResult bound : bounds)
    ends.push_back(e.index(bound));
  AffineMap all = e.b.getMultiDimIdentityMap(type.getRank());
  SmallVector<Value> inputs;
  SmallVector<AffineMap> maps{all};
  if (op.getBase()) {
    inputs.push_back(op.getBase());
    maps.push_back(all);
  }
  return e.generic(
      inputs, e.empty(sizes, type.getElementType()), maps,
      [&](ScalarBuilder &b, ValueRange args) -> Value {
        SmallVector<Value> dims, at;
        for (int64_t dim = 0; dim < type.getRank(); ++dim)
          dims.push_back(linalg::IndexOp::create(b, dim));
        Value zero = arith::ConstantIndexOp::create(b, 0), inside;
        for (auto [expr, end] : llvm::zip(op.getMap().getResults(), ends)) {
          Value index = affine::expandAffineExpr(b, b.getLoc(), expr, dims, {});
          Value isThere = arith::AndIOp::create(
              b,
              arith::CmpIOp::create(b, arith::CmpIPredicate::sge, index, zero),
              arith::CmpIOp::create(b, arith::CmpIPredicate::slt, index, end));
          inside = inside ? arith::AndIOp::create(b, inside, isThere) : isThere;
          // Never read outside.
          at.push_back(arith::SelectOp::create(b, isThere, index, zero));
        }
        Value element =
            convertFloat(b, tensor::ExtractOp::create(b, op.getX(), at),
                         type.getElementType());
        Value none =
            arith::ConstantOp::create(b, b.getZeroAttr(type.getElementType()));
        element = arith::SelectOp::create(b, inside, element, none);
        return op.getBase() ? add(b, args[0], element) : element;
      });
}
